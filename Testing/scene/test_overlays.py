"""Pictures on the planes of slice views."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk  # noqa: E402
from vtk.util import numpy_support  # noqa: E402

from VoxelFeatLib.scene.views.overlays import SliceOverlays  # noqa: E402
from VoxelFeatLib.worker.protocol import Plane  # noqa: E402

LIKENESS = np.full((20, 30), 200, dtype=np.uint8)
COLORS = np.zeros((20, 30, 3), dtype=np.uint8) + np.array([250, 10, 20], dtype=np.uint8)


def matrix_of(vtk_matrix) -> np.ndarray:
    return np.array(vtk_matrix.GetData()).reshape(4, 4)


def nodes_of(scene) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


class View:
    """A slice view without its window: the logic that blends its layers."""

    def __init__(self, scene, volume_node, slice_to_ras):
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode("Red")
        self.node.SetDimensions(120, 90, 1)
        self.node.SetFieldOfView(12, 9, 1)
        self.node.GetSliceToRAS().DeepCopy(slice_to_ras.ravel().tolist())
        self.node.UpdateMatrices()
        self.composite = self.logic.GetSliceCompositeNode()
        self.composite.SetBackgroundVolumeID(volume_node.GetID())
        grey = scene.AddNewNodeByClass("vtkMRMLColorTableNode")
        grey.SetTypeToGrey()
        display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
        display.AutoWindowLevelOff()
        display.SetWindowLevel(100, 50)
        display.SetAndObserveColorNodeID(grey.GetID())
        volume_node.SetAndObserveDisplayNodeID(display.GetID())

    def plane(self, volume_node, rows, columns) -> Plane:
        """The view's middle half in the volume's own space, in so many pixels."""
        world = vtk.vtkMatrix4x4()
        if volume_node.GetParentTransformNode() is not None:
            volume_node.GetParentTransformNode().GetMatrixTransformToWorld(world)
        xy_to_own = np.linalg.inv(matrix_of(world)) @ matrix_of(self.node.GetXYToRAS())
        right, down = xy_to_own[:3, 0] * 60 / columns, -xy_to_own[:3, 1] * 45 / rows
        corner = (xy_to_own @ [29.5, 67.5 - 0.5, 0, 1])[:3]
        origin = corner + right / 2 + down / 2
        return Plane(tuple(origin), tuple(right), tuple(down), rows, columns)

    def picture(self) -> np.ndarray:
        """What the view shows, (row from the top, column, RGBA)."""
        self.logic.UpdatePipeline()
        port = self.logic.GetImageDataConnection()
        port.GetProducer().Update()
        image = port.GetProducer().GetOutputDataObject(port.GetIndex())
        pixels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return pixels.reshape(90, 120, -1)[::-1].astype(int)


AXIAL = np.array([[-1, 0, 0, 4.0], [0, 1, 0, 3.5], [0, 0, 1, 3.2], [0, 0, 0, 1]])
C, S = np.cos(0.5), np.sin(0.5)
TILTED = AXIAL @ np.array([[1, 0, 0, 0], [0, C, -S, 0], [0, S, C, 0], [0, 0, 0, 1]])


@pytest.fixture(params=["none", "rotated"])
def a_volume(request, a_volume_node):
    node = a_volume_node("plain", request.param, voxels=np.zeros((60, 60, 60), dtype=np.int16))
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, -30)
    matrix.SetElement(1, 3, -30)
    matrix.SetElement(2, 3, -30)
    node.SetIJKToRASMatrix(matrix)
    return node


@pytest.fixture(params=["axial", "tilted"])
def a_view(request, a_scene, a_volume):
    return View(a_scene, a_volume, AXIAL if request.param == "axial" else TILTED)


@pytest.fixture
def an_overlay(a_volume):
    overlays = SliceOverlays(a_volume)
    yield overlays
    overlays.close()


class TestWhatIsSeen:
    """The picture covers just the middle half of the view, whatever the plane and transform."""

    def test_colours(self, a_view, a_volume, an_overlay):
        colors = COLORS.copy()
        colors[:10, :15] = [10, 240, 20]  # the upper left quarter
        assert an_overlay.show(a_view.node, a_view.plane(a_volume, 20, 30), colors, 1.0)
        seen = a_view.picture()[..., :3]
        np.testing.assert_array_equal(
            seen[25:43, 32:58], np.broadcast_to([10, 240, 20], (18, 26, 3))
        )
        np.testing.assert_array_equal(
            seen[48:64, 62:88], np.broadcast_to([250, 10, 20], (16, 26, 3))
        )
        np.testing.assert_array_equal(
            seen[48:64, 32:58], np.broadcast_to([250, 10, 20], (16, 26, 3))
        )
        assert (seen[:20].max(axis=-1) < 5).all()
        assert (seen[:, :27].max(axis=-1) < 5).all()

    def test_likeness_goes_from_dark_to_light_and_zero_is_left_out(
        self, a_view, a_volume, an_overlay
    ):
        likeness = np.repeat(np.array([[0, 60, 250]], dtype=np.uint8), 10, axis=1)
        likeness = np.repeat(likeness, 20, axis=0)
        assert an_overlay.show(a_view.node, a_view.plane(a_volume, 20, 30), likeness, 1.0)
        row = a_view.picture()[45, :, :3].sum(axis=-1)
        assert (row[33:47] < 5).all()
        assert (row[53:67] > 50).all()
        assert (row[73:87] > row[53:67] + 200).all()

    def test_opacity(self, a_view, a_volume, an_overlay):
        plane = a_view.plane(a_volume, 20, 30)
        background = a_view.picture()[45, 60, 0]
        an_overlay.show(a_view.node, plane, COLORS, 0.5)
        half = a_view.picture()[45, 60, 0]
        assert half == pytest.approx((background + 250) / 2, abs=3)
        an_overlay.set_opacity(1.0)
        assert a_view.picture()[45, 60, 0] == 250


@pytest.fixture
def a_plain_view(a_scene, a_volume_node):
    volume = a_volume_node("plain")
    return View(a_scene, volume, AXIAL), volume


class TestNodes:
    @pytest.fixture
    def overlays(self, a_plain_view):
        overlays = SliceOverlays(a_plain_view[1])
        yield overlays
        overlays.close()

    @pytest.fixture
    def a_plane(self, a_plain_view):
        return a_plain_view[0].plane(a_plain_view[1], 20, 30)

    def test_a_moved_plane_makes_no_new_nodes(self, a_scene, a_plain_view, a_plane, overlays):
        view, _ = a_plain_view
        overlays.show(view.node, a_plane, LIKENESS)
        before = nodes_of(a_scene)
        node = a_scene.GetNodeByID(view.composite.GetForegroundVolumeID())
        image = node.GetImageData()
        moved = Plane((1.0, 2.0, 3.0), a_plane.right_mm, a_plane.down_mm, 20, 30)
        overlays.show(view.node, moved, LIKENESS // 2)
        assert nodes_of(a_scene) == before
        assert node.GetImageData() is image
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        np.testing.assert_allclose(matrix_of(matrix)[:3, 3], (1, 2, 3))
        larger = Plane((1.0, 2.0, 3.0), a_plane.right_mm, a_plane.down_mm, 40, 50)
        overlays.show(view.node, larger, np.ones((40, 50), dtype=np.uint8))
        assert nodes_of(a_scene) == before
        assert node.GetImageData().GetDimensions() == (50, 40, 1)

    def test_nothing_is_saved_or_offered_to_the_user(
        self, a_scene, a_plain_view, a_plane, overlays
    ):
        before = nodes_of(a_scene)
        for picture in (LIKENESS, COLORS):
            overlays.show(a_plain_view[0].node, a_plane, picture)
            new = nodes_of(a_scene) - before
            assert new
            for name in new:
                node = a_scene.GetNodeByID(name)
                assert not node.GetSaveWithScene()
                assert node.GetHideFromEditors()

    def test_what_was_shown_before_comes_back(
        self, a_scene, a_plain_view, a_plane, overlays, a_volume_node
    ):
        view, _ = a_plain_view
        other = a_volume_node("plain", name="another")
        view.composite.SetForegroundVolumeID(other.GetID())
        view.composite.SetForegroundOpacity(0.3)
        before = nodes_of(a_scene)
        overlays.show(view.node, a_plane, LIKENESS, 0.7)
        overlays.show(view.node, a_plane, COLORS, 0.8)  # a node of another kind
        assert view.composite.GetForegroundOpacity() == 0.8
        overlays.remove(view.node)
        assert view.composite.GetForegroundVolumeID() == other.GetID()
        assert view.composite.GetForegroundOpacity() == 0.3
        overlays.close()
        assert nodes_of(a_scene) == before

    def test_the_foreground_chosen_by_the_user_stays(
        self, a_plain_view, a_plane, overlays, a_volume_node
    ):
        view, _ = a_plain_view
        overlays.show(view.node, a_plane, LIKENESS)
        other = a_volume_node("plain", name="another")
        view.composite.SetForegroundVolumeID(other.GetID())
        view.composite.SetForegroundOpacity(0.25)
        assert not overlays.show(view.node, a_plane, LIKENESS, 0.9)
        overlays.set_opacity(0.9)
        overlays.remove()
        assert view.composite.GetForegroundVolumeID() == other.GetID()
        assert view.composite.GetForegroundOpacity() == 0.25

    def test_a_node_deleted_by_others_is_made_again(
        self, a_scene, a_plain_view, a_plane, overlays, a_volume_node
    ):
        view, _ = a_plain_view
        other = a_volume_node("plain", name="another")
        view.composite.SetForegroundVolumeID(other.GetID())
        overlays.show(view.node, a_plane, LIKENESS)
        a_scene.RemoveNode(a_scene.GetNodeByID(view.composite.GetForegroundVolumeID()))
        assert overlays.show(view.node, a_plane, LIKENESS)
        overlays.remove()
        assert view.composite.GetForegroundVolumeID() == other.GetID()

    def test_a_view_without_layers_shows_nothing(self, a_slice_node, a_plane, overlays, a_scene):
        node = a_slice_node(np.eye(4), name="Lonely")
        node.SetLayoutName("Lonely")
        before = nodes_of(a_scene)
        assert not overlays.show(node, a_plane, LIKENESS)
        assert nodes_of(a_scene) == before
        overlays.remove(node)

    def test_a_reopened_scene_shows_no_other_volume_instead(
        self, a_plain_view, a_plane, overlays, a_scene, a_new_scene, tmp_path
    ):
        view, volume = a_plain_view
        overlays.show(view.node, a_plane, LIKENESS, 0.6)
        path = str(tmp_path / "scene.mrml")
        a_scene.SetURL(path)
        assert a_scene.Commit()
        assert "VoxelFeat overlay" not in (tmp_path / "scene.mrml").read_text()
        scene = a_new_scene()
        scene.SetURL(path)
        scene.Import()
        for _ in range(3):
            scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        assert scene.GetNodeByID(composite.GetForegroundVolumeID() or "") is None
        reopened = SliceOverlays(scene.GetFirstNodeByName(volume.GetName()))
        slice_node = scene.GetFirstNodeByClass("vtkMRMLSliceNode")
        assert reopened.show(slice_node, a_plane, LIKENESS)
        reopened.close()
        assert composite.GetForegroundVolumeID() is None

    @pytest.mark.parametrize("everything", [True, False])
    def test_closing_the_scene_is_no_error(
        self, a_scene, a_plain_view, a_plane, overlays, everything
    ):
        overlays.show(a_plain_view[0].node, a_plane, LIKENESS)
        a_scene.Clear(everything)
        overlays.close()
        assert a_scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
