"""Refinement of coarse masks on all targets of a data set."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from VoxelFeatLib.evaluation.datasets import Case
from VoxelFeatLib.evaluation.refinement.noise import Noise, NoisyMask
from VoxelFeatLib.evaluation.refinement.results import RefinementResult
from VoxelFeatLib.evaluation.results import ResultFiles
from VoxelFeatLib.evaluation.running import Evaluation, Method, Target
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.volume import Volume


class RefinementMethod(Method, Protocol):
    """Something that makes a coarse mask finer."""

    def start(self, volume: Volume) -> None:
        """Begin a new target; what belongs to the volume may be kept from the target before."""
        ...

    def refine(self, noisy: NoisyMask) -> Generator[float, None, Mask]:
        """Return the (K, J, I) mask of the started volume; yields the part that is done."""
        ...


class RefinementEvaluation(Evaluation[RefinementMethod, RefinementResult]):
    """Every method gets the same noisy masks, and never the references.

    Args:
        cases: The data set.
        wanted: Numbers or names of labels; all when empty.
        methods: To compare.
        noise: How references are made coarse.
        folder: Of the result files.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        wanted: Sequence[str],
        methods: Sequence[RefinementMethod],
        noise: Noise,
        folder: Path,
    ) -> None:
        super().__init__(cases, wanted, methods, ResultFiles(folder, RefinementResult))
        self.noise = noise

    def protocol(self) -> dict[str, Any]:
        """Return how references are made coarse."""
        return {"noise": asdict(self.noise)}

    def _why_not(self, target: Target) -> str:
        if self.noise.of(target.mask, target.volume.geometry).coarse.any():
            return ""
        return f"{target.case}, {target.label}: nothing of it is left in {self.noise}."

    def _measured(
        self, target: Target, method: RefinementMethod
    ) -> Generator[float, None, RefinementResult]:
        noisy = self.noise.of(target.mask, target.volume.geometry)
        method.start(target.volume)
        began = time.perf_counter()
        mask = yield from method.refine(noisy)
        return RefinementResult.of(mask, target, method.name, time.perf_counter() - began)
