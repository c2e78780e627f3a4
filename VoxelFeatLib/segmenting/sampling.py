"""Positions that teach a probe: inside and around an existing mask."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from VoxelFeatLib.imaging.aliases import FloatArray, Mask
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.masks import bounding_box

# Samples of each kind that an existing mask gives.
_MASK_SAMPLES = 256
# An existing mask is believed this far from its border, and its surroundings up to that far.
_BORDER_MM = 2.0
_SURROUNDINGS_MM = 15.0


def inside_and_around(
    mask: Mask, geometry: Geometry, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Choose voxels well inside a mask, and voxels outside of it but near.

    Inside means 2 mm (one voxel at least) from the border, or anywhere in the mask where it is
    thinner; outside means beyond the same distance and within 15 mm.

    Returns:
        Two arrays of RAS mm, (n, 3) and (m, 3), up to 256 each.
    """
    box = bounding_box(mask)
    if box is None:
        return np.empty((0, 3)), np.empty((0, 3))
    reach, border = _in_voxels(_SURROUNDINGS_MM, geometry), _in_voxels(_BORDER_MM, geometry)
    grown = tuple(
        slice(max(part.start - r, 0), min(part.stop + r, size))
        for part, r, size in zip(box, reach, mask.shape, strict=True)
    )
    part = mask[grown]
    deep = _filtered(~part, border) == 0
    around = _filtered(part, reach) & ~_filtered(part, border)
    generator = np.random.default_rng(seed)
    start = np.array([piece.start for piece in grown])
    chosen = []
    for candidates in (deep if deep.any() else part, around):
        found = np.argwhere(candidates)
        kept = generator.permutation(len(found))[:_MASK_SAMPLES]
        chosen.append(geometry.to_ras((found[np.sort(kept)] + start)[:, ::-1]))
    return chosen[0], chosen[1]


def _in_voxels(distance_mm: float, geometry: Geometry) -> list[int]:
    return [max(1, round(distance_mm / step)) for step in geometry.spacing[::-1].tolist()]


def _filtered(mask: Mask, reach_kji: list[int]) -> Mask:
    """Grow a mask by a box; one axis after the other, so that the cost does not grow with it."""
    sizes = [2 * reach + 1 for reach in reach_kji]
    grown = scipy.ndimage.maximum_filter(mask.view(np.uint8), size=sizes, mode="constant")
    return np.asarray(grown.view(bool))
