"""Fixtures for the scene's tests: a real MRML scene and real nodes in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
vtk = pytest.importorskip("vtk")
from vtk.util.numpy_support import numpy_to_vtk  # noqa: E402

from VoxelFeatLib.scene.nodes.click_nodes import ClickNodes  # noqa: E402
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter  # noqa: E402


def _rotation(about_z: float, about_x: float) -> np.ndarray:
    c, s = np.cos(about_z), np.sin(about_z)
    z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    c, s = np.cos(about_x), np.sin(about_x)
    return z @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _affine(axes: np.ndarray, origin: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = origin
    return matrix


# IJK to RAS of volumes: as scanners, converters and people make them.
GEOMETRIES = {
    "plain": _affine(np.eye(3), (0, 0, 0)),
    "lps": _affine(np.diag([-0.7, -0.7, 2.0]), (90.5, 80.25, -40.0)),
    "flipped": _affine(np.diag([0.9, -1.1, -1.5]), (-12.5, 30.0, 400.25)),
    "anisotropic": _affine(np.diag([0.4, 0.4, 5.0]), (10, 20, 30)),
    "sagittal": _affine(np.array([[0, 0, 3.0], [-0.8, 0, 0], [0, -0.8, 0]]), (-60.0, 90, 70)),
    "oblique": _affine(_rotation(0.4, -0.3) @ np.diag([0.8, 0.9, 2.5]), (-31.5, 12.25, 100.125)),
    "oblique, left-handed": _affine(
        _rotation(-1.1, 0.6) @ np.diag([0.6, 0.8, -1.7]), (5.5, -9.0, 77.0)
    ),
    "gantry tilt": _affine(
        np.array([[-0.7, 0, 0], [0, -0.7, 0.8], [0, 0, 2.5]]), (50.0, 60.0, -20.0)
    ),
}

# Local to world of what a volume or a markup is under.
TRANSFORMS = {
    "none": None,
    "moved": _affine(np.eye(3), (13.0, -7.5, 21.0)),
    "rotated": _affine(_rotation(0.7, 0.5), (3.0, 4.0, 5.0)),
    "scaled and sheared": _affine(
        _rotation(-0.5, 0.2) @ np.array([[1.3, 0.3, 0], [0, 0.8, -0.2], [0.1, 0, 1.6]]),
        (-20.0, 11.0, 9.0),
    ),
    "mirrored": _affine(np.diag([-1.0, 1.0, 1.0]), (0, 0, 0)),
}

SHAPE_KJI = (7, 9, 11)


def _vtk_matrix(matrix: np.ndarray) -> vtk.vtkMatrix4x4:
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result


@pytest.fixture(autouse=True)
def no_error_in_an_observer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """VTK prints what an observer raises and goes on: a test must fail all the same."""
    errors: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _trace: errors.append(error))
    yield
    assert errors == []


@pytest.fixture
def a_new_scene() -> Iterator[Callable[[], slicer.vtkMRMLScene]]:
    """Make scenes with what Slicer's own has: application, markups, segmentations, sequences."""
    made = []

    def make() -> slicer.vtkMRMLScene:
        scene = slicer.vtkMRMLScene()
        logics = [
            slicer.vtkMRMLApplicationLogic(),
            slicer.vtkSlicerMarkupsLogic(),
            slicer.vtkSlicerSegmentationsModuleLogic(),
            slicer.vtkSlicerSequencesLogic(),
        ]
        for logic in logics:
            logic.SetMRMLScene(scene)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        made.append((scene, logics))
        return scene

    yield make
    for scene, logics in made:
        scene.Clear(True)
        for logic in logics:
            logic.SetMRMLScene(None)


@pytest.fixture
def a_scene(a_new_scene: Callable[[], slicer.vtkMRMLScene]) -> slicer.vtkMRMLScene:
    return a_new_scene()


@pytest.fixture
def a_transform_node(a_scene: slicer.vtkMRMLScene):
    """Make a linear transform node from a (4, 4) array or a name, under another one if given."""

    def make(matrix: np.ndarray | str, parent: slicer.vtkMRMLTransformNode | None = None):
        node = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "a transform")
        node.SetMatrixTransformToParent(
            _vtk_matrix(TRANSFORMS[matrix] if isinstance(matrix, str) else matrix)
        )
        if parent is not None:
            node.SetAndObserveTransformNodeID(parent.GetID())
        return node

    return make


