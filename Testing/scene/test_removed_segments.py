"""Segments taken out of a segmentation come back as they were."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk  # noqa: E402

from VoxelFeatLib.errors import InputError  # noqa: E402
from VoxelFeatLib.scene.segments.removed_segments import put_back, take_out  # noqa: E402
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter  # noqa: E402
from VoxelFeatLib.segmenting.extent import Extent  # noqa: E402

SHAPE = (7, 9, 11)
WHOLE = Extent.whole(SHAPE)


def finished(work):
    """Do all the steps of some work; returns its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def a_mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < 0.3


@pytest.fixture
def a_volume(a_volume_node):
    return a_volume_node("oblique")


@pytest.fixture
def a_node(a_segmentation_node, a_volume):
    return a_segmentation_node(a_volume, ("liver", "spleen", "kidney"))


@pytest.fixture
def a_writer(a_node, a_volume):
    return SegmentWriter(a_node, a_volume)


@pytest.mark.parametrize("name", ["liver", "spleen", "kidney"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_segment_comes_back_as_it_was(a_node, a_writer, name, shared):
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

    removed = finished(take_out(a_node, a_writer, name))
    assert segmentation.GetSegmentIDs() == tuple(each for each in order if each != name)
    for each in segmentation.GetSegmentIDs():
        np.testing.assert_array_equal(a_writer.read(each), masks[each])
    finished(put_back(a_node, a_writer, removed))

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


def test_the_only_segment(a_segmentation_node, a_volume):
    node = a_segmentation_node(a_volume, ("liver",))
    writer = SegmentWriter(node, a_volume)
    writer.write("liver", WHOLE, a_mask(1))
    removed = finished(take_out(node, writer, "liver"))
    assert not node.GetSegmentation().GetNumberOfSegments()
    finished(put_back(node, writer, removed))
    np.testing.assert_array_equal(writer.read("liver"), a_mask(1))


def test_masking_does_not_hold_back_what_comes_back(a_scene, a_node, a_volume):
    editor = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(a_node)
    writer = SegmentWriter(a_node, a_volume, editor)
    writer.write("liver", WHOLE, a_mask(1))
    removed = finished(take_out(a_node, writer, "liver"))
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
    finished(put_back(a_node, writer, removed))
    np.testing.assert_array_equal(writer.read("liver"), a_mask(1))


def test_a_taken_id_and_an_unknown_one_are_refused(a_node, a_writer):
    removed = finished(take_out(a_node, a_writer, "liver"))
    a_node.GetSegmentation().AddEmptySegment("liver", "liver")
    with pytest.raises(InputError, match="already"):
        finished(put_back(a_node, a_writer, removed))
    with pytest.raises(InputError, match="no segment"):
        finished(take_out(a_node, a_writer, "nobody"))


def test_a_segment_that_goes_while_it_is_taken_out_is_refused(a_node, a_writer):
    a_writer.write("liver", WHOLE, a_mask(1))
    steps = take_out(a_node, a_writer, "liver")
    next(steps)
    a_node.GetSegmentation().RemoveSegment("liver")
    with pytest.raises(InputError, match="removed already"):
        finished(steps)
