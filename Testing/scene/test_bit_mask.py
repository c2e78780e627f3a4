"""Masks in bits: whatever is written is read, and differences flip it back."""

from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.scene.segments.bit_mask import BitMask
from VoxelFeatLib.scene.segments.mask_packer import as_message
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker.protocol import whole_mask

SHAPE = (5, 7, 21)
EXTENTS = [
    Extent((0, 0, 0), SHAPE),
    Extent((1, 2, 3), (4, 5, 6)),
    Extent((0, 0, 8), (5, 7, 16)),
    Extent((2, 3, 15), (3, 4, 21)),
    Extent((4, 6, 20), (5, 7, 21)),
]


def finished(steps):
    """Do all steps; returns the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture
def a_mask():
    return np.random.default_rng(1).random(SHAPE) < 0.5


@pytest.mark.parametrize("extent", EXTENTS)
def test_parts_are_written_and_read(a_mask, extent):
    bits = BitMask(SHAPE)
    whole = Extent.whole(SHAPE)
    bits.put(whole, a_mask)
    change = np.random.default_rng(2).random(extent.shape) < 0.5
    expected = a_mask.copy()
    expected[extent.slices] = change
    put = bits.put(extent, change)
    difference = put.difference
    assert put.joined == (expected & ~a_mask).sum()
    assert put.left == (a_mask & ~expected).sum()
    np.testing.assert_array_equal(bits.get(whole), expected)
    np.testing.assert_array_equal(bits.get(extent), change)
    np.testing.assert_array_equal(difference.mask(), expected ^ a_mask)
    assert bits.voxels == expected.sum()
    assert bits.toggle(difference).size <= extent.size
    np.testing.assert_array_equal(bits.get(whole), a_mask)


def test_writing_the_same_changes_nothing(a_mask):
    bits = BitMask(SHAPE)
    bits.put(Extent.whole(SHAPE), a_mask)
    assert bits.put(EXTENTS[1], a_mask[EXTENTS[1].slices]).difference.empty


def test_the_bounding_extent_holds_all_voxels():
    bits = BitMask(SHAPE)
    assert bits.bounding_extent().size == 0
    bits.put(Extent((2, 3, 17), (3, 4, 18)), np.ones((1, 1, 1), dtype=bool))
    assert bits.bounding_extent() == Extent((2, 3, 16), (3, 4, 21))


@pytest.mark.parametrize("shape", [SHAPE, (3, 5, 16), (1, 1, 3)])
@pytest.mark.parametrize("at_once", [1, 13, 200, 1 << 20])
def test_a_mask_is_packed_in_parts(shape, at_once, monkeypatch):
    monkeypatch.setattr("VoxelFeatLib.scene.segments.bit_mask._PACKED", at_once)
    mask = np.random.default_rng(3).random(shape) < 0.1
    mask[0, 0, 0] = True
    bits = BitMask(shape)
    bits.put(Extent.whole(shape), mask)
    packed = finished(bits.packing())
    np.testing.assert_array_equal(packed.mask(), mask)
    np.testing.assert_array_equal(whole_mask(as_message(packed)), mask)


def test_an_empty_mask_is_packed():
    bits = BitMask(SHAPE)
    assert bits.empty
    packed = finished(bits.packing())
    assert packed.empty
    assert not whole_mask(as_message(packed)).any()


def test_masks_are_compared(a_mask):
    one, other = BitMask(SHAPE), BitMask(SHAPE)
    assert one.holds(other)
    one.put(Extent.whole(SHAPE), a_mask)
    assert one.holds(other)
    assert not other.holds(one)
    other.put(Extent.whole(SHAPE), a_mask)
    assert other.holds(one)