@pytest.fixture
def a_volume_node(a_scene: slicer.vtkMRMLScene, a_transform_node):
    """Make a volume node.

    geometry: a name of GEOMETRIES or a (4, 4) array; voxels: (K, J, I), by default every voxel
    its own int16 value; transform: a name of TRANSFORMS, a (4, 4) array or a node.
    """

    def make(
        geometry: np.ndarray | str = "oblique",
        transform: object = None,
        *,
        voxels: np.ndarray | None = None,
        kind: str = "vtkMRMLScalarVolumeNode",
        name: str = "a volume",
    ):
        if voxels is None:
            voxels = np.arange(np.prod(SHAPE_KJI), dtype=np.int16).reshape(SHAPE_KJI)
        node = a_scene.AddNewNodeByClass(kind, name)
        components = voxels.shape[3] if voxels.ndim == 4 else 1
        image = vtk.vtkImageData()
        image.SetDimensions(*voxels.shape[2::-1])
        scalars = numpy_to_vtk(voxels.reshape(-1, components), deep=True)
        scalars.SetName("ImageScalars")
        image.GetPointData().SetScalars(scalars)
        node.SetIJKToRASMatrix(
            _vtk_matrix(GEOMETRIES[geometry] if isinstance(geometry, str) else geometry)
        )
        node.SetAndObserveImageData(image)
        if isinstance(transform, str):
            transform = TRANSFORMS[transform]
        if isinstance(transform, np.ndarray):
            transform = a_transform_node(transform)
        if transform is not None:
            node.SetAndObserveTransformNodeID(transform.GetID())
        return node

    return make


@pytest.fixture
def a_segmentation_node(a_scene: slicer.vtkMRMLScene):
    """Make a segmentation node of empty segments on a volume's grid, under its transform."""

    def make(volume_node=None, segments: tuple[str, ...] = ("liver", "spleen"), name: str = "a"):
        node = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} segmentation")
        node.CreateDefaultDisplayNodes()
        if volume_node is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
            node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        for segment in segments:
            node.GetSegmentation().AddEmptySegment(segment, segment)
        return node

    return make


@pytest.fixture
def a_slice_node(a_scene: slicer.vtkMRMLScene):
    """Make a slice view's node: SliceToRAS (axes are columns), field of view in mm, pixels."""

    def make(
        slice_to_ras: np.ndarray,
        field_of_view: tuple[float, float] = (40, 30),
        pixels: tuple[int, int] = (80, 60),
        name: str = "Red",
    ):
        node = a_scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        node.SetDimensions(*pixels, 1)
        node.SetFieldOfView(*field_of_view, 1)
        node.GetSliceToRAS().DeepCopy(_vtk_matrix(slice_to_ras))
        node.UpdateMatrices()
        return node

    return make


@pytest.fixture
def a_case(a_volume_node, a_segmentation_node):
    """Make clicks on a volume; returns them and what they tell."""
    made = []

    def make(geometry="oblique", transform=None, segments=("liver", "spleen")):
        volume = a_volume_node(geometry, transform)
        clicks = ClickNodes(a_segmentation_node(volume, segments), volume)
        heard: list[str] = []
        clicks.changed.connect(heard.append)
        made.append(clicks)
        return clicks, heard

    yield make
    for clicks in made:
        clicks.close()


@pytest.fixture
def a_volume(a_volume_node):
    return a_volume_node("oblique")


@pytest.fixture
def a_segmentation(a_segmentation_node, a_volume):
    """A liver and a spleen, empty."""
    return a_segmentation_node(a_volume, ("liver", "spleen"))


@pytest.fixture
def an_editor(a_scene, a_segmentation, a_volume):
    node = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(a_segmentation)
    node.SetAndObserveSourceVolumeNode(a_volume)
    return node


@pytest.fixture
def a_writer(a_segmentation, a_volume, an_editor):
    return SegmentWriter(a_segmentation, a_volume, an_editor)
