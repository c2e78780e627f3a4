"""What is said of the results: curves, clicks needed, seconds, falls; for each method and label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from VoxelFeatLib.evaluation.clicks.results import ClickResult, padded
from VoxelFeatLib.evaluation.grouping import by_label, by_method
from VoxelFeatLib.imaging.aliases import FloatArray


@dataclass(frozen=True)
class Needed:
    """Clicks that a user needs to reach a Dice coefficient.

    Attributes:
        mean: A target that is not reached counts as the most clicks that were given.
        missed: How many targets were not reached.
    """

    mean: float
    missed: int


@dataclass(frozen=True)
class Line:
    """One method on one label, or on all.

    Attributes:
        method: Its name.
        label: The label's name, or "all".
        targets: How many; means are over them.
        dice: Mean after each click.
        hd95_mm: Likewise.
        noc85, noc90: Clicks needed for a Dice of 0.85 and 0.90.
        seconds: Median over all clicks.
        start_seconds: Largest before a first click; of ours with the fit.
        largest_fall: Of the mean Dice from one click to the next; 0 when it never falls.
    """

    method: str
    label: str
    targets: int
    dice: tuple[float, ...]
    hd95_mm: tuple[float, ...]
    noc85: Needed
    noc90: Needed
    seconds: float
    start_seconds: float
    largest_fall: float

    def as_json(self) -> dict[str, object]:
        """Return rounded numbers."""
        digits = {"dice": 4, "hd95_mm": 2}
        values = asdict(self)
        for key, count in digits.items():
            values[key] = [round(value, count) for value in values[key]]
        for key in ("seconds", "start_seconds", "largest_fall"):
            values[key] = round(values[key], 4)
        return values


def lines(results: Sequence[ClickResult], clicks: int) -> list[Line]:
    """Return a line for each method on all labels, then for each label and method.

    Args:
        results: In the order of methods and labels that is wanted.
        clicks: Most that a user gave.
    """
    groups = by_method(results) + by_label(results)
    return [_line(method, label, part, clicks) for method, label, part in groups]


def needed(curves: FloatArray, goal: float) -> Needed:
    """Count the clicks until (targets, clicks) Dice curves first reach a goal."""
    reached = curves >= goal
    counts = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, curves.shape[1])
    return Needed(round(float(counts.mean()), 2), int((~reached.any(axis=1)).sum()))


def largest_fall(curve: Sequence[float]) -> float:
    """Return by how much a curve falls from one click to the next, at most; 0 if never."""
    steps = np.diff(np.asarray(curve, dtype=np.float64))
    return float(max(0.0, -steps.min())) if len(steps) else 0.0


def _line(method: str, label: str, results: Sequence[ClickResult], clicks: int) -> Line:
    curves = np.array([padded(result.dice, clicks) for result in results])
    distances = np.array([padded(result.hd95_mm, clicks) for result in results])
    mean = tuple(curves.mean(axis=0).tolist())
    return Line(
        method,
        label,
        len(results),
        mean,
        tuple(distances.mean(axis=0).tolist()),
        needed(curves, 0.85),
        needed(curves, 0.90),
        float(np.median(np.concatenate([result.seconds for result in results]))),
        max(result.start_seconds for result in results),
        largest_fall(mean),
    )
