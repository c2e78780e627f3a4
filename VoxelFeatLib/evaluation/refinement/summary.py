"""Mean and standard deviation of the metrics, for each method and label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from VoxelFeatLib.evaluation.grouping import by_label, by_method
from VoxelFeatLib.evaluation.metrics import Scores
from VoxelFeatLib.evaluation.refinement.results import RefinementResult


@dataclass(frozen=True)
class Line:
    """One method on one label, or on all.

    Attributes:
        method: Its name.
        label: The label's name, or "all".
        targets: How many.
        mean: Over the targets.
        deviation: Sample standard deviation over the targets; 0 for a single one.
        seconds: Median over the targets.
    """

    method: str
    label: str
    targets: int
    mean: Scores
    deviation: Scores
    seconds: float

    def as_json(self) -> dict[str, object]:
        """Return rounded numbers."""
        values = asdict(self)
        for part in ("mean", "deviation"):
            values[part] = {name: round(value, 4) for name, value in values[part].items()}
        return {**values, "seconds": round(self.seconds, 3)}


def lines(results: Sequence[RefinementResult]) -> list[Line]:
    """Return a line for each label and method, then for each method on all labels.

    Args:
        results: In the order of methods and labels that is wanted.
    """
    return [_line(*group) for group in by_label(results) + by_method(results)]


def _line(method: str, label: str, results: Sequence[RefinementResult]) -> Line:
    values = np.array([list(asdict(result.scores).values()) for result in results])
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    return Line(
        method,
        label,
        len(results),
        Scores(*values.mean(axis=0).tolist()),
        Scores(*spread.tolist()),
        float(np.median([result.seconds for result in results])),
    )
