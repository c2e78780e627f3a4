"""A mask of a large volume in an eighth of the memory, read and written part by part."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.aliases import Mask, Triple
from VoxelFeatLib.scene.segments.mask_packer import MaskPacker
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask

# Voxels packed at once.
_PACKED = 4 << 20


@dataclass(frozen=True)
class Put:
    """What writing a part of a mask changed.

    Attributes:
        difference: The voxels that are not as before, on the whole mask's grid.
        joined: How many became set.
        left: How many are set no more.
    """

    difference: PackedMask
    joined: int
    left: int


class BitMask:
    """A (K, J, I) mask that keeps eight voxels of a row in a byte.

    Slicer's main thread works on parts of it, so that no step lasts long however large the volume.

    Args:
        shape_kji: Shape of the mask; it starts empty.
    """

    def __init__(self, shape_kji: Triple) -> None:
        self.shape_kji = shape_kji
        k, j, i = shape_kji
        self._bytes = np.zeros((k, j, -(-i // 8)), dtype=np.uint8)

    def get(self, extent: Extent) -> Mask:
        """Return the (k, j, i) voxels of an extent as a new array."""
        rows, first, last, shift = self._rows(extent)
        bits = np.unpackbits(rows[:, :, first:last], axis=2)
        width = extent.stop_kji[2] - extent.start_kji[2]
        return np.ascontiguousarray(bits[:, :, shift : shift + width]).view(bool)

    def put(self, extent: Extent, mask: Mask) -> Put:
        """Set the voxels of an extent; returns what that changed.

        Args:
            extent: Which voxels.
            mask: (k, j, i) of the extent's shape.
        """
        rows, first, last, shift = self._rows(extent)
        bits = np.unpackbits(rows[:, :, first:last], axis=2).view(bool)
        part = bits[:, :, shift : shift + mask.shape[2]]
        changed = part ^ mask
        total, joined = int(np.count_nonzero(changed)), int(np.count_nonzero(changed & mask))
        difference = _at(PackedMask.of(changed), extent, self.shape_kji)
        part[:] = mask
        rows[:, :, first:last] = np.packbits(bits, axis=2)
        return Put(difference, joined, total - joined)

    def holds(self, other: BitMask) -> bool:
        """Whether every voxel of another mask of the same shape is set here, too."""
        return not np.any(other._bytes & ~self._bytes)

    def toggle(self, difference: PackedMask) -> Extent:
        """Flip the voxels of a difference and return the extent around them."""
        extent = Extent(difference.start_kji, difference.stop_kji)
        if not difference.empty:
            part = self.get(extent)
            flips = PackedMask(extent.shape, (0, 0, 0), extent.shape, difference.bits)
            flips.toggle(part)
            self.put(extent, part)
        return extent

    def bounding_extent(self) -> Extent:
        """Return the extent around all set voxels, to whole bytes along i; empty without any."""
        used = [self._bytes.any(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
        if not used[0].any():
            return Extent((0, 0, 0), (0, 0, 0))
        places = [np.flatnonzero(values) for values in used]
        start = [int(place[0]) for place in places]
        stop = [int(place[-1]) + 1 for place in places]
        start[2], stop[2] = start[2] * 8, min(stop[2] * 8, self.shape_kji[2])
        return Extent.of(start, stop)

    def packing(self) -> Generator[None, None, PackedMask]:
        """Return all voxels in one piece, by ``yield from``; change nothing until it is done.

        The box is the one of ``bounding_extent``.
        """
        extent = self.bounding_extent()
        packer = MaskPacker()
        for slab in extent.pieces(_PACKED):
            packer.add(self.get(slab))
            yield
        return packer.packed(extent, self.shape_kji)

    @property
    def empty(self) -> bool:
        """Whether no voxel is set."""
        return not self._bytes.any()

    @property
    def voxels(self) -> int:
        """Number of set voxels."""
        return int(np.bitwise_count(self._bytes).sum(dtype=np.int64))

    def _rows(self, extent: Extent) -> tuple[npt.NDArray[np.uint8], int, int, int]:
        k, j, i = extent.slices
        first = i.start // 8
        return self._bytes[k, j], first, -(-i.stop // 8), i.start - 8 * first


def _at(part: PackedMask, extent: Extent, shape_kji: Triple) -> PackedMask:
    """Move a mask of an extent's own grid to its place in the whole."""
    if part.empty:
        return PackedMask(shape_kji, (0, 0, 0), (0, 0, 0), b"")
    start, stop = (
        tuple(a + b for a, b in zip(corner, extent.start_kji, strict=True))
        for corner in (part.start_kji, part.stop_kji)
    )
    moved = Extent.of(start, stop)
    return PackedMask(shape_kji, moved.start_kji, moved.stop_kji, part.bits)
