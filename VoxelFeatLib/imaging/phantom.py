"""A procedural abdomen CT: known labels for tests, the demo and benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom_abdomen import Abdomen
from VoxelFeatLib.imaging.phantom_body import (
    Warp,
    lung_vessels,
    paint_chest,
    paint_ribs,
    paint_table,
    paint_wall,
    start_slab,
)
from VoxelFeatLib.imaging.phantom_labels import Label
from VoxelFeatLib.imaging.phantom_shapes import Array
from VoxelFeatLib.imaging.phantom_spine import paint_spine
from VoxelFeatLib.imaging.volume import Volume

# Voxels painted at a time: keeps the temporaries at some tens of megabytes and in the cache.
_SLAB_VOXELS = 600_000

# Standard deviation of the noise in HU at 3 mm slices; thinner slices are noisier.
_NOISE = 11.0

# Frequency at which the reconstruction kernel's noise spectrum falls, cycles per mm.
_NOISE_CUTOFF = 0.32


@dataclass(frozen=True, eq=False)
class Phantom:
    """A CT and its truth.

    Attributes:
        volume: int16, HU.
        labels: (K, J, I) uint8, 0 where nothing is labelled.
        names: Label value to name, such as "liver".
        colors: Label value to red, green, blue (0 to 255).
    """

    volume: Volume
    labels: npt.NDArray[np.uint8]
    names: dict[int, str]
    colors: dict[int, tuple[int, int, int]]

    def mask(self, name: str) -> Mask:
        """Return the (K, J, I) mask of one structure.

        Raises:
            KeyError: No structure has this name.
        """
        values = {title: value for value, title in self.names.items()}
        mask: Mask = self.labels == values[name]
        return mask


def make_phantom(
    shape_kji: tuple[int, int, int] = (100, 512, 512),
    spacing_ijk: tuple[float, float, float] = (0.75, 0.75, 3.0),
    seed: int = 0,
) -> Phantom:
    """Make an abdomen CT in portal-venous phase, lying on a table, with partial volume and noise.

    The anatomy is defined in millimetres around the centre of the field of view (about the first
    lumbar vertebra), so another shape or spacing shows the same body; the body is about 330 mm
    wide. Index i runs to the patient's left, j to the back, k to the head.

    Args:
        shape_kji: Number of voxels along k, j, i.
        spacing_ijk: Voxel size along i, j, k in mm.
        seed: Body and noise follow from it.

    Raises:
        GeometryError: The shape or spacing is not positive.
    """
    origin = [-(n - 1) / 2 * s for n, s in zip(shape_kji[::-1], spacing_ijk, strict=True)]
    geometry = Geometry.from_lps(shape_kji, spacing_ijk, origin, np.eye(3).ravel().tolist())
    x, y, z = (
        (start + step * np.arange(n)).astype(np.float32)
        for start, step, n in zip(origin, spacing_ijk, shape_kji[::-1], strict=True)
    )
    body, noise = _Body(seed), _noise(shape_kji, spacing_ijk, seed)
    voxels = np.empty(shape_kji, dtype=np.int16)
    labels = np.empty(shape_kji, dtype=np.uint8)
    thickness = max(1, _SLAB_VOXELS // (shape_kji[1] * shape_kji[2]))
    for first in range(0, shape_kji[0], thickness):
        k = slice(first, first + thickness)
        hu, labels[k] = body.slab(x[None, None], y[None, :, None], z[k, None, None], spacing_ijk)
        hu += np.stack([next(noise) for _ in hu])
        voxels[k] = np.clip(np.rint(hu), -1024, 3071)
    return Phantom(
        Volume(voxels, geometry, "CT", "phantom"),
        labels,
        {int(label): label.title for label in Label},
        {int(label): label.color for label in Label},
    )


class _Body:
    """One random anatomy, painted slab by slab."""

    def __init__(self, seed: int) -> None:
        self._warp = Warp.drawn(np.random.default_rng((seed, 0)))
        self._abdomen = Abdomen(np.random.default_rng((seed, 1)))
        rng = np.random.default_rng((seed, 2))
        self._lung_vessels = [*lung_vessels(rng, -1), *lung_vessels(rng, 1)]

    def slab(
        self, x: Array, y: Array, z: Array, spacing: tuple[float, float, float]
    ) -> tuple[Array, npt.NDArray[np.uint8]]:
        """Return HU without noise, and labels."""
        region, wall = start_slab(x, y, z, self._warp, spacing)
        paint_table(region)
        paint_wall(region, wall)
        paint_chest(region, self._lung_vessels)
        self._abdomen.paint(region)
        paint_spine(region)
        paint_ribs(region, wall)
        return region.hu, region.labels


def _noise(
    shape_kji: tuple[int, int, int], spacing_ijk: tuple[float, float, float], seed: int
) -> Iterator[Array]:
    """Yield each slice's noise, with the ramp-and-rolloff spectrum of filtered back-projection."""
    shape = shape_kji[1:]
    across = fft.rfftfreq(shape[1], spacing_ijk[0])
    down = fft.fftfreq(shape[0], spacing_ijk[1])[:, None]
    frequency = np.hypot(across, down)
    spectrum = np.sqrt(frequency + 0.01) * np.exp(-((frequency / _NOISE_CUTOFF) ** 2))
    # Every frequency but the redundant half counts once in the white noise that is filtered.
    power = np.mean(np.concatenate([spectrum, spectrum[:, 1:-1]], axis=1) ** 2)
    scale = _NOISE * np.clip(np.sqrt(3 / spacing_ijk[2]), 0.7, 1.6) / np.sqrt(power)
    gain = (spectrum * scale).astype(np.float32)
    rng = np.random.default_rng((seed, 3))
    previous = rng.standard_normal(shape, dtype=np.float32)
    for _ in range(shape_kji[0]):
        current = rng.standard_normal(shape, dtype=np.float32)
        white = 0.95 * current + 0.31 * previous  # neighbouring slices share some rays
        yield fft.irfft2(fft.rfft2(white) * gain, shape)
        previous = current
