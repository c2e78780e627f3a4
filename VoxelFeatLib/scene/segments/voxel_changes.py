"""One change of a segment's voxels: what masking leaves of it, and what it does to the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.scene.segments.labelmaps import Grid, extent_of, labels_on, voxels_of
from VoxelFeatLib.scene.segments.layers import Layer, Layers
from VoxelFeatLib.scene.segments.loans import Loans
from VoxelFeatLib.scene.segments.masking import Masking
from VoxelFeatLib.segmenting.extent import Extent


@dataclass(frozen=True, eq=False)
class Target:
    """The voxels of an extent that a segment is to have.

    Attributes:
        segment_id: Which segment.
        extent: Which voxels.
        mask: Of the extent's shape.
        masked: Whether masking is respected.
    """

    segment_id: str
    extent: Extent
    mask: Mask
    masked: bool


@dataclass(frozen=True, eq=False)
class Change:
    """What happens to the voxels of an extent; all masks are of its shape.

    Attributes:
        segment_id: The segment that is changed.
        extent: Which voxels.
        mine: Those it holds before.
        added: Those it gains.
        removed: Those it loses.
        taken: Those that other segments lose to it.
        returned: Those that other segments get back from it.
    """

    segment_id: str
    extent: Extent
    mine: Mask
    added: Mask
    removed: Mask
    taken: dict[str, Mask]
    returned: dict[str, Mask]

    def others(self) -> dict[str, None]:
        """Return the other segments that change, in order."""
        return dict.fromkeys([*self.taken, *self.returned])


class VoxelChanges:
    """Plans and makes changes.

    Args:
        layers: The labelmaps.
        masking: What may be changed.
        loans: What the segments have taken from each other.
    """

    def __init__(self, layers: Layers, masking: Masking, loans: Loans) -> None:
        self._layers = layers
        self._masking = masking
        self._loans = loans

    def planned(self, grid: Grid, target: Target, newer: Iterable[Extent]) -> Change | None:
        """Return what gives a segment the voxels it is to have.

        Args:
            grid: The volume's grid, which the segment's labelmap must be on.
            target: The voxels; those that the labelmap does not hold are taken as empty.
            newer: Where a newer target counts instead.

        Returns:
            The change; None when there is none.
        """
        segment_id, extent = target.segment_id, target.extent
        layer = self._layers.layer(segment_id)
        value = layer.labels[segment_id]
        held = extent.clipped(extent_of(layer.image))
        if not held.size:
            return None
        change = target.mask[held.within(extent)] ^ (labels_on(layer.image, grid, held) == value)
        for other in newer:
            shared = other.clipped(held)
            if shared.size:
                change[shared.within(held)] = False
        box = moved_box(bounding_box(change), held)
        if box is None:
            return None
        change = change[box.within(held)]
        if target.masked:
            union = self._union(grid, segment_id)
            change = change & self._masking.editable(segment_id, grid, box, union)
        mine: Mask = labels_on(layer.image, grid, box) == value
        added, removed = change & ~mine, change & mine
        if not change.any():
            return None
        taken = self._taken(grid, segment_id, box, added)
        returned = self._returned(segment_id, box, removed)
        return Change(segment_id, box, mine, added, removed, taken, returned)

    def collides(self, grid: Grid, change: Change) -> bool:
        """Whether voxels would be lost by segments in the same labelmap that are to keep them."""
        layer = self._layers.layer(change.segment_id)
        losing = {change.segment_id, *change.taken}
        kept = [value for name, value in layer.labels.items() if name not in losing]
        if not kept or not change.added.any():
            return False
        labels = labels_on(layer.image, grid, change.extent)
        return bool(np.isin(labels[change.added], kept).any())

    def make(self, change: Change) -> None:
        """Make a change; the labelmaps of all segments in it must be on the volume's grid."""
        name, others = change.segment_id, change.others()
        layers = {each: self._layers.layer(each) for each in [name, *others]}
        loans = {other: self._loaned(name, other, change.extent) for other in others}
        with self._layers.changing({x.image: x for x in layers.values()}.values(), layers):
            for other, mask in change.taken.items():
                _assign(layers[other], change.extent, mask, 0)
            _assign(layers[name], change.extent, change.removed, 0)
            _assign(layers[name], change.extent, change.added, layers[name].labels[name])
            for other, mask in change.returned.items():
                value = layers[other].labels[other]
                _assign(layers[other], change.extent, mask, value, free=True)
        mine = (change.mine | change.added) & ~change.removed
        for other, loan in loans.items():
            now = loan | change.taken[other] if other in change.taken else loan
            self._loans.remember(name, other, change.extent, now & mine)
        _mark_as_started(self._layers.segment(name))

    def _taken(self, grid: Grid, segment_id: str, extent: Extent, added: Mask) -> dict[str, Mask]:
        overwritten = self._masking.overwritten(segment_id)
        taken: dict[str, Mask] = {}
        if not overwritten or not added.any():
            return taken
        for layer in self._layers.all():
            if overwritten.isdisjoint(layer.labels):
                continue
            labels = labels_on(layer.image, grid, extent)
            found = set(np.unique(labels[added]).tolist())
            for other, value in layer.labels.items():
                if other in overwritten and value in found:
                    taken[other] = added & (labels == value)
        return taken

    def _returned(self, segment_id: str, extent: Extent, removed: Mask) -> dict[str, Mask]:
        returned = {}
        for lender in self._loans.lenders(segment_id):
            back = self._loaned(segment_id, lender, extent) & removed
            if back.any() and self._layers.segmentation.GetSegment(lender) is not None:
                returned[lender] = back
        return returned

    def _loaned(self, segment_id: str, lender: str, extent: Extent) -> Mask:
        taken = self._loans.taken(segment_id, lender, extent)
        return np.zeros(extent.shape, dtype=bool) if taken is None else taken

    def _union(self, grid: Grid, segment_id: str) -> Any:
        def union(segment_ids: Collection[str], extent: Extent) -> Mask:
            held = self._layers.union(grid, segment_ids, extent)
            # A segment that may grow only inside another one must be able to leave it, too.
            for lender in set(self._loans.lenders(segment_id)).intersection(segment_ids):
                held |= self._loaned(segment_id, lender, extent)
            return held

        return union


def moved_box(box: tuple[slice, slice, slice] | None, extent: Extent) -> Extent | None:
    """Return a box found in an extent's voxels as the extent of those voxels."""
    if box is None:
        return None
    start = [axis.start + first for axis, first in zip(box, extent.start_kji, strict=True)]
    stop = [axis.stop + first for axis, first in zip(box, extent.start_kji, strict=True)]
    return Extent.of(start, stop)


def _assign(layer: Layer, extent: Extent, mask: Mask, value: int, *, free: bool = False) -> None:
    """Set a label where a mask is set, in ``free`` only where no other segment is."""
    own = extent_of(layer.image)
    shared = extent.clipped(own)
    if not shared.size:
        return
    part = voxels_of(layer.image)[shared.within(own)]
    where = mask[shared.within(extent)]
    part[where & (part == 0) if free else where] = value


def _mark_as_started(segment: Any) -> None:
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if logic.GetSegmentStatus(segment) == logic.NotStarted:
        logic.SetSegmentStatus(segment, logic.InProgress)
