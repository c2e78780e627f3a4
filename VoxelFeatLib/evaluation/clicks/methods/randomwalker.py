"""The random walker of scikit-image (Grady 2006), on the whole volume."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
from skimage.segmentation import random_walker

from VoxelFeatLib.evaluation.clicks.methods.seeds import INSIDE, seed_labels
from VoxelFeatLib.imaging.aliases import FloatArray, Mask
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import default_windows
from VoxelFeatLib.segmenting.clicks import Click


class RandomWalker:
    """Every voxel belongs to the seed that a random walk from it most probably reaches first.

    Grey levels are those of the volume's display window. Solved with multigrid where pyamg is
    installed, which is faster, else with conjugate gradients.

    Args:
        beta: How much a walk avoids steps in grey level.
        seed_mm: Radius of the brush that paints the seeds; 0 for single voxels.
    """

    name = "randomwalker"

    def __init__(self, beta: float = 1000.0, seed_mm: float = 3.0) -> None:
        self._beta, self._seed_mm = beta, seed_mm
        self._mode = "cg_mg" if importlib.util.find_spec("pyamg") else "cg_j"
        self.settings: dict[str, object] = {
            "beta": beta,
            "seed_mm": seed_mm,
            "solver": self._mode,
        }
        self._volume: Volume | None = None
        self._grey: FloatArray | None = None

    def start(self, volume: Volume) -> None:
        """Begin a new target."""
        if volume is not self._volume:
            self._volume = volume
            self._grey = default_windows(volume)[0](volume.voxels).astype(np.float64)

    def segment(self, clicks: tuple[Click, ...]) -> Mask:
        """Return the (K, J, I) part whose walks reach positive clicks."""
        assert self._volume is not None  # noqa: S101 - start comes first
        geometry = self._volume.geometry
        signs = {click.positive for click in clicks}
        if len(signs) == 1:  # nowhere else to walk to
            return np.full(geometry.shape_kji, signs.pop())
        spacing = geometry.spacing[::-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a solver it would rather use
            labels = random_walker(
                self._grey,
                seed_labels(clicks, geometry, self._seed_mm),
                beta=self._beta,
                mode=self._mode,
                # Relative: absolute ones would change what beta means with the unit of length.
                spacing=tuple(spacing / spacing.min()),
            )
        mask: Mask = labels == INSIDE
        return mask
