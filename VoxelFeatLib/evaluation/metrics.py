"""Agreement of two masks: overlap, and distances between surfaces in millimetres.

A surface is the set of a mask's voxels with a face neighbour outside the mask (the array's edge
counts as outside); distances are between voxel centres, exact for axes at right angles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray, Mask
from VoxelFeatLib.imaging.masks import bounding_box

Box = tuple[slice, slice, slice]

_FACES = generate_binary_structure(3, 1)


@dataclass(frozen=True)
class Scores:
    """The four numbers of the method's evaluation.

    Attributes:
        dice: 0 to 1.
        hd95_mm: See `hd95_mm`.
        reference_to_prediction_mm: Mean distance of the reference's surface to the prediction's.
        prediction_to_reference_mm: Mean distance of the prediction's surface to the reference's.
    """

    dice: float
    hd95_mm: float
    reference_to_prediction_mm: float
    prediction_to_reference_mm: float


def score(
    prediction: npt.ArrayLike, reference: npt.ArrayLike, spacing_ijk: Sequence[float]
) -> Scores:
    """Compare two (K, J, I) masks; to score around the reference only, cut both by `around`.

    Args:
        prediction: Non-zero inside.
        reference: Non-zero inside.
        spacing_ijk: Voxel size along i, j, k in mm.

    Raises:
        InputError: The masks have different shapes or are not 3D.
    """
    to_prediction, to_reference = surface_distances(prediction, reference, spacing_ijk)
    return Scores(
        dice(prediction, reference),
        _hd95(to_prediction, to_reference),
        _mean(to_prediction, to_reference),
        _mean(to_reference, to_prediction),
    )


def dice(prediction: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Twice the common part over the sum of both; 1 when both are empty.

    Raises:
        InputError: As `score`.
    """
    a, b = _masks(prediction, reference)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else 1.0


def hd95_mm(
    prediction: npt.ArrayLike, reference: npt.ArrayLike, spacing_ijk: Sequence[float]
) -> float:
    """Return the larger of the two directed 95th percentiles of the surface distances, mm.

    Zero when both masks are empty, infinite when only one is.

    Raises:
        InputError: As `score`.
    """
    return _hd95(*surface_distances(prediction, reference, spacing_ijk))


def surface_distances(
    prediction: npt.ArrayLike, reference: npt.ArrayLike, spacing_ijk: Sequence[float]
) -> tuple[FloatArray, FloatArray]:
    """Return the distance of every surface voxel of one mask to the other's surface, mm.

    Returns:
        Reference to prediction and prediction to reference, one value for each surface voxel of
        the mask where the distance starts; infinite when the other mask is empty.

    Raises:
        InputError: As `score`.
    """
    a, b = _masks(prediction, reference)
    box = bounding_box(a | b)
    if box is None:
        return np.zeros(0), np.zeros(0)
    # The box holds both masks, so erosion with an outside of zeros finds the same surfaces.
    surface_a, surface_b = (m[box] & ~binary_erosion(m[box], _FACES) for m in (a, b))
    spacing_kji = tuple(spacing_ijk)[::-1]
    return _from_to(surface_b, surface_a, spacing_kji), _from_to(surface_a, surface_b, spacing_kji)


def around(reference: npt.ArrayLike, margin: int = 5) -> Box:
    """Return the reference's box grown by ``margin`` voxels and cut at the array's edges.

    The method scores within this box. An empty reference gives the whole array.
    """
    mask = np.asarray(reference) != 0
    box = bounding_box(mask) or (slice(0, None),) * 3
    k, j, i = (
        slice(max(0, s.start - margin), n if s.stop is None else min(n, s.stop + margin))
        for s, n in zip(box, mask.shape, strict=True)
    )
    return k, j, i


def _masks(prediction: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[Mask, Mask]:
    a, b = np.asarray(prediction), np.asarray(reference)
    if a.ndim != 3 or a.shape != b.shape:
        raise InputError(
            f"Two masks of the same volume are needed, not of shapes {a.shape} and {b.shape}."
        )
    return a != 0, b != 0


def _from_to(start: Mask, goal: Mask, spacing_kji: tuple[float, ...]) -> FloatArray:
    if not goal.any():
        return np.full(np.count_nonzero(start), math.inf)
    distances: FloatArray = distance_transform_edt(~goal, sampling=spacing_kji)
    return distances[start]


def _hd95(first: FloatArray, second: FloatArray) -> float:
    if not first.size or not second.size:
        return 0.0 if first.size == second.size else math.inf
    return float(max(np.percentile(first, 95), np.percentile(second, 95)))


def _mean(distances: FloatArray, opposite: FloatArray) -> float:
    if not distances.size:
        return math.inf if opposite.size else 0.0
    return float(distances.mean())
