"""How far the field may move the border of a coarse mask.

The coarse mask is a set of exact labels at the centres of its coarse voxels. From these follow

1. a prior: the mask smoothed with a Gaussian of half a coarse voxel is the probability that a
   plane border gives, so z = Phi^-1(smoothed) is the signed distance to the anti-aliased surface
   in units of sigma, whatever the anisotropy. What is one coarse voxel thick would be smoothed
   away, against its own labels: labels that would not stay are made stronger before. The true
   border scatters about that surface by about sigma / 2 (a quarter of a coarse voxel), so the
   prior's logit is 1.702 z / 0.5 (1.702 turns a probit into a logit). Beyond |z| = 2, one coarse
   voxel, the prior stands alone.
2. a probe: a logistic regression of the labels on [features, intensity] at the coarse centres.
3. how far to trust it: every coarse label is predicted by the smoothed mask without that label,
   and by a probe that was fitted without its neighbourhood. A logistic regression on the two gives
   the weight that the probe's logit deserves beside a spatial prior, less one standard error.
   Where features say nothing that the neighbours do not, the weight is zero and the result is
   plain anti-aliasing.

logit = 1.702 z / 0.5 + weight * probe + offset, with |offset| at most 1.5 * weight: an offset is
the probe's to correct, without a probe it would only grow or shrink the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation, binary_erosion, convolve1d
from scipy.special import expit, ndtri

from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.aliases import FloatArray, Mask
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.resampling import resample_labels_nearest
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.coarse import smoothed
from VoxelFeatLib.segmenting.probe import AffineHead, LogisticProblem
from VoxelFeatLib.segmenting.samples import samples_at

# Scatter of the true border about the anti-aliased surface, in units of its sigma.
_SCATTER = 0.5
_PROBIT_TO_LOGIT = 1.702
# The band in which the probe has a say, in units of sigma; sigma is half a coarse voxel.
BAND = 2.0
# Logits of the probe beyond this are no more certain.
_LARGEST_LOGIT = 8.0
# What smoothing by half a voxel leaves of a label in its own voxel, and brings to each neighbour.
_SPREAD = (0.1587, 0.6826, 0.1587)
# Smoothed labels are at least this sure of themselves at their own centres, after so many rounds.
_SURE = 0.6
_ROUNDS, _RATE = 8, 1.5
# Coarse labels that teach the probe: enough for several hundred channels.
_MOST_LABELS = 4000
_FEWEST_LABELS = 8
_RIDGE = 30.0
_FOLDS = 5
# Labels in blocks of so many coarse voxels are left out together.
_FOLD_BLOCK = 2


def surface_distance(labels: Mask, grid: Geometry, target: Geometry) -> FloatArray:
    """Return z = Phi^-1(smoothed labels) on a grid: distance to the surface in units of sigma."""
    # sigma belongs to the coarse axes; each target axis takes what they are along it
    along = np.square(target.directions.T @ grid.directions)
    sigma = 0.5 * np.sqrt(along @ np.square(grid.spacing))
    fine = resample_labels_nearest(_kept(labels), grid, target)
    return np.asarray(_probit(smoothed(fine, target.spacing, sigma)))


def _kept(labels: Mask) -> npt.NDArray[np.float32]:
    """Return labels, 0 and 1, made stronger where smoothing would turn them around."""
    signs = np.where(labels, 1.0, -1.0)
    strong = labels.astype(np.float64)
    for _ in range(_ROUNDS):
        smooth = strong
        for axis in range(3):
            smooth = convolve1d(smooth, _SPREAD, axis=axis, mode="nearest")
        strong = strong + _RATE * signs * np.maximum(_SURE - 0.5 - signs * (smooth - 0.5), 0)
    return strong.astype(np.float32)


def prior_logit(z: FloatArray) -> FloatArray:
    """Return the prior's logit at signed distances in units of sigma."""
    return _PROBIT_TO_LOGIT / _SCATTER * z


def _left_out_distance(labels: Mask, grid: Geometry) -> FloatArray:
    """Return z at every coarse centre from all labels but its own."""
    one = np.zeros((9, 9, 9), dtype=bool)
    one[4, 4, 4] = True
    own = smoothed(one, grid.spacing, 0.5 * grid.spacing)[4, 4, 4]
    rest = smoothed(labels, grid.spacing, 0.5 * grid.spacing) - own * labels
    return _probit(np.clip(rest / (1 - own), 1e-3, 1 - 1e-3))


