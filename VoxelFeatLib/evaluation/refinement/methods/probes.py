"""Probes on features: of the field, as VoxelFeat has them, or of slices, upsampled linearly."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping

from VoxelFeatLib.evaluation.refinement.noise import NoisyMask
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.refinement import Mode, refine_steps


class Probe:
    """`voxelfeat refine` in one of its modes.

    Args:
        name: For the tables.
        mode: "paper" for the published probe, "prior" for ours.
        field_of: Gives the features of a volume as a field; asked once for each volume.
        settings: What decided the features.
        seed: Of the refinement.
    """

    def __init__(
        self,
        name: str,
        mode: Mode,
        field_of: Callable[[Volume], FeatureField],
        settings: Mapping[str, object],
        seed: int = 0,
    ) -> None:
        self.name = name
        self.settings: dict[str, object] = {**settings, "mode": mode, "seed": seed}
        self._mode: Mode = mode
        self._field_of = field_of
        self._seed = seed
        self._volume: Volume | None = None
        self._field: FeatureField | None = None

    def start(self, volume: Volume) -> None:
        """Begin a new target; a field is got for a new volume only."""
        if self._volume is not volume:
            self._field = None  # of the volume before; two need not fit into memory
            self._volume, self._field = volume, self._field_of(volume)

    def refine(self, noisy: NoisyMask) -> Generator[float, None, Mask]:
        """Return the refined mask."""
        assert self._volume is not None and self._field is not None  # noqa: S101, PT018 - started
        mask = None
        for step in refine_steps(
            self._volume, self._field, noisy.coarse, noisy.grid, mode=self._mode, seed=self._seed
        ):
            mask = step.mask
            yield step.fraction
        assert mask is not None  # noqa: S101 - the last step carries it
        return mask
