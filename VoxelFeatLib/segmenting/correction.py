"""What a click may change: the correction rule of VISTA3D, and locality.

Source: He et al., "VISTA3D", CVPR 2025, and its implementation in MONAI.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.components import (
    Points,
    as_points,
    overlapping_components,
    touched_components,
)


def correct(
    so_far: Mask,
    prediction: Mask,
    positive_kji: npt.ArrayLike,
    negative_kji: npt.ArrayLike,
    *,
    predicted: Mask | None = None,
) -> Mask:
    """Change a segment only in the components that a click touches.

    With P the new prediction and A the segment so far: if any click lies where A is set,
    added = P, else added = P and not A; removed = A and not P. A positive click adds its component
    of ``added``, a negative one takes its component of ``removed`` away. Voxels that were never
    predicted before take the new prediction.

    Args:
        so_far: (K, J, I) the segment A.
        prediction: (K, J, I) the new prediction P.
        positive_kji: (N, 3) voxels of the positive clicks.
        negative_kji: (N, 3) voxels of the negative clicks.
        predicted: (K, J, I) where A comes from a prediction or an existing mask; all when None.

    Returns:
        (K, J, I) a new mask.
    """
    positive, negative = as_points(positive_kji), as_points(negative_kji)
    result = np.zeros(so_far.shape, dtype=bool)
    boxes = [box for box in map(bounding_box, (so_far, prediction)) if box is not None]
    if not boxes:
        return result
    # Nothing is set outside, before or after: large volumes are mostly that.
    part = tuple(
        slice(min(s.start for s in along), max(s.stop for s in along))
        for along in zip(*boxes, strict=True)
    )
    start = [along.start for along in part]
    known = None if predicted is None else predicted[part]
    result[part] = _corrected(
        so_far[part], prediction[part], positive - start, negative - start, known
    )
    return result


def _corrected(
    so_far: Mask, prediction: Mask, positive: Points, negative: Points, predicted: Mask | None
) -> Mask:
    added = prediction
    if not _any_at(so_far, np.concatenate([positive, negative])):
        added = prediction & ~so_far
    result = so_far | touched_components(added, positive)
    if len(negative):
        result &= ~touched_components(so_far & ~prediction, negative)
    if predicted is not None:
        np.copyto(result, prediction, where=~predicted)
    return result


def keep_touched(mask: Mask, positive_kji: npt.ArrayLike, *, anchor: Mask | None = None) -> Mask:
    """Keep the components that a positive click touches (locality).

    Args:
        mask: (K, J, I) the segment.
        positive_kji: (N, 3) voxels of the positive clicks.
        anchor: (K, J, I) an existing mask the segment was started from; components that overlap
            it stay as well.
    """
    kept = touched_components(mask, positive_kji)
    if anchor is not None:
        kept |= overlapping_components(mask, anchor)
    return kept


def _any_at(mask: Mask, points_kji: npt.NDArray[np.int64]) -> bool:
    inside = ((points_kji >= 0) & (points_kji < mask.shape)).all(axis=1)
    return bool(mask[tuple(points_kji[inside].T)].any())
