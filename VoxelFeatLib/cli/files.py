"""Reading what commands start from and writing what they make, with a word to the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from VoxelFeatLib.cli.console import say
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.reading import read_segmentation, read_volume
from VoxelFeatLib.imaging.resampling import resample_labels_nearest
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import (
    SEGMENTATION_ENDING,
    SegmentMask,
    write_labelmap,
    write_segmentation,
)


def open_volume(path: Path, *, series: str | None = None, fill: float | None = None) -> Volume:
    """Read a volume and say what a user should know about how it was read."""
    volume = read_volume(path, series=series, fill=fill)
    for note in volume.notes:
        say(f"Note: {note}")
    return volume


def read_masks(path: Path) -> tuple[list[SegmentMask], Geometry]:
    """Read the segments of a labelmap or segmentation file, and the voxels they are on.

    Segments that overlap are all whole; those without any voxel are left out.

    Raises:
        InputError: The file cannot be read, or has no segment.
    """
    segments, geometry = read_segmentation(path)
    masks = [segment for segment in segments if segment.mask.any()]
    if not masks:
        raise InputError(f"{path} has no segment; all its voxels are background.")
    return masks, geometry


def open_masks(path: Path, geometry: Geometry) -> list[SegmentMask]:
    """Read the segments of a file on the voxels of a volume.

    Raises:
        InputError: The file cannot be read, or no segment reaches into the volume.
    """
    masks, own_geometry = read_masks(path)
    if own_geometry.matches(geometry):
        return masks
    say(f"Note: {path.name} lies on other voxels than the volume; it was resampled.")
    masks = [
        replace(one, mask=resample_labels_nearest(one.mask, own_geometry, geometry))
        for one in masks
    ]
    masks = [segment for segment in masks if segment.mask.any()]
    if not masks:
        raise InputError(f"{path} has no segment inside the volume.")
    return masks


def write_masks(path: Path, segments: Sequence[SegmentMask], geometry: Geometry) -> None:
    """Write segments as `.seg.nrrd` or, by any other ending, as a labelmap 1, 2, ... in order."""
    if path.name.lower().endswith(SEGMENTATION_ENDING):
        write_segmentation(path, segments, geometry)
        return
    labels = np.zeros(geometry.shape_kji, dtype=np.uint16)
    overlap = False
    for label, segment in enumerate(segments, start=1):
        overlap = overlap or bool(labels[segment.mask].any())
        labels[segment.mask] = label
    if overlap:
        say(f"Note: segments overlap, and {path.name} shows the later one; .seg.nrrd keeps both.")
    write_labelmap(path, labels, geometry)
