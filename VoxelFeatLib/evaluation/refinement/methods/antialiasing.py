"""The baseline: the mask smoothed with a Gaussian."""

from __future__ import annotations

from collections.abc import Generator

from VoxelFeatLib.evaluation.refinement.noise import NoisyMask
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.coarse import anti_alias

_SIGMA_MM = 3.0


class AntiAliasing:
    """The noisy mask smoothed with a Gaussian of 3 mm, cut at one half."""

    name = "anti-aliasing"

    def __init__(self) -> None:
        self.settings: dict[str, object] = {"sigma_mm": _SIGMA_MM}
        self._volume: Volume | None = None

    def start(self, volume: Volume) -> None:
        """Begin a new target."""
        self._volume = volume

    def refine(self, noisy: NoisyMask) -> Generator[float, None, Mask]:
        """Return the smoothed mask."""
        assert self._volume is not None  # noqa: S101 - start comes first
        yield 0.0
        return anti_alias(noisy.mask, self._volume.geometry, _SIGMA_MM)
