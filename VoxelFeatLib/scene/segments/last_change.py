"""What the last answer changed, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.scene.segments.bit_mask import BitMask
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask


@dataclass(frozen=True)
class LastChange:
    """What joined and left a segment with the last answer.

    Attributes:
        segment_id: The segment.
        added_ml: Millilitres that joined it.
        removed_ml: Millilitres that left it.
        differences: The voxels that changed.
        seconds: That the worker took.
    """

    segment_id: str
    added_ml: float
    removed_ml: float
    differences: tuple[PackedMask, ...]
    seconds: float

    @property
    def extent(self) -> Extent:
        """The extent around all changes; empty without any."""
        if not self.differences:
            return Extent((0, 0, 0), (0, 0, 0))
        start = np.min([difference.start_kji for difference in self.differences], axis=0)
        stop = np.max([difference.stop_kji for difference in self.differences], axis=0)
        return Extent.of(start.tolist(), stop.tolist())

    def parts(self, mask: BitMask) -> Iterator[tuple[Extent, Mask, Mask]]:
        """Yield extents with the voxels that joined and those that left, given the mask now."""
        for difference in self.differences:
            extent = Extent(difference.start_kji, difference.stop_kji)
            changed = PackedMask(extent.shape, (0, 0, 0), extent.shape, difference.bits).mask()
            present = mask.get(extent)
            yield extent, changed & present, changed & ~present
