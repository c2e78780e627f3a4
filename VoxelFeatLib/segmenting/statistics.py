"""What is normal in a volume: statistics of its features, and samples that stand for the rest.

A click says what the user wants; it says nothing about what else there is. The volume does: a
few thousand random voxels give the mean and covariance of [features, intensity], a basis in which
every direction counts by how unusual it is, and samples that serve as weak negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu

from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.spatial import CosineBasis

if TYPE_CHECKING:
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.volume import Volume


# More samples make the covariance no better than the shrinkage already does.
_SAMPLES = 20_000
# The weak negatives of every fit. Their number sets the time of a Newton step.
_BACKGROUND = 1024
# Of an axis of the correlations, to be kept; the axes' mean variance is 1.
_SMALLEST_VARIANCE = 1e-2
# Of the largest number: smaller deviations are single precision's rounding.
_ROUNDING = 16 * float(np.finfo(np.float32).eps)
# Candidates drawn for each in-body sample wanted: enough when the body fills 1/8 of the volume.
_CANDIDATES = 8


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Mean, covariance and random samples of x = [features, intensity] in one volume.

    Attributes:
        mean: (D,) with D = C + 1, the intensity last.
        covariance: (D, D), shrunk, positive definite.
        background_x: (n, D) samples of x, kept as weak negatives.
        background_ras: (n, 3) their positions, mm.
        basis: Of the functions of position that a probe may use beside x; None: only x counts.
    """

    mean: FloatArray
    covariance: FloatArray
    background_x: FloatArray
    background_ras: FloatArray
    basis: CosineBasis | None = None

    @classmethod
    def of(
        cls, field: FeatureField, volume: Volume, count: int = _SAMPLES, seed: int = 0
    ) -> FeatureStatistics:
        """Sample ``count`` voxels: half anywhere, half brighter than Otsu's threshold.

        Air outside the body can fill most of a volume; the second half makes sure that what the
        body is made of is described well, whatever the field of view.
        """
        generator = np.random.default_rng(seed)
        ras = _random_positions(volume, count, generator)
        x = samples_at(field, volume, ras).astype(np.float64)
        kept = generator.permutation(len(x))[:_BACKGROUND]
        basis = CosineBasis(volume.geometry)
        return cls(x.mean(axis=0), shrunk_covariance(x), x[kept], ras[kept], basis)

    @cached_property
    def whitening(self) -> FloatArray:
        """(R, D) matrix W with W @ covariance @ W.T = identity: z = W (x - mean).

        Its rows are the principal axes of the correlations, so it does not depend on units. Axes
        along which next to nothing varies are left out: a field holds fewer dimensions than it has
        channels, and every one costs time at each click.
        """
        variances, axes, scale = self._axes
        return np.asarray(axes.T / np.sqrt(variances)[:, None] / scale)

    @cached_property
    def expectation(self) -> FloatArray:
        """(R,) how much of a direction in z one expects a segment to use, on average (RMS) 1.

        The fourth root of each axis' variance: axes along which the volume hardly varies are mostly
        noise that whitening has blown up. Measured on organs of a CT, this lies between plain
        correlation (exponent 1/2: too blunt after some clicks) and Mahalanobis (0: too narrow
        after one).
        """
        expected = self._axes[0] ** 0.25
        return np.asarray(expected / np.sqrt(np.mean(expected**2)))

    @cached_property
    def _axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Variances and axes (columns) kept of the correlation matrix, and the deviations of x."""
        scale = np.sqrt(np.diag(self.covariance))
        variances, axes = np.linalg.eigh(self.covariance / scale / scale[:, None])
        kept = variances > min(_SMALLEST_VARIANCE, variances[-1] / 2)
        return variances[kept], axes[:, kept], scale

    @cached_property
    def background(self) -> FloatArray:
        """(n, R) the background samples, whitened."""
        return self.whiten(self.background_x)

    @cached_property
    def background_places(self) -> FloatArray:
        """(n, B) the basis functions at the background samples' positions."""
        if self.basis is None:
            return np.empty((len(self.background_ras), 0))
        return self.basis.at(self.background_ras)

    def whiten(self, x: npt.ArrayLike) -> FloatArray:
        """Map (n, D) samples of x to z, uncorrelated and of unit variance over the volume."""
        return (np.asarray(x, dtype=np.float64) - self.mean) @ self.whitening.T


def shrunk_covariance(x: FloatArray) -> FloatArray:
    """Estimate the (D, D) covariance of (n, D) samples by Ledoit and Wolf's shrinkage.

    The channels are brought to unit variance first, so that the target (a multiple of the
    identity) treats features and intensity alike, and back afterwards; constant channels get a
    deviation of one ten-thousandth of the mean one, but no less than single precision's rounding:
    of a volume of one value nothing else is left.

    Source: Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance
    matrices, Journal of Multivariate Analysis 88, 2004, section 3.2.
    """
    count, size = x.shape
    scale = x.std(axis=0)
    least = max(1e-4 * float(np.sqrt(np.mean(scale**2))), _ROUNDING * float(np.abs(x).max()))
    scale = np.maximum(scale, max(least, 1e-12))
    standardised = (x - x.mean(axis=0)) / scale
    sample = standardised.T @ standardised / count
    level = np.trace(sample) / size
    distance = float(np.sum((sample - level * np.eye(size)) ** 2))
    fourth_moment = float(np.mean(np.sum(standardised**2, axis=1) ** 2))
    error = (fourth_moment - float(np.sum(sample**2))) / count
    shrinkage = min(error / distance, 1.0) if distance > 0 else 1.0
    shrunk = (1 - shrinkage) * sample
    # A floor keeps exactly dependent or constant channels invertible with any number of samples.
    shrunk[np.diag_indices(size)] += max(shrinkage * level, 1e-6)
    return np.asarray(shrunk * scale * scale[:, None])


def _random_positions(volume: Volume, count: int, generator: np.random.Generator) -> FloatArray:
    shape = volume.voxels.shape
    candidates = generator.integers(0, shape, size=(count + _CANDIDATES * count // 2, 3))
    values = volume.intensity_window(volume.voxels[tuple(candidates.T)])
    in_body = np.ones(len(values), dtype=bool)
    if values.min() < values.max():
        in_body = values > threshold_otsu(values)
    anywhere, rest = candidates[: count - count // 2], candidates[count - count // 2 :]
    body = rest[in_body[count - count // 2 :]][: count // 2]
    chosen = np.concatenate([anywhere, body, rest])[:count]
    return volume.geometry.to_ras(chosen[:, ::-1])
