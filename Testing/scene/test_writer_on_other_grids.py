"""Segments whose labelmaps are not on the volume's grid."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.scene.written import (
    COARSE,
    LEFT,
    SHAPE,
    WHOLE,
    A,
    B,
    by_slicer,
    coarse_labelmap,
)
from VoxelFeatLib.scene.segments import segment_writer as module
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.segmenting.extent import Extent


class TestOtherGrids:
    @pytest.fixture
    def a_coarse_segment(self, a_segmentation, a_volume):
        segment = a_segmentation.GetSegmentation().GetSegment(A)
        segment.AddRepresentation("Binary labelmap", coarse_labelmap(a_volume))
        return segment

    @pytest.mark.usefixtures("a_coarse_segment")
    def test_reading(self, a_writer):
        np.testing.assert_array_equal(a_writer.read(A), COARSE)
        extent = Extent((0, 6, 5), (3, 9, 11))
        np.testing.assert_array_equal(a_writer.read(A, extent), COARSE[extent.slices])

    @pytest.mark.usefixtures("a_coarse_segment")
    def test_reading_part_by_part(self, a_writer, monkeypatch):
        monkeypatch.setattr(module, "_READ", 60)
        whole = np.zeros(SHAPE, dtype=bool)
        for extent, mask in a_writer.slabs(A):
            whole[extent.slices] = mask
        np.testing.assert_array_equal(whole, COARSE)

    @pytest.mark.usefixtures("a_coarse_segment")
    def test_writing_keeps_what_is_outside_the_extent(self, a_writer, a_segmentation, a_volume):
        extent = Extent((1, 0, 0), (2, 9, 11))
        a_writer.write(A, extent, LEFT[extent.slices])
        expected = COARSE.copy()
        expected[extent.slices] = LEFT[extent.slices]
        np.testing.assert_array_equal(a_writer.read(A), expected)
        np.testing.assert_array_equal(by_slicer(a_segmentation, A, a_volume), expected)

    def test_those_that_share_the_labelmap_stay_on_their_grid(
        self, a_segmentation, a_volume, a_coarse_segment
    ):
        image = a_coarse_segment.GetRepresentation("Binary labelmap")
        segment = a_segmentation.GetSegmentation().GetSegment(B)
        segment.AddRepresentation("Binary labelmap", image)
        segment.SetLabelValue(2)
        writer = SegmentWriter(a_segmentation, a_volume)
        writer.write(B, WHOLE, LEFT)
        np.testing.assert_array_equal(writer.read(B), LEFT)
        np.testing.assert_array_equal(writer.read(A), COARSE)
        assert a_coarse_segment.GetRepresentation("Binary labelmap") is image
        assert image.GetDimensions() == (4, 4, 7)
