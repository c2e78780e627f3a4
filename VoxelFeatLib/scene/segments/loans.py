"""Voxels that a segment has taken from others, which get them back when it leaves them."""

from __future__ import annotations

from VoxelFeatLib.imaging.aliases import Mask, Triple
from VoxelFeatLib.scene.segments.bit_mask import BitMask
from VoxelFeatLib.segmenting.extent import Extent


class Loans:
    """Remembers which voxels a segment has taken from which others.

    A segment in the making runs over its neighbours and leaves them again with the next click; they
    must not have lost anything then.

    Args:
        shape_kji: The volume's shape.
    """

    def __init__(self, shape_kji: Triple) -> None:
        self._shape_kji = shape_kji
        self._taken: dict[tuple[str, str], BitMask] = {}

    def lenders(self, segment_id: str) -> list[str]:
        """Return the segments from which one has taken voxels."""
        return [lender for taker, lender in self._taken if taker == segment_id]

    def taken(self, segment_id: str, lender: str, extent: Extent) -> Mask | None:
        """Return the voxels of an extent that a segment has taken; None for nothing anywhere."""
        bits = self._taken.get((segment_id, lender))
        return None if bits is None else bits.get(extent)

    def remember(self, segment_id: str, lender: str, extent: Extent, mask: Mask) -> None:
        """Replace what is remembered of an extent."""
        bits = self._taken.get((segment_id, lender))
        if bits is None:
            if not mask.any():
                return
            bits = self._taken[segment_id, lender] = BitMask(self._shape_kji)
        bits.put(extent, mask)

    def forget(self, segment_id: str) -> None:
        """Forget a segment that is no more, both what it took and what was taken from it."""
        for pair in [pair for pair in self._taken if segment_id in pair]:
            del self._taken[pair]
