"""Clicks in a real scene become segments, by a real worker."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from scipy.ndimage import distance_transform_edt
from vtk.util import numpy_support

from VoxelFeatLib.imaging.phantom import Phantom
from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
from VoxelFeatLib.scene.nodes import segmentations
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.segmenting.extent import Extent


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / max(1, a.sum() + b.sum())


def label_of(phantom: Phantom, name: str) -> np.ndarray:
    (value,) = [value for value, known in phantom.names.items() if known == name]
    return phantom.labels == value


def deepest(mask: np.ndarray) -> tuple[int, int, int]:
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    return tuple(int(n) for n in np.unravel_index(depth.argmax(), mask.shape))


class Person:
    """Clicks as a person does: points of markups nodes in the scene."""

    def __init__(self, controller, field, loop, phantom):
        self.controller, self.field, self.loop, self.phantom = controller, field, loop, phantom
        self.said: list[str] = []
        controller.message.connect(self.said.append)

    @property
    def clicks(self):
        return self.controller._bench.clicks

    def world(self, voxel_kji) -> list[float]:
        ras = self.phantom.volume.geometry.to_ras(np.array(voxel_kji[::-1], dtype=float))
        transform = self.field.volume.GetParentTransformNode()
        if transform is None:
            return ras.tolist()
        to_world = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToWorld(to_world)
        return list(to_world.MultiplyPoint([*ras.tolist(), 1.0])[:3])

    def click(self, voxel_kji, *, positive: bool = True, wait: bool = True) -> None:
        node = self.clicks.node_for(self.controller.segment_id, positive=positive)
        node.AddControlPointWorld(self.world(voxel_kji))
        if wait:
            self.wait()

    def wait(self) -> None:
        self.loop.run_until(lambda: not self.controller.busy)

    def mask(self, segment_id: str | None = None) -> np.ndarray:
        controller = self.controller
        writer = SegmentWriter(controller.segmentation, self.field.volume)
        return writer.read(segment_id or controller.segment_id)


@pytest.fixture
def a_person(a_ready_field, a_link, a_loop, a_scene, a_phantom):
    controller = SegmentController(a_link, a_ready_field, a_loop, a_scene)
    yield Person(controller, a_ready_field, a_loop, a_phantom)
    controller.close()


def test_clicks_make_a_segment_and_undo_takes_them_back(a_person, a_phantom):
    liver = label_of(a_phantom, "liver")
    controller = a_person.controller
    controller.add_segment("liver")
    assert controller.segmentation is not None
    a_person.click(deepest(liver))
    first = a_person.mask()
    assert first[deepest(liver)]
    assert dice(first, liver) > 0.1
    a_person.click(deepest(~first & liver) if (~first & liver).any() else deepest(liver))
    second = a_person.mask()
    assert controller.click_counts(controller.segment_id) == (2, 0)
    controller.undo()
    a_person.wait()
    np.testing.assert_array_equal(a_person.mask(), first)
    assert controller.click_counts(controller.segment_id) == (1, 0)
    controller.redo()
    a_person.wait()
    np.testing.assert_array_equal(a_person.mask(), second)
    controller.undo()
    controller.undo()
    a_person.wait()
    assert not a_person.mask().any()
    assert not controller.can_undo
    controller.redo()
    a_person.wait()
    np.testing.assert_array_equal(a_person.mask(), first)
    assert a_person.said == []


def test_what_the_last_click_changed_is_told(a_person, a_phantom):
    liver = label_of(a_phantom, "liver")
    controller = a_person.controller
    controller.add_segment("liver")
    a_person.click(deepest(liver))
    change = controller.last_change
    voxel_ml = float(np.prod(a_phantom.volume.geometry.spacing)) / 1000
    assert change.added_ml == pytest.approx(a_person.mask().sum() * voxel_ml)
    assert change.removed_ml == 0
    assert change.extent.size > 0


def test_the_last_change_is_shown_for_a_moment(a_person, a_phantom, a_scene):
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    own = a_scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "own")
    view.SetLabelVolumeID(own.GetID())
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    shown = a_scene.GetNodeByID(view.GetLabelVolumeID())
    assert shown is not own
    labels = numpy_support.vtk_to_numpy(shown.GetImageData().GetPointData().GetScalars())
    assert (labels == 1).sum() == a_person.mask().sum()
    a_person.loop.run_for(1.5)
    assert view.GetLabelVolumeID() == own.GetID()


def test_a_dragged_and_a_deleted_click_update_the_segment(a_person, a_phantom):
    liver, spleen = label_of(a_phantom, "liver"), label_of(a_phantom, "spleen")
    controller = a_person.controller
    controller.add_segment("organ")
    a_person.click(deepest(liver))
    node = a_person.clicks.node_for(controller.segment_id, positive=True)
    node.SetNthControlPointPositionWorld(0, a_person.world(deepest(spleen)))
    a_person.wait()
    moved = a_person.mask()
    assert moved[deepest(spleen)]
    assert not moved[deepest(liver)]
    node.RemoveNthControlPoint(0)
    a_person.wait()
    assert not a_person.mask().any()


def test_a_box_bounds_what_changes(a_person, a_phantom):
    liver = label_of(a_phantom, "liver")
    controller = a_person.controller
    controller.add_segment("liver")
    controller.set_box(True)
    box = controller.box_node
    centre = a_person.world(deepest(liver))
    box.SetCenterWorld(*centre)
    box.SetSizeWorld(60.0, 60.0, 60.0)
    a_person.loop.run_for(0.5)
    a_person.click(deepest(liver))
    inside = np.abs(
        a_phantom.volume.geometry.to_ras(np.argwhere(a_person.mask())[:, ::-1]) - centre
    )
    assert inside.size
    assert inside.max() <= 30.0 + 1e-6
    controller.set_box(False)
    assert controller.box_node is None
    a_person.wait()


def test_a_box_is_found_again(a_person, a_field, a_link, a_loop, a_scene):
    controller = a_person.controller
    controller.add_segment("liver")
    controller.set_box(True)
    box, segmentation = controller.box_node, controller.segmentation
    controller.close()
    after = SegmentController(a_link, a_field, a_loop, a_scene)  # as a reload or a saved scene does
    after.set_segmentation(segmentation)
    assert after.box_node is box
    after.set_box(False)
    assert box.GetScene() is None
    assert not box.GetDisplayVisibility()
    after.close()


def test_tools_work_again_when_a_warp_is_gone(a_person, a_scene):
    controller, volume = a_person.controller, a_person.field.volume
    warp = a_scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "warp")
    volume.SetAndObserveTransformNodeID(warp.GetID())
    controller.place(True)
    assert controller.placing is None
    assert controller.segmentation is None  # none that would stay under the warp
    assert "non-linear transform warp" in a_person.said[-1]
    volume.SetAndObserveTransformNodeID(None)
    controller.place(True)
    assert controller.placing is True
    segmentation = controller.segmentation
    controller.set_segmentation(None)
    volume.SetAndObserveTransformNodeID(warp.GetID())
    controller.set_segmentation(segmentation)
    controller.place(True)
    assert controller.placing is None
    volume.SetAndObserveTransformNodeID(None)
    controller.place(True)
    assert controller.placing is True


def test_a_click_outside_is_left_out_in_words(a_person, a_phantom):
    liver = label_of(a_phantom, "liver")
    a_person.controller.add_segment("liver")
    a_person.click(deepest(liver))
    before = a_person.mask()
    a_person.click((-500, 0, 0))
    assert any("outside" in text for text in a_person.said)
    np.testing.assert_array_equal(a_person.mask(), before)


def test_segments_share_the_volume(a_person, a_phantom):
    liver, spleen = label_of(a_phantom, "liver"), label_of(a_phantom, "spleen")
    controller = a_person.controller
    one = controller.add_segment("liver")
    a_person.click(deepest(liver))
    two = controller.add_segment("spleen")
    assert two != one
    a_person.click(deepest(spleen))
    assert not a_person.mask(two)[deepest(liver)]
    assert a_person.mask(one)[deepest(liver)]


def test_an_imported_segment_is_corrected_and_comes_back(a_person, a_phantom):
    liver = label_of(a_phantom, "liver")
    coarse = liver.copy()
    coarse[deepest(liver)[0] :] = False
    controller = a_person.controller
    segment_id = controller.add_segment("liver")
    SegmentWriter(controller.segmentation, a_person.field.volume).write(
        segment_id, Extent.whole(coarse.shape), coarse
    )
    controller.select(segment_id)
    a_person.wait()
    assert controller.starts_from_existing
    a_person.click(deepest(liver & ~coarse))
    assert dice(a_person.mask(), liver) > dice(coarse, liver)
    controller.clear()
    a_person.wait()
    np.testing.assert_array_equal(a_person.mask(), coarse)
    controller.undo()
    a_person.wait()
    assert dice(a_person.mask(), liver) > dice(coarse, liver)


def test_a_removed_segment_comes_back_with_its_clicks(a_person, a_phantom):
    liver = label_of(a_phantom, "liver")
    controller = a_person.controller
    segment_id = controller.add_segment("liver")
    a_person.click(deepest(liver))
    before = a_person.mask()
    controller.remove_segment(segment_id)
    a_person.wait()
    assert controller.segmentation.GetSegmentation().GetNumberOfSegments() == 0
    controller.undo()
    a_person.wait()
    np.testing.assert_array_equal(a_person.mask(segment_id), before)
    assert controller.click_counts(segment_id) == (1, 0)
    assert controller.segmentation.GetSegmentation().GetSegment(segment_id).GetName() == "liver"


def test_a_segment_removed_elsewhere_is_forgotten(a_person, a_phantom):
    controller = a_person.controller
    segment_id = controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    controller.segmentation.GetSegmentation().RemoveSegment(segment_id)
    assert controller.segment_id == ""
    assert not controller.can_undo
    a_person.loop.run_for(0.2)


def test_a_killed_worker_is_not_noticed_in_the_result(a_person, a_phantom, a_link):
    liver = label_of(a_phantom, "liver")
    controller = a_person.controller
    controller.add_segment("liver")
    a_person.click(deepest(liver))
    a_person.loop.transports[-1]._process.kill()
    a_person.loop.run_until(lambda: a_link.state != "ready")
    a_person.click(deepest(~a_person.mask() & liver))
    assert a_person.mask()[deepest(liver)]
    assert controller.click_counts(controller.segment_id) == (2, 0)


def test_closing_the_scene_while_an_answer_streams(a_person, a_phantom, a_scene):
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")), wait=False)
    a_scene.Clear(False)
    a_person.field.set_volume(None)
    a_person.controller.set_segmentation(None)
    a_person.loop.run_for(1.0)
    assert not a_person.controller.busy


def test_clicks_are_answered_while_the_fit_goes_on(a_person, a_phantom):
    liver = label_of(a_phantom, "liver")
    field, loop = a_person.field, a_person.loop
    field.fit("filters", "fast", "cpu")
    loop.run_until(lambda: field.status.kind == "fitting" and field.usable)
    a_person.controller.add_segment("liver")
    a_person.click(deepest(liver))
    assert a_person.mask()[deepest(liver)]
    assert field.status.kind == "fitting"
    field.cancel()
    loop.run_until(lambda: field.status.kind != "fitting")
    assert field.usable
    a_person.click(deepest(~a_person.mask() & liver))
    assert a_person.said == []


def test_a_click_before_the_field_is_answered_when_there_is_one(
    a_field, a_link, a_loop, a_scene, a_volume_node, a_phantom
):
    liver = label_of(a_phantom, "liver")
    controller = SegmentController(a_link, a_field, a_loop, a_scene)
    a_field.set_volume(a_volume_node)
    person = Person(controller, a_field, a_loop, a_phantom)
    controller.add_segment("liver")
    person.click(deepest(liver), wait=False)
    assert any("as soon as there is a field" in text for text in person.said)
    a_loop.run_until(lambda: a_field.status.kind in {"ready", "no_field"})
    if not a_field.usable:
        a_field.fit("filters", "draft", "cpu")
    a_loop.run_until(lambda: a_field.status.kind == "ready")
    a_loop.run_until(lambda: controller.last_change is not None)
    person.wait()
    assert person.mask()[deepest(liver)]
    controller.close()


def test_an_answer_under_way_leaves_nothing_half_done_in_another_segmentation(
    a_person, a_phantom, a_scene, a_volume_node
):
    controller = a_person.controller
    segment_id = controller.add_segment("liver")
    first = controller.segmentation
    a_person.click(deepest(label_of(a_phantom, "liver")), wait=False)
    a_person.loop.run_until(lambda: a_person.mask().any() or not controller.busy)
    controller.set_segmentation(segmentations.new_segmentation(a_scene, a_volume_node))
    a_person.loop.run_for(1.0)
    left = SegmentWriter(first, a_volume_node).read(segment_id)
    controller.set_segmentation(first)
    controller.recompute()
    a_person.wait()
    assert not left.any() or np.array_equal(left, a_person.mask())


def test_what_was_drawn_by_hand_stays(a_person, a_phantom):
    liver, spleen = label_of(a_phantom, "liver"), label_of(a_phantom, "spleen")
    controller = a_person.controller
    segment_id = controller.add_segment("organs")
    a_person.click(deepest(liver))
    drawn = a_person.mask() | spleen  # as the Segment Editor does, far from any click
    SegmentWriter(controller.segmentation, a_person.field.volume).write(
        segment_id, Extent.whole(drawn.shape), drawn
    )
    a_person.click(deepest(liver & ~drawn))
    assert (a_person.mask() & spleen).sum() == spleen.sum()
    assert a_person.mask()[deepest(liver)]
