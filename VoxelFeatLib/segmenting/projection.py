"""Features as colours: their three principal components as red, green and blue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.aliases import FloatArray

# Percentiles of each component that become 0 and 1, so that outliers do not grey out the rest.
_DARK, _BRIGHT = 1.0, 99.0
# Voxels whose features give the colours of a volume.
_SAMPLES = 20_000
# Voxels whose colours are held as floating-point numbers at once.
_POINTS = 1 << 22


@dataclass(frozen=True, eq=False)
class ColorProjection:
    """An affine map from C features to red, green, blue; clip its result to [0, 1].

    Attributes:
        weight: (3, C), as `FeatureField.project` takes it.
        bias: (3,).
    """

    weight: FloatArray
    bias: FloatArray

    def apply(self, features: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map features (..., C) to colours (..., 3) in [0, 1].

        Raises:
            InputError: The features have another number of channels.
        """
        values = np.asarray(features)
        if values.shape[-1:] != self.weight.shape[1:]:
            raise InputError(
                f"The projection is for {self.weight.shape[1]} channels, not for features of "
                f"shape {values.shape}."
            )
        colors = values @ self.weight.T + self.bias
        return np.clip(colors, 0, 1).astype(np.float32)


def pca_colors(samples: npt.ArrayLike) -> ColorProjection:
    """Fit the projection to samples (n, C): the directions of largest variance, robustly scaled.

    The 1st and 99th percentile of each component become 0 and 1; a component without variance gives
    0.5. The same samples give the same colours, since the axes' signs are fixed.

    Raises:
        InputError: Not two samples of at least three channels, or values that are not finite.
    """
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 3:
        raise InputError(
            f"Colours need at least 2 samples of at least 3 channels, not shape {x.shape}."
        )
    if not np.isfinite(x).all():
        raise InputError("The features to show in colours must be finite.")
    mean = x.mean(axis=0)
    centred = x - mean
    variances, axes = principal_axes(centred, 3)
    low, high = np.percentile(centred @ axes.T, (_DARK, _BRIGHT), axis=0)
    # Below rounding of the largest, a variance is none.
    flat = variances <= 1e-12 * max(variances[0], np.finfo(np.float64).tiny)
    scale = np.where(flat | (high <= low), 0.0, 1.0 / np.where(high > low, high - low, 1.0))
    weight = axes * scale[:, None]
    bias = np.where(scale > 0, -low * scale, 0.5) - weight @ mean
    return ColorProjection(weight, bias)


def projection_of(field: FeatureField, seed: int = 0) -> ColorProjection:
    """Fit the projection to random voxels of a field's volume; the seed chooses them."""
    geometry = field.geometry
    ijk = np.random.default_rng(seed).integers(0, geometry.shape_kji[::-1], size=(_SAMPLES, 3))
    positions = torch.as_tensor(geometry.to_ras(ijk), dtype=torch.float32)
    return pca_colors(field.features(positions).cpu().numpy())


def colors_of(field: FeatureField, seed: int = 0) -> Iterator[tuple[slice, npt.NDArray[np.uint8]]]:
    """Colour every voxel of a field's volume by the principal components of its features.

    Args:
        field: The field.
        seed: Chooses the voxels that the components are computed from.

    Yields:
        A range of k and its (nk, nj, ni, 3) red, green, blue, in order.
    """
    projection = projection_of(field, seed)
    weight = torch.as_tensor(projection.weight, dtype=torch.float32)
    bias = torch.as_tensor(projection.bias, dtype=torch.float32)
    whole = Lattice.of_voxels((0, 0, 0), field.geometry.shape_kji)
    for planes, slab in whole.slabs(_POINTS):
        values = field.project_on(slab, weight, bias).clamp_(0, 1).mul_(255).round_()
        yield planes, values.movedim(0, -1).byte().cpu().numpy()


def principal_axes(centred: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Find the directions of largest variance of (n, C) samples of mean 0.

    An axis' sign is such that its largest loading is positive, so it does not depend on LAPACK.

    Returns:
        (M,) variances, the largest first, and (M, C) unit axes; M is ``count``, or C if smaller.
    """
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))  # smallest first
    axes = vectors[:, ::-1][:, :count].T
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    return variances[::-1][:count], axes * np.sign(largest)[:, None]
