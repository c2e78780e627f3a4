"""Segments' voxels where other segments are, and where the editor's masking forbids changes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.scene.written import (
    BOTH,
    LEFT,
    RIGHT,
    SHAPE,
    WHOLE,
    A,
    B,
    by_slicer,
    coarse_labelmap,
    edit,
    layers,
    mask_of,
)
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter


class TestNeighbours:
    def test_all_are_overwritten(self, a_writer, an_editor):
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(a_writer.read(B), RIGHT)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & ~RIGHT)

    def test_none_is_overwritten(self, a_writer, an_editor, a_segmentation, a_volume):
        an_editor.SetOverwriteMode(an_editor.OverwriteNone)
        a_writer.write(A, WHOLE, LEFT)
        assert len(layers(a_segmentation)) == 1
        a_writer.write(B, WHOLE, RIGHT)
        assert len(layers(a_segmentation)) == 2
        for name, mask in ((A, LEFT), (B, RIGHT)):
            np.testing.assert_array_equal(a_writer.read(name), mask)
            np.testing.assert_array_equal(by_slicer(a_segmentation, name, a_volume), mask)

    def test_without_an_editor_none_is_overwritten(self, a_segmentation, a_volume):
        writer = SegmentWriter(a_segmentation, a_volume)
        writer.write(A, WHOLE, LEFT)
        writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(writer.read(A), LEFT)

    @pytest.mark.parametrize("visible", [True, False])
    def test_visible_ones_are_overwritten(self, a_writer, an_editor, a_segmentation, visible):
        an_editor.SetOverwriteMode(an_editor.OverwriteVisibleSegments)
        a_segmentation.GetDisplayNode().SetSegmentVisibility(A, visible)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & ~RIGHT if visible else LEFT)
        np.testing.assert_array_equal(a_writer.read(B), RIGHT)

    @pytest.mark.parametrize("apart", [True, False])
    def test_a_neighbour_gets_back_what_is_left_again(
        self, a_writer, an_editor, a_segmentation, apart
    ):
        if apart:
            a_segmentation.GetSegmentation().SeparateSegmentLabelmap(B)
        assert len(layers(a_segmentation)) == 1 + apart
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        a_writer.write(B, WHOLE, RIGHT & ~mask_of(((0, 0, 0), (3, 9, 11))))
        left_again = LEFT & ~mask_of(((3, 0, 0), (7, 9, 11)))
        np.testing.assert_array_equal(a_writer.read(A), (LEFT & ~RIGHT) | left_again)
        a_writer.write(B, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(A), LEFT)

    def test_voxels_erased_by_hand_are_not_given_back(
        self, a_writer, an_editor, a_segmentation, a_volume
    ):
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        edit(a_segmentation, B, np.zeros(SHAPE, dtype=bool), a_volume)
        a_writer.write(B, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(A), LEFT & ~RIGHT)

    def test_a_neighbour_on_another_grid_is_overwritten(self, a_segmentation, a_volume, an_editor):
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        coarse = coarse_labelmap(a_volume)
        segment = a_segmentation.GetSegmentation().GetSegment(A)
        segment.AddRepresentation("Binary labelmap", coarse)
        segment.SetLabelValue(1)
        writer = SegmentWriter(a_segmentation, a_volume, an_editor)
        before = writer.read(A)
        assert (before & RIGHT).any()
        writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(writer.read(A), before & ~RIGHT)
        np.testing.assert_array_equal(by_slicer(a_segmentation, A, a_volume), before & ~RIGHT)


class TestMasking:
    """Where the Segment Editor forbids changes there are none, and none is forgotten elsewhere."""

    @pytest.fixture
    def a_third(self, a_segmentation, a_writer, an_editor):
        an_editor.SetOverwriteMode(an_editor.OverwriteNone)
        a_writer.write(B, WHOLE, RIGHT)
        a_segmentation.GetSegmentation().AddEmptySegment("third", "third")
        return "third"

    @pytest.mark.parametrize(
        ("mode", "allowed"),
        [
            ("EditAllowedEverywhere", np.ones(SHAPE, dtype=bool)),
            ("EditAllowedInsideAllSegments", RIGHT),
            ("EditAllowedInsideSingleSegment", RIGHT),
            ("EditAllowedOutsideAllSegments", ~RIGHT),
        ],
    )
    def test_areas(self, a_writer, an_editor, a_third, mode, allowed):
        an_editor.SetMaskMode(getattr(slicer.vtkMRMLSegmentationNode, mode))
        an_editor.SetMaskSegmentID(B)
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(a_third), LEFT & allowed)

    @pytest.mark.parametrize("inside", [True, False])
    def test_visible_areas(self, a_writer, an_editor, a_segmentation, a_third, inside):
        mode = slicer.vtkMRMLSegmentationNode
        an_editor.SetMaskMode(
            mode.EditAllowedInsideVisibleSegments
            if inside
            else mode.EditAllowedOutsideVisibleSegments
        )
        a_segmentation.GetDisplayNode().SetSegmentVisibility(B, False)
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(a_third), LEFT & (not inside))

    def test_masked_voxels_stay_set(self, a_writer, an_editor, a_third):
        a_writer.write(a_third, WHOLE, LEFT)
        an_editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        a_writer.write(a_third, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(a_third), BOTH)

    def test_a_segment_may_leave_the_one_it_grew_into(self, a_writer, an_editor, a_third):
        an_editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        an_editor.SetMaskSegmentID(B)
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(B), RIGHT & ~LEFT)
        a_writer.write(a_third, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(B), RIGHT)
        assert not a_writer.read(a_third).any()

    def test_areas_mean_the_segmentation_that_the_editor_works_on(
        self, a_writer, an_editor, a_third, a_segmentation_node, a_volume
    ):
        an_editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
        an_editor.SetAndObserveSegmentationNode(a_segmentation_node(a_volume, name="another"))
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(a_third), LEFT)

    def test_intensities(self, a_writer, an_editor):
        an_editor.SetSourceVolumeIntensityMask(True)
        an_editor.SetSourceVolumeIntensityMaskRange(200, 400)
        values = np.arange(np.prod(SHAPE)).reshape(SHAPE)
        a_writer.write(A, WHOLE, LEFT)
        allowed = (values >= 200) & (values <= 400)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & allowed)

    def test_intensities_of_another_volume(self, a_writer, an_editor, a_volume, a_volume_node):
        matrix = vtk.vtkMatrix4x4()
        a_volume.GetIJKToRASMatrix(matrix)
        other = a_volume_node(
            np.array(matrix.GetData()).reshape(4, 4) @ np.diag([0.5, 1, 1, 1]),
            voxels=np.repeat(np.arange(np.prod(SHAPE)).reshape(SHAPE), 2, axis=2).astype(np.int16),
        )
        an_editor.SetAndObserveSourceVolumeNode(other)
        an_editor.SetSourceVolumeIntensityMask(True)
        an_editor.SetSourceVolumeIntensityMaskRange(200, 400)
        values = np.arange(np.prod(SHAPE)).reshape(SHAPE)
        a_writer.write(A, WHOLE, LEFT)
        allowed = (values >= 200) & (values <= 400)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & allowed)