def _probit(probability: npt.NDArray[np.floating]) -> FloatArray:
    return np.asarray(ndtri(np.clip(probability, 1e-6, 1 - 1e-6)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class TrustedProbe:
    """A probe and how far it is to be trusted.

    Attributes:
        head: The probe.
        weight: Of its logit beside the prior's.
        offset: Added to it.
    """

    head: AffineHead
    weight: float
    offset: float

    def evidence(self, logits: npt.NDArray[np.floating]) -> FloatArray:
        """Return what the probe's logits add to the prior's."""
        return self.weight * _bounded(logits) + self.offset


def trusted_probe(
    volume: Volume,
    field: FeatureField,
    labels: Mask,
    grid: Geometry,
    generator: np.random.Generator,
) -> TrustedProbe | None:
    """Fit a probe to the coarse labels and measure its worth.

    Args:
        volume: The volume.
        field: Its field.
        labels: (K, J, I) coarse labels.
        grid: Where their centres are.
        generator: Chooses labels, when there are very many, and folds.

    Returns:
        None when the probe is worth nothing, or there are too few labels to tell.
    """
    found = np.argwhere(_near_surface(labels))
    ras = grid.to_ras(found[:, ::-1])
    inside = volume.geometry.contains(ras)
    found, ras = found[inside], ras[inside]
    kept = np.sort(generator.permutation(len(found))[:_MOST_LABELS])
    found, ras = found[kept], ras[kept]
    y = labels[tuple(found.T)]
    if min(y.sum(), (~y).sum()) < _FEWEST_LABELS:
        return None
    x = samples_at(field, volume, ras).astype(np.float64)
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    x = (x - mean) / scale
    left_out = np.zeros(len(y))
    fold = _folds(found, generator)
    for number in range(_FOLDS):
        taught = fold != number
        if min(y[taught].sum(), (~y)[taught].sum()) > 0:
            solution = _logistic(x[taught], y[taught])
            left_out[~taught] = x[~taught] @ solution[:-1] + solution[-1]
    prior = _left_out_distance(labels, grid)[tuple(found.T)]
    weight, offset = _worth(prior, _bounded(left_out), y)
    if weight <= 0:
        return None
    solution = _logistic(x, y)
    coefficients = solution[:-1] / scale
    head = AffineHead(
        torch.as_tensor(coefficients[:-1], dtype=torch.float32, device=field.device),
        float(coefficients[-1]),
        float(solution[-1] - mean @ coefficients),
    )
    return TrustedProbe(head, weight, offset)


def _near_surface(labels: Mask) -> Mask:
    """Coarse voxels up to two outside and three inside of the border: what the probe must tell."""
    neighbours = np.ones((3, 3, 3), dtype=bool)
    return np.asarray(
        binary_dilation(labels, neighbours, 2) & ~binary_erosion(labels, neighbours, 3)
    )


def _folds(found: npt.NDArray[np.int64], generator: np.random.Generator) -> npt.NDArray[np.int64]:
    blocks, block_of = np.unique(found // _FOLD_BLOCK, axis=0, return_inverse=True)
    return np.asarray(generator.permutation(len(blocks))[block_of.ravel()] % _FOLDS)


def _logistic(x: FloatArray, y: npt.NDArray[np.bool_]) -> FloatArray:
    """Fit [b, t] with both classes of equal weight."""
    weights = np.where(y, 0.5 / y.mean(), 0.5 / (~y).mean())
    return LogisticProblem(x, np.where(y, 1.0, -1.0), weights, _RIDGE).solve()


def _worth(prior: FloatArray, probe: FloatArray, y: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Regress labels that their neighbours leave open on left-out prior and probe."""
    is_open = np.abs(prior) < BAND
    if min(y[is_open].sum(), (~y)[is_open].sum()) < _FEWEST_LABELS:
        return 0.0, 0.0
    both = np.stack([prior, probe], axis=1)[is_open]
    targets = np.where(y[is_open], 1.0, -1.0)
    solution = LogisticProblem(both, targets, np.ones(len(targets)), 1.0).solve()
    # One standard error less: with few labels a probe looks useful by chance.
    probability = expit(both @ solution[:-1] + solution[-1])
    design = np.column_stack([both, np.ones(len(both))])
    information = (design.T * (probability * (1 - probability))) @ design
    information[:2, :2] += np.eye(2)
    error = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    weight = max(float(solution[1]) - error, 0.0)
    return weight, float(np.clip(solution[2], -1.5 * weight, 1.5 * weight))


def _bounded(logits: npt.NDArray[np.floating]) -> FloatArray:
    return np.clip(logits.astype(np.float64), -_LARGEST_LOGIT, _LARGEST_LOGIT)
