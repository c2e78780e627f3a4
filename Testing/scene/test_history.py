"""Undo and redo of actions, and segments taken out and put back."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk  # noqa: E402

from VoxelFeatLib.errors import InputError  # noqa: E402
from VoxelFeatLib.scene.click_nodes import ClickState  # noqa: E402
from VoxelFeatLib.scene.history import (  # noqa: E402
    Prompts,
    PromptsChanged,
    SceneHistory,
    SegmentAdded,
    SegmentRemoved,
    SegmentRenamed,
)
from VoxelFeatLib.scene.removed_segments import put_back, take_out  # noqa: E402
from VoxelFeatLib.scene.segment_results import SegmentClicks  # noqa: E402
from VoxelFeatLib.scene.segment_writer import SegmentWriter  # noqa: E402
from VoxelFeatLib.segmenting.extent import Extent  # noqa: E402
from VoxelFeatLib.segmenting.history import PackedMask  # noqa: E402

SHAPE = (7, 9, 11)
WHOLE = Extent.whole(SHAPE)
NONE = Prompts()
ONE = Prompts(ClickState(positive=((1.0, 2.0, 3.0),)), Extent((0, 0, 0), (2, 3, 4)))
CLICKED = SegmentClicks(positive=((1.0, 2.0, 3.0),))


def a_mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < 0.3


class TestSceneHistory:
    def test_undo_and_redo_in_order(self):
        history = SceneHistory()
        actions = [
            SegmentAdded("s"),
            PromptsChanged("s", NONE, ONE),
            SegmentRenamed("s", "a", "b"),
        ]
        assert not history.can_undo
        for action in actions:
            history.push(action)
        assert history.newest() is actions[2]
        assert [history.undo() for _ in range(4)] == [*reversed(actions), None]
        assert history.can_redo
        assert not history.can_undo
        assert [history.redo() for _ in range(4)] == [*actions, None]

    def test_a_new_action_ends_what_was_undone(self):
        history = SceneHistory()
        history.push(SegmentAdded("s"))
        history.undo()
        history.push(SegmentAdded("t"))
        assert not history.can_redo

    def test_differences_flip_a_mask_there_and_back(self):
        history = SceneHistory()
        action = PromptsChanged("s", NONE, ONE)
        history.push(action)
        history.push(PromptsChanged("t", NONE, ONE))  # the answer comes late
        before, after = a_mask(1), a_mask(2)
        top, bottom = (before ^ after).copy(), (before ^ after).copy()
        top[3:], bottom[:3] = False, False
        history.amend(action, [PackedMask.of(top), PackedMask.of(bottom & False)], CLICKED)
        history.amend(action, [PackedMask.of(bottom)], CLICKED)
        assert len(action.differences) == 2  # empty ones are not kept
        assert action.answered_after == CLICKED
        mask = after.copy()
        for expected in (before, after):
            for difference in action.differences:
                difference.toggle(mask)
            np.testing.assert_array_equal(mask, expected)

    def test_the_oldest_are_forgotten_when_an_answer_is_large(self):
        rng = np.random.default_rng(0)
        history = SceneHistory(most_bytes=20_000)
        first, second = PromptsChanged("s", NONE, ONE), PromptsChanged("s", ONE, NONE)
        for action in (first, second):
            history.push(action)
        history.amend(second, [PackedMask.of(rng.random((60, 60, 60)) < 0.5)], CLICKED)
        assert history.undo() is second
        assert history.undo() is None

    def test_no_more_than_so_many_are_kept(self):
        history = SceneHistory(most_actions=3)
        for number in range(5):
            history.push(SegmentRenamed("s", str(number), str(number + 1)))
        assert [history.undo().before for _ in range(3)] == ["4", "3", "2"]
        assert history.undo() is None

    def test_actions_of_a_segment_are_forgotten(self):
        history = SceneHistory()
        history.push(SegmentAdded("s"))
        history.push(SegmentAdded("t"))
        history.forget("t")
        assert history.undo().segment_id == "s"


class TestRemovedSegments:
    @pytest.fixture
    def a_volume(self, a_volume_node):
        return a_volume_node("oblique")

    @pytest.fixture
    def a_node(self, a_segmentation_node, a_volume):
        return a_segmentation_node(a_volume, ("liver", "spleen", "kidney"))

    @pytest.fixture
    def a_writer(self, a_node, a_volume):
        return SegmentWriter(a_node, a_volume)

    @pytest.mark.parametrize("name", ["liver", "spleen", "kidney"])
    @pytest.mark.parametrize("shared", [True, False])
    def test_a_segment_comes_back_as_it_was(self, a_node, a_writer, name, shared):
        segmentation = a_node.GetSegmentation()
        order = segmentation.GetSegmentIDs()
        masks = dict(zip(order, (a_mask(1), a_mask(2), a_mask(3)), strict=True))
        if shared:
            masks["spleen"] &= ~masks["liver"]
            masks["kidney"] &= ~(masks["liver"] | masks["spleen"])
        for each, mask in masks.items():
            a_writer.write(each, WHOLE, mask)
        segment = segmentation.GetSegment(name)
        segment.SetName("a name")
        segment.SetColor(0.25, 0.5, 0.75)
        segment.SetTag("TerminologyEntry", "Segmentation category~SCT^123037004")
        a_node.GetDisplayNode().SetSegmentVisibility(name, False)
        a_node.GetDisplayNode().SetSegmentOpacity2DFill(name, 0.25)

        removed = take_out(a_node, a_writer, name)
        assert segmentation.GetSegmentIDs() == tuple(each for each in order if each != name)
        for each in segmentation.GetSegmentIDs():
            np.testing.assert_array_equal(a_writer.read(each), masks[each])
        put_back(a_node, a_writer, removed)
        while a_writer.step():
            pass

        assert segmentation.GetSegmentIDs() == order
        for each, mask in masks.items():
            np.testing.assert_array_equal(a_writer.read(each), mask)
        segment = segmentation.GetSegment(name)
        tag = vtk.reference("")
        segment.GetTag("TerminologyEntry", tag)
        assert str(tag) == "Segmentation category~SCT^123037004"
        assert segment.GetName() == "a name"
        assert segment.GetColor() == (0.25, 0.5, 0.75)
        assert not a_node.GetDisplayNode().GetSegmentVisibility(name)
        assert a_node.GetDisplayNode().GetSegmentOpacity2DFill(name) == 0.25

    def test_the_only_segment(self, a_segmentation_node, a_volume):
        node = a_segmentation_node(a_volume, ("liver",))
        writer = SegmentWriter(node, a_volume)
        writer.write("liver", WHOLE, a_mask(1))
        removed = take_out(node, writer, "liver")
        assert not node.GetSegmentation().GetNumberOfSegments()
        put_back(node, writer, removed)
        while writer.step():
            pass
        np.testing.assert_array_equal(writer.read("liver"), a_mask(1))

    def test_masking_does_not_hold_back_what_comes_back(self, a_scene, a_node, a_volume):
        editor = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        editor.SetAndObserveSegmentationNode(a_node)
        writer = SegmentWriter(a_node, a_volume, editor)
        writer.write("liver", WHOLE, a_mask(1))
        removed = take_out(a_node, writer, "liver")
        editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
        put_back(a_node, writer, removed)
        while writer.step():
            pass
        np.testing.assert_array_equal(writer.read("liver"), a_mask(1))

    def test_a_taken_id_and_an_unknown_one_are_refused(self, a_node, a_writer):
        removed = take_out(a_node, a_writer, "liver")
        a_node.GetSegmentation().AddEmptySegment("liver", "liver")
        with pytest.raises(InputError, match="already"):
            put_back(a_node, a_writer, removed)
        with pytest.raises(InputError, match="no segment"):
            take_out(a_node, a_writer, "nobody")

    def test_its_bytes_count(self, a_node, a_writer):
        history = SceneHistory(most_bytes=3000)
        a_writer.write("liver", WHOLE, a_mask(1))
        history.push(SegmentAdded("spleen"))
        history.push(SegmentAdded("kidney"))
        removed = take_out(a_node, a_writer, "liver")
        assert removed.nbytes() > 1000
        history.push(SegmentRemoved(removed, ONE))
        history.push(SegmentRemoved(removed, ONE))
        assert history.undo() is not None
        assert history.undo() is None
