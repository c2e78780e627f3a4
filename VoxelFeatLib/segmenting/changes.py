"""What operations and updates change, as a session remembers it for undo and redo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.segmenting.segment import Segment
from VoxelFeatLib.segmenting.updating import Known, Result


@dataclass(frozen=True)
class Change:
    """What an update, undo or redo changed.

    Attributes:
        extent: Box around all changed voxels; None when none changed.
        added: Number of voxels that joined the segment.
        removed: Number of voxels that left it.
    """

    extent: Extent | None = None
    added: int = 0
    removed: int = 0


@dataclass(frozen=True)
class ResultChange:
    """How one result changed.

    Attributes:
        name: Of the segment.
        difference: The voxels that are not as before.
        before: What was known of the mask before.
        after: What is known of it now.
    """

    name: str
    difference: PackedMask
    before: Known
    after: Known

    @classmethod
    def between(cls, name: str, old: Result, new: Result) -> ResultChange:
        """Compare two results of one segment."""
        difference = PackedMask.of(old.mask ^ new.mask)
        return cls(name, difference, old.known, new.known)

    def summary(self, mask: Mask) -> Change:
        """Count what changed, given the (K, J, I) mask after it."""
        if self.difference.empty:
            return Change()
        extent = Extent(self.difference.start_kji, self.difference.stop_kji)
        changed = self.difference.mask()[extent.slices]
        added = int(np.count_nonzero(mask[extent.slices] & changed))
        return Change(extent, added, int(np.count_nonzero(changed)) - added)


@dataclass
class Entry:
    """One operation, and how the results changed until the next one.

    Attributes:
        name: Of the segment operated on.
        before: Its state before; None when there was no such segment.
        after: Its state after; None when it was removed.
        place: Its number among the segments, before or after.
        changes: Of results, in order.
    """

    name: str
    before: Segment | None
    after: Segment | None
    place: int
    changes: list[ResultChange] = field(default_factory=list)

    def nbytes(self) -> int:
        """Bytes held, about."""
        states = [state for state in (self.before, self.after) if state is not None]
        bases = sum(len(state.base.bits) for state in states if state.base is not None)
        clicks = sum(len(state.clicks) for state in states)
        return bases + 8 * clicks + sum(len(change.difference.bits) for change in self.changes)
