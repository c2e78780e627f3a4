"""What a client was shown of a segment, and where that is not the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker.protocol import CHUNK_VOXELS


class Previews:
    """Parts shown of each segment before its result came; also those of superseded requests."""

    def __init__(self) -> None:
        self._shown: dict[str, dict[Extent, Mask]] = {}

    def show(self, segment: str, extent: Extent, mask: Mask) -> None:
        """Remember a part that was sent."""
        parts = self._shown.setdefault(segment, {})
        parts.pop(extent, None)  # the latest comes last
        parts[extent] = mask

    def of(self, segment: str) -> dict[Extent, Mask]:
        """Return what was shown of a segment since its last result, the latest last."""
        return self._shown.get(segment, {})

    def settle(self, segment: str) -> None:
        """Forget a segment's parts: its result has been sent."""
        self._shown.pop(segment, None)

    def clear(self) -> None:
        """Forget everything."""
        self._shown.clear()


@dataclass
class Difference:
    """What a result changed, counted slab by slab.

    Attributes:
        added: Voxels that joined.
        removed: Voxels that left.
        extent: Around all of these; None where there are none.
    """

    added: int = 0
    removed: int = 0
    extent: Extent | None = None

    def count(self, old: Mask, new: Mask, start_kji: tuple[int, int, int]) -> None:
        """Compare one slab that starts at a voxel of the volume."""
        changed = old != new
        box = bounding_box(changed)
        if box is None:
            return
        joined = int(np.count_nonzero(changed & new))
        self.added += joined
        self.removed += int(np.count_nonzero(changed)) - joined
        self.extent = _around(self.extent, _moved(box, start_kji))


def differences(
    old: Mask, shown: dict[Extent, Mask], new: Mask, change: Difference
) -> Iterator[Extent | None]:
    """Find the boxes that differ from the last result or from what a client shows; count changes.

    A preview that was right is among them: until the end it is shown only, not accepted.

    Args:
        old: (K, J, I) the last result.
        shown: Parts shown on top of it since, the latest last.
        new: (K, J, I) the result.
        change: Counts how ``new`` differs from ``old``.

    Yields:
        Boxes of at most CHUNK_VOXELS voxels, or None after a piece of work without one.
    """
    for slab in Extent.of((0, 0, 0), new.shape).pieces(CHUNK_VOXELS):
        change.count(old[slab.slices], new[slab.slices], slab.start_kji)
        now = old[slab.slices]
        overlaps = [(extent.clipped(slab), extent, part) for extent, part in shown.items()]
        overlaps = [overlap for overlap in overlaps if overlap[0].size]
        differs = now != new[slab.slices]
        if overlaps:
            now = now.copy()
            for common, extent, part in overlaps:
                now[common.within(slab)] = part[common.within(extent)]
            differs |= now != new[slab.slices]
        box = bounding_box(differs)
        yield None if box is None else _moved(box, slab.start_kji)


def _moved(box: tuple[slice, slice, slice], start_kji: tuple[int, int, int]) -> Extent:
    low = [part.start + first for part, first in zip(box, start_kji, strict=True)]
    high = [part.stop + first for part, first in zip(box, start_kji, strict=True)]
    return Extent.of(low, high)


def _around(one: Extent | None, other: Extent) -> Extent:
    if one is None:
        return other
    low = list(map(min, one.start_kji, other.start_kji))
    return Extent.of(low, list(map(max, one.stop_kji, other.stop_kji)))
