"""Labelmaps brought onto a volume's grid, made larger or taken apart, a slab at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from VoxelFeatLib.imaging.aliases import Triple
from VoxelFeatLib.scene.segments.labelmaps import LABELMAP, Grid, copied, extent_of, voxels_of
from VoxelFeatLib.scene.segments.layers import Layers
from VoxelFeatLib.segmenting.extent import Extent

# A labelmap that is too small grows by at least this part of the volume: the next one fits, then.
_SLACK = 8
# Voxels looked through at once.
_AT_ONCE = 4 << 20


def fits(layers: Layers, grid: Grid, segment_id: str, extent: Extent | None) -> bool:
    """Whether a segment's labelmap is on a grid and holds an extent of it."""
    image = layers.image(segment_id)
    if not grid.holds(image):
        return False
    return extent is None or extent.clipped(extent_of(image)) == extent


def fit(
    layers: Layers, grid: Grid, segment_id: str, extents: Sequence[Extent]
) -> Generator[None, None, None]:
    """Bring a segment's labelmap onto a grid and have it hold the extents.

    Where the labelmap is on another grid, each voxel gets the label of the nearest one, as Slicer
    does when a segment is edited on another grid. Until the copy is complete the old one is shown.
    """
    while any(not fits(layers, grid, segment_id, extent) for extent in [None, *extents]):
        image = layers.image(segment_id)
        modified = image.GetMTime()
        larger = _around(grid.shape_kji, grid.extent_of(image), extents)
        result = yield from copied(image, grid, larger)
        if layers.segmentation.GetSegment(segment_id) is None:
            return
        if image is layers.image(segment_id) and image.GetMTime() == modified:
            layer = layers.layer(segment_id)
            same = grid.holds(image) or not extent_of(image).size
            with layers.changing([layer], () if same else layer.labels):
                for name in layer.labels:
                    layers.segment(name).AddRepresentation(LABELMAP, result)
        # Else somebody has changed it in the meantime: once more.


def separate(layers: Layers, grid: Grid, segment_id: str) -> Generator[None, None, None]:
    """Give a segment a labelmap of its own on a grid, so that it may overlap the others.

    Nothing happens when the shared one is changed in the meantime: the caller looks again.
    """
    layer = layers.layer(segment_id)
    image, value = layer.image, layer.labels[segment_id]
    modified = image.GetMTime()
    alone = yield from copied(image, grid, grid.extent_of(image), value)
    segment = layers.segmentation.GetSegment(segment_id)
    if segment is None or segment.GetRepresentation(LABELMAP) is not image:
        return
    if image.GetMTime() != modified or segment.GetLabelValue() != value:
        return
    with layers.changing([layer], [segment_id]):
        segment.SetLabelValue(1)
        segment.AddRepresentation(LABELMAP, alone)
    own = extent_of(image)
    for slab in own.pieces(_AT_ONCE):
        if extent_of(image) != own:
            return
        part = voxels_of(image)[slab.within(own)]
        remaining = [other for other in layers.all() if other.image is image]
        with layers.changing(remaining, []):
            part[part == value] = 0
        yield


def _around(shape_kji: Triple, own: Extent, extents: Sequence[Extent]) -> Extent:
    """Return the extent to grow to: a side that must move leaves room, inside the volume."""
    if not extents:
        return own
    if not own.size:
        own = extents[0]
    start = np.min([own.start_kji, *(extent.start_kji for extent in extents)], axis=0)
    stop = np.max([own.stop_kji, *(extent.stop_kji for extent in extents)], axis=0)
    slack = np.array(shape_kji) // _SLACK
    lower = np.minimum(start, np.maximum(start - slack, 0))
    upper = np.maximum(stop, np.minimum(stop + slack, shape_kji))
    start = np.where(start < own.start_kji, lower, start)
    stop = np.where(stop > own.stop_kji, upper, stop)
    return Extent.of(start.tolist(), stop.tolist())
