"""Segmentation by clicks of a simulated user, on all targets of a data set."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from VoxelFeatLib.evaluation.clicks.results import ClickResult
from VoxelFeatLib.evaluation.clicks.runs import ClickMethod, ClickRun, clicking
from VoxelFeatLib.evaluation.clicks.user import Habits
from VoxelFeatLib.evaluation.datasets import Case
from VoxelFeatLib.evaluation.results import ResultFiles
from VoxelFeatLib.evaluation.running import Evaluation, Target


class ClickEvaluation(Evaluation[ClickMethod, ClickResult]):
    """Every method gets clicks at its own mistakes.

    Args:
        cases: The data set.
        wanted: Numbers or names of labels; all when empty.
        methods: To compare.
        habits: How the simulated user clicks.
        folder: Of the result files.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        wanted: Sequence[str],
        methods: Sequence[ClickMethod],
        habits: Habits,
        folder: Path,
    ) -> None:
        super().__init__(cases, wanted, methods, ResultFiles(folder, ClickResult))
        self.habits = habits

    def protocol(self) -> dict[str, Any]:
        """Return how the user clicks."""
        return {"user": asdict(self.habits)}

    def _measured(self, target: Target, method: ClickMethod) -> Generator[float, None, ClickResult]:
        run = ClickRun()
        for run in clicking(target.volume, target.mask, method, self.habits):
            yield len(run.dice) / self.habits.clicks
        return ClickResult.of(run, target, method.name)
