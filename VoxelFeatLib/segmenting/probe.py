"""Probes: linear heads on x = [features, intensity] that give a logit for every position.

Two fits, two heads. ``fit_whitened`` answers clicks: a logistic regression in the volume's
whitened feature space, solved to its optimum by Newton's method in milliseconds, with random
samples of the volume as weak negatives. ``fit_layernorm`` is the paper's probe (LayerNorm, linear
map, sigmoid), trained on many labelled voxels; refinement uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit
from threadpoolctl import ThreadpoolController

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.segmenting.spatial import SpatialTerm

if TYPE_CHECKING:
    from VoxelFeatLib.segmenting.statistics import FeatureStatistics


# The ridge of a fit in whitened space: a Gaussian prior of variance 1/3.
_RIDGE = 3.0
# The background samples together weigh as much as the negative samples and so many more, or as the
# positive ones where these are fewer. Who clicks inside again and again has a large segment, of
# which many of the background samples are part.
_BACKGROUND_WEIGHT = 1.0
# Prior deviation of the spatial term, of that of the part that the features decide.
_PLACE = 0.6
# A click that comes out wrong counts this many times more, at most so often.
_INSISTENCE, _MOST_ROUNDS = 4.0, 6
# The paper's settings; an epoch is one pass over the samples.
_LEARNING_RATE, _EPOCHS, _BATCH = 0.01, 200, 8192
_LAYER_NORM_EPS = 1e-5


class FeatureHead(Protocol):
    """What turns features and intensities into logits, whatever the position."""

    def logits(self, features: torch.Tensor, intensity: torch.Tensor) -> torch.Tensor:
        """Map (N, C) features and (N,) intensities in [0, 1] to (N,) logits."""


@dataclass(frozen=True, eq=False)
class AffineHead:
    """logit = features . weight + intensity * intensity_weight + bias + spatial(position).

    Attributes:
        weight: (C,) float32.
        intensity_weight: Weight of the intensity in [0, 1].
        bias: Added at the end.
        spatial: A smooth function of position, where the probe learnt one.
    """

    weight: torch.Tensor
    intensity_weight: float
    bias: float
    spatial: SpatialTerm | None = None


# Positive logits mean: in the segment. Of an affine head the field folds all but the spatial term
# into its last layer; any other one needs the features themselves.
Head = AffineHead | FeatureHead


@dataclass(frozen=True, eq=False)
class LayerNormHead:
    """The paper's head: LayerNorm over x = [features, intensity], then a linear map.

    Attributes:
        scale: (C + 1,) LayerNorm's gain times the linear weight.
        offset: LayerNorm's shift through the linear weight, plus the linear bias.
        eps: Added to the variance.
    """

    scale: torch.Tensor
    offset: float
    eps: float

    def logits(self, features: torch.Tensor, intensity: torch.Tensor) -> torch.Tensor:
        """Map (N, C) features and (N,) intensities in [0, 1] to (N,) logits."""
        x = torch.cat([features, intensity[:, None]], dim=1)
        normalised = torch.nn.functional.layer_norm(x, x.shape[1:], eps=self.eps)
        return normalised @ self.scale.to(x) + self.offset


@dataclass(frozen=True, eq=False)
class LogisticProblem:
    """Weighted, L2-regularised logistic regression with a free intercept, as a convex objective.

    J(b, t) = sum_i weights_i log(1 + exp(-targets_i (z_i . b + t))) + ridge / 2 |b|^2

    Attributes:
        z: (n, D) samples.
        targets: (n,) +1 or -1.
        weights: (n,) positive.
        ridge: Positive.
    """

    z: FloatArray
    targets: FloatArray
    weights: FloatArray
    ridge: float

    def value(self, solution: FloatArray) -> float:
        """J at (D + 1,) [b, t]."""
        margins = self.targets * self._logits(solution)
        loss = float(self.weights @ np.logaddexp(0, -margins))
        return loss + self.ridge / 2 * float(solution[:-1] @ solution[:-1])

    def gradient(self, solution: FloatArray) -> FloatArray:
        """The (D + 1,) gradient of J."""
        residual = -self.weights * self.targets * expit(-self.targets * self._logits(solution))
        penalty = np.append(self.ridge * solution[:-1], 0)
        return np.append(residual @ self.z, residual.sum()) + penalty

    def solve(self, start: FloatArray | None = None) -> FloatArray:
        """Return the (D + 1,) minimum [b, t] by damped Newton steps.

        The step is shortened until J falls as its gradient promises (Armijo), so it converges
        from anywhere; J is strictly convex once both signs are present, so the minimum is unique.
        """
        solution = np.zeros(self.z.shape[1] + 1) if start is None else start.copy()
        value = self.value(solution)
        tolerance = 1e-9 * float(self.weights.sum())
        for _ in range(100):
            gradient = self.gradient(solution)
            if np.abs(gradient).max() <= tolerance:
                break
            step = -cho_solve(cho_factor(self._hessian(solution), check_finite=False), gradient)
            slope = float(gradient @ step)
            length = 1.0
            while (trial := self.value(solution + length * step)) > value + 1e-4 * length * slope:
                length /= 2
                if length < 1e-12:  # J cannot fall further in float64
                    return solution
            solution, value = solution + length * step, trial
        return solution

    @cached_property
    def _single(self) -> npt.NDArray[np.float32]:
        return self.z.astype(np.float32)

    def _logits(self, solution: FloatArray) -> FloatArray:
        return np.asarray(self.z @ solution[:-1] + solution[-1])

    def _hessian(self, solution: FloatArray) -> FloatArray:
        probability = expit(self._logits(solution))
        curvature = self.weights * probability * (1 - probability)
        size = self.z.shape[1]
        # Single precision: it only steers the steps, the gradient decides where they end.
        weighted = self._single * np.sqrt(curvature).astype(np.float32)[:, None]
        hessian = np.empty((size + 1, size + 1))
        hessian[:size, :size] = weighted.T @ weighted
        hessian[:size, size] = hessian[size, :size] = curvature @ self.z
        hessian[size, size] = curvature.sum()
        hessian[np.diag_indices(size)] += self.ridge
        # Far from the optimum the intercept's curvature can vanish; a floor keeps its step finite.
        hessian[size, size] = max(hessian[size, size], 1e-4 * self.weights.sum())
        hessian[np.diag_indices(size + 1)] += 1e-7 * np.trace(hessian) / (size + 1)
        return hessian


def fit_whitened(
    positive_x: npt.ArrayLike,
    negative_x: npt.ArrayLike,
    statistics: FeatureStatistics,
    *,
    positive_ras: npt.ArrayLike | None = None,
    negative_ras: npt.ArrayLike | None = None,
    positive_weights: npt.ArrayLike = 1.0,
    negative_weights: npt.ArrayLike = 1.0,
) -> AffineHead:
    """Fit the click probe: regularised logistic regression in whitened space.

    The volume's background samples are negatives that together weigh as much as the positive
    samples, but not much more than the negative ones: one click is balanced against the volume
    itself, and its logit is 0 about halfway between the click and what is usual. The prior of the
    direction is Gaussian with the deviations ``statistics.expectation``. Samples that come out on
    the wrong side count more and more until they do not, or until it is clear that they contradict
    each other.

    With the samples' positions the head gets a spatial term, too (see spatial.py): what lies near a
    click then more likely belongs with it.

    Args:
        positive_x: (P, C + 1) samples [features, intensity] inside the segment.
        negative_x: (N, C + 1) samples outside; may be empty.
        statistics: The volume's.
        positive_ras: (P, 3) where the samples are, mm; both or none of the two.
        negative_ras: (N, 3)
        positive_weights: (P,) how much each counts, or one number for all.
        negative_weights: (N,)

    Raises:
        InputError: There is no positive sample.
    """
    x, signs = _labelled(positive_x, negative_x, statistics.mean.size)
    # A ridge on scaled samples is a Gaussian prior of that deviation.
    size = statistics.expectation.size
    clicks = statistics.whiten(x) * statistics.expectation
    background = statistics.background * statistics.expectation
    spread = _PLACE * np.sqrt(size)
    basis = statistics.basis
    if basis is not None and positive_ras is not None and negative_ras is not None:
        places = np.concatenate([basis.at(positive_ras), basis.at(negative_ras)])
        clicks = np.concatenate([clicks, spread * places], axis=1)
        background = np.concatenate([background, spread * statistics.background_places], axis=1)
    weights = np.concatenate(
        [
            np.broadcast_to(np.asarray(given, dtype=np.float64), (signs == sign).sum())
            for given, sign in ((positive_weights, 1), (negative_weights, -1))
        ]
    )
    # Matrices this small take several times as long when BLAS shares them out to threads.
    with _blas().limit(limits=1, user_api="blas"):
        solution = _satisfying(clicks, signs, weights, background)
    direction = statistics.whitening.T @ (statistics.expectation * solution[:size])
    bias = float(solution[-1] - direction @ statistics.mean)
    weight = torch.from_numpy(direction[:-1].astype(np.float32))
    spatial = None
    if basis is not None and len(solution) > size + 1:
        spatial = SpatialTerm(basis, spread * solution[size:-1])
    return AffineHead(weight, float(direction[-1]), bias, spatial)


@cache
def _blas() -> ThreadpoolController:
    """Return the BLAS libraries that are loaded; finding them takes longer than a fit."""
    return ThreadpoolController()


def _satisfying(
    clicks: FloatArray, signs: FloatArray, weights: FloatArray, background: FloatArray
) -> FloatArray:
    """Solve, and insist on the samples that come out wrong: (D + 1,) direction and intercept."""
    z = np.concatenate([clicks, background])
    targets = np.concatenate([signs, np.full(len(background), -1.0)])
    positive, negative = (float(weights[signs == sign].sum()) for sign in (1, -1))
    share = min(positive, negative + _BACKGROUND_WEIGHT) / len(background)
    weights = np.concatenate([weights, np.full(len(background), share)])
    solution = np.zeros(z.shape[1] + 1)
    for _ in range(_MOST_ROUNDS):
        solution = LogisticProblem(z, targets, weights, _RIDGE).solve(solution)
        wrong = signs * (clicks @ solution[:-1] + solution[-1]) <= 0
        if not wrong.any():
            break
        weights[: len(signs)][wrong] *= _INSISTENCE
    return solution


def fit_layernorm(
    positive_x: npt.ArrayLike,
    negative_x: npt.ArrayLike,
    *,
    seed: int = 0,
    epochs: int = _EPOCHS,
) -> LayerNormHead:
    """Train the paper's probe: LayerNorm, linear map, sigmoid; binary cross-entropy.

    AdamW with learning rate 0.01 and a cosine schedule over all steps; an epoch is one pass over
    the shuffled samples in batches of 8192.

    Args:
        positive_x: (P, C + 1) samples [features, intensity] inside the segment.
        negative_x: (N, C + 1) samples outside.
        seed: Of the initial weights and of the shuffling.
        epochs: Passes over the samples.

    Raises:
        InputError: There is no positive or no negative sample.
    """
    positive, negative = np.asarray(positive_x), np.asarray(negative_x)
    if not (len(positive) and len(negative)):
        raise InputError("The probe needs samples inside and outside of the segment.")
    x = torch.from_numpy(np.concatenate([positive, negative]).astype(np.float32))
    y = torch.zeros(len(x))
    y[: len(positive)] = 1
    generator = torch.Generator().manual_seed(seed)
    size = x.shape[1]
    # The normalisation itself has nothing to learn: do it once.
    normalised = torch.nn.functional.layer_norm(x, (size,), eps=_LAYER_NORM_EPS)
    gain, shift = torch.ones(size, requires_grad=True), torch.zeros(size, requires_grad=True)
    linear = (2 * torch.rand(size, generator=generator) - 1) / size**0.5  # torch.nn.Linear's
    linear.requires_grad_(True)
    bias = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.AdamW([gain, shift, linear, bias], lr=_LEARNING_RATE)
    steps = epochs * -(-len(x) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(_BATCH):
            logits = (normalised[batch] * gain + shift) @ linear + bias
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return LayerNormHead(gain * linear, float(shift @ linear + bias), _LAYER_NORM_EPS)


def _labelled(
    positive_x: npt.ArrayLike, negative_x: npt.ArrayLike, size: int
) -> tuple[FloatArray, FloatArray]:
    """Stack samples, and +1 or -1 for each."""
    positive = np.asarray(positive_x, dtype=np.float64).reshape(-1, size)
    negative = np.asarray(negative_x, dtype=np.float64).reshape(-1, size)
    if not len(positive):
        raise InputError("A segment needs at least one positive click.")
    signs = np.concatenate([np.ones(len(positive)), -np.ones(len(negative))])
    return np.concatenate([positive, negative]), signs
