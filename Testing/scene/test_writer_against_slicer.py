"""The writer's rules of masking and overwriting are those of Slicer's own editor."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk  # noqa: E402
from vtk.util import numpy_support  # noqa: E402

from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter  # noqa: E402
from VoxelFeatLib.segmenting.extent import Extent  # noqa: E402

SHAPE = (7, 9, 11)
WHOLE = Extent.whole(SHAPE)
NODE, EDITOR = slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSegmentEditorNode
AREAS = (
    NODE.EditAllowedEverywhere,
    NODE.EditAllowedInsideAllSegments,
    NODE.EditAllowedInsideVisibleSegments,
    NODE.EditAllowedOutsideAllSegments,
    NODE.EditAllowedOutsideVisibleSegments,
    NODE.EditAllowedInsideSingleSegment,
)
OVERWRITES = (
    EDITOR.OverwriteAllSegments,
    EDITOR.OverwriteVisibleSegments,
    EDITOR.OverwriteNone,
)


def random_mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < 0.4


@pytest.fixture
def a_pair(a_scene, a_volume_node, a_segmentation_node):
    """Make a segmentation with three known segments, one hidden, and its editor node."""
    volume = a_volume_node("oblique")

    def make(area: int, overwrite: int, *, intensities: bool):
        node = a_segmentation_node(volume, ("liver", "spleen", "kidney"))
        plain = SegmentWriter(node, volume)
        plain.write("spleen", WHOLE, random_mask(1))
        plain.write("kidney", WHOLE, random_mask(2))
        node.GetDisplayNode().SetSegmentVisibility("kidney", False)
        editor = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        editor.SetAndObserveSegmentationNode(node)
        editor.SetAndObserveSourceVolumeNode(volume)
        editor.SetSelectedSegmentID("liver")
        editor.SetMaskMode(area)
        editor.SetMaskSegmentID("spleen")
        editor.SetOverwriteMode(overwrite)
        editor.SetSourceVolumeIntensityMask(intensities)
        editor.SetSourceVolumeIntensityMaskRange(150.0, 500.0)
        return node, editor, volume

    return make


def by_slicer(scene, node, editor, volume, mask: np.ndarray) -> None:
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*SHAPE[::-1])
    flat = mask.astype(np.uint8).ravel()
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(editor)
    logic.ModifySegmentByLabelmap(node, "liver", image, logic.ModificationModeAdd, False, False)
    logic.SetMRMLScene(None)


@pytest.mark.parametrize("intensities", [False, True])
@pytest.mark.parametrize(("area", "overwrite"), [*product(AREAS, OVERWRITES)])
def test_it_writes_what_slicer_writes(a_scene, a_pair, area, overwrite, intensities):
    mask = random_mask(3)
    theirs, their_editor, volume = a_pair(area, overwrite, intensities=intensities)
    by_slicer(a_scene, theirs, their_editor, volume, mask)
    ours, our_editor, _ = a_pair(area, overwrite, intensities=intensities)
    SegmentWriter(ours, volume, our_editor).write("liver", WHOLE, mask)
    for name in ("liver", "spleen", "kidney"):
        expected = SegmentWriter(theirs, volume).read(name)
        np.testing.assert_array_equal(SegmentWriter(ours, volume).read(name), expected, name)
