"""Segments' voxels, written and read on the volume's own grid without holding up the main thread.

vtkSlicerSegmentEditorLogic.ModifySegmentByLabelmap looks through whole labelmaps at every call, for
seconds when masking is on, and its mode "Set" empties the segment outside the extent. So voxels are
written in place here, by the same rules (editable area, intensity range, segments to overwrite),
and only what another grid or a larger extent needs is copied, a slab at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.scene.segments.labelmaps import Grid, extent_of, labels_on
from VoxelFeatLib.scene.segments.layer_fitting import fit, fits, separate
from VoxelFeatLib.scene.segments.layers import Layers
from VoxelFeatLib.scene.segments.loans import Loans
from VoxelFeatLib.scene.segments.masking import Masking
from VoxelFeatLib.scene.segments.voxel_changes import Change, Target, VoxelChanges, moved_box
from VoxelFeatLib.segmenting.extent import Extent

# Voxels written between two looks at the mouse.
_WRITTEN = 1 << 20
# Voxels read at once.
_READ = 4 << 20


@dataclass(frozen=True, eq=False)
class _Piece:
    """Voxels that a segment is to have; the order says which of two is the newer."""

    order: int
    segment_id: str
    extent: Extent
    needed: Extent | None
    masked: bool
    bits: npt.NDArray[np.uint8]

    def mask(self) -> Mask:
        bits = np.unpackbits(self.bits, count=self.extent.size)
        return bits.view(bool).reshape(self.extent.shape)


class SegmentWriter:
    """Writes masks of a volume's grid into the segments of a segmentation node.

    Masks that are queued are targets: each voxel becomes what was queued for it last, however many
    masks are under way. Newer ones are written first. Voxels that a segment takes from others, as
    the editor node's overwrite mode says, go back to them when it leaves those voxels.

    Args:
        segmentation_node: The vtkMRMLSegmentationNode; may be under another linear transform.
        volume_node: The volume whose grid the masks are on.
        editor_node: The vtkMRMLSegmentEditorNode whose masking is respected; None: masks are
            written as they are and no other segment is overwritten.

    Raises:
        InputError: A transform is not linear, or the segments are not kept as labelmaps.
    """

    def __init__(self, segmentation_node: Any, volume_node: Any, editor_node: Any = None) -> None:
        self._node = segmentation_node
        self._volume_node = volume_node
        self._layers = Layers(segmentation_node)
        self._layers.check()
        self._loans = Loans(self._grid().shape_kji)
        masking = Masking(segmentation_node, editor_node)
        self._changes = VoxelChanges(self._layers, masking, self._loans)
        self._pieces: list[_Piece] = []
        self._queued: list[tuple[int, str, Extent]] = []
        self._order = 0
        self._work: Iterator[None] | None = None
        self._working: _Piece | None = None

    # Writing

    def write(self, segment_id: str, extent: Extent, mask: Mask, *, masked: bool = True) -> None:
        """Give a segment these voxels of an extent now, and all that is queued as well."""
        self.queue(segment_id, extent, mask, masked=masked)
        while self.step():
            pass

    def queue(self, segment_id: str, extent: Extent, mask: Mask, *, masked: bool = True) -> None:
        """Have a segment get these voxels of an extent with the next steps.

        Args:
            segment_id: Which segment.
            extent: Which voxels, all inside the volume.
            mask: (k, j, i) of the extent's shape; not kept, so it may be changed afterwards.
            masked: Change only what the editor node's masking allows. Undo and redo do not ask:
                they bring back what was there.

        Raises:
            InputError: There is no such segment, or the extent and the mask do not fit.
        """
        self._layers.segment(segment_id)
        whole = Extent.whole(self._grid().shape_kji)
        if mask.shape != extent.shape or extent.clipped(whole) != extent:
            raise InputError(
                f"A mask of {mask.shape} voxels (k, j, i) does not fit the part of the volume "
                f"from {extent.start_kji} to {extent.stop_kji}."
            )
        self._order += 1
        self._queued.append((self._order, segment_id, extent))
        # What is wholly covered need not be written any more.
        kept = [
            piece
            for piece in self._pieces
            if piece.segment_id != segment_id or piece.extent.clipped(extent) != piece.extent
        ]
        new = []
        for part in extent.pieces(_WRITTEN):
            values = mask[part.within(extent)]
            needed = moved_box(bounding_box(values), part)
            bits = np.packbits(values)
            new.append(_Piece(self._order, segment_id, part, needed, masked, bits))
        self._pieces = new + kept

    def step(self, seconds: float = 0.02) -> bool:
        """Write for about so long; returns whether anything is left."""
        end = time.perf_counter() + seconds
        try:
            while self._advance() and time.perf_counter() < end:
                pass
        finally:
            self._layers.tell()
        return self.busy

    @property
    def busy(self) -> bool:
        """Whether anything is left to be written."""
        return self._work is not None or bool(self._pieces)

    def forget(self, segment_id: str) -> list[Extent]:
        """Drop what is queued for a segment; returns where it is not as it was to become."""
        dropped = [piece.extent for piece in self._pieces if piece.segment_id == segment_id]
        self._pieces = [piece for piece in self._pieces if piece.segment_id != segment_id]
        if self._working is not None and self._working.segment_id == segment_id:
            dropped.insert(0, self._working.extent)
            # Its labelmap may be half taken apart: that goes on, but nothing is written then.
            self._working = None
        return dropped

    def removed(self, segment_id: str) -> None:
        """Forget a segment that is no more."""
        self.forget(segment_id)
        self._loans.forget(segment_id)

    def _advance(self) -> bool:
        if self._work is None:
            if not self._pieces:
                return False
            self._working = self._pieces.pop(0)
            self._work = self._written(self._working)
        work, self._work = self._work, None  # gone, should it fail
        try:
            next(work)
        except StopIteration:
            self._working = None
            oldest = min((piece.order for piece in self._pieces), default=self._order)
            self._queued = [entry for entry in self._queued if entry[0] > oldest]
        else:
            self._work = work
        return self.busy

    def _written(self, piece: _Piece) -> Iterator[None]:
        name = piece.segment_id
        while self._working is piece and self._layers.segmentation.GetSegment(name) is not None:
            grid = self._grid()
            preparation = self._prepared(grid, piece)
            if preparation is None:
                change = self._planned(grid, piece)
                if change is None:
                    return
                preparation = self._made_room(grid, change)
                if preparation is None:
                    self._changes.make(change)
                    return
            yield from preparation

    def _prepared(self, grid: Grid, piece: _Piece) -> Iterator[None] | None:
        """Return what must be done to the segment's labelmap before anything can be written."""
        name = piece.segment_id
        layer = self._layers.layer(name)
        if piece.needed is None and (not extent_of(layer.image).size or grid.holds(layer.image)):
            return None
        if fits(self._layers, grid, name, piece.needed):
            return None
        if len(layer.labels) > 1 and extent_of(layer.image).size and not grid.holds(layer.image):
            return separate(self._layers, grid, name)  # the others stay on their grid
        wanted = [each.needed for each in (piece, *self._pieces) if each.segment_id == name]
        return fit(self._layers, grid, name, [extent for extent in wanted if extent is not None])

    def _planned(self, grid: Grid, piece: _Piece) -> Change | None:
        newer = [
            extent
            for order, name, extent in self._queued
            if name == piece.segment_id and order > piece.order
        ]
        target = Target(piece.segment_id, piece.extent, piece.mask(), piece.masked)
        return self._changes.planned(grid, target, newer)

    def _made_room(self, grid: Grid, change: Change) -> Iterator[None] | None:
        """Return what must be done to labelmaps of other segments before a change can be made."""
        if self._changes.collides(grid, change):
            return separate(self._layers, grid, change.segment_id)
        for other in change.taken:
            if not fits(self._layers, grid, other, None):
                return fit(self._layers, grid, other, [])
        for other, mask in change.returned.items():
            back = moved_box(bounding_box(mask), change.extent)
            if back is not None and not fits(self._layers, grid, other, back):
                return fit(self._layers, grid, other, [back])
        return None

    def _grid(self) -> Grid:
        return Grid.of(self._node, self._volume_node)

    # Reading

    def read(self, segment_id: str, extent: Extent | None = None) -> Mask:
        """Return a segment's voxels as the scene has them, (k, j, i) of an extent or the volume.

        Raises:
            InputError: There is no such segment, or a transform is not linear.
        """
        grid = self._grid()
        segment = self._layers.segment(segment_id)
        wanted = Extent.whole(grid.shape_kji) if extent is None else extent
        labels = labels_on(self._layers.image(segment_id), grid, wanted)
        mask: Mask = labels == segment.GetLabelValue()
        return mask

    def slabs(self, segment_id: str) -> Iterator[tuple[Extent, Mask]]:
        """Read a segment part by part; it is empty outside the parts, and may be so inside."""
        grid = self._grid()
        whole = Extent.whole(grid.shape_kji)
        held = grid.extent_of(self._layers.image(segment_id)).clipped(whole)
        for extent in held.pieces(_READ):
            yield extent, self.read(segment_id, extent)

    def stamp(self, segment_id: str) -> tuple[object, ...]:
        """Return what is another one when others have changed a segment's voxels.

        Own writing does not change it. Since a labelmap only tells that it was modified, it is also
        another one when others have changed a segment that shares the labelmap, and when volume
        and segmentation have moved against each other.
        """
        place = np.round(self._grid().ijk_to_local, 6).tobytes()
        return (self._layers.stamp(segment_id), place)

    # Surfaces

    @property
    def surfaces_due(self) -> bool:
        """Whether 3D views show surfaces of segments as they were before the last steps."""
        return self._layers.surfaces_due

    def update_surface(self) -> bool:
        """Make one segment's surface anew, seconds if it is large; returns whether more wait."""
        return self._layers.update_surface()
