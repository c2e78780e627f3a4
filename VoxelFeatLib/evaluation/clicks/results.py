"""What is kept of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.clicks.runs import ClickRun
from VoxelFeatLib.evaluation.running import Target


@dataclass(frozen=True)
class ClickResult:
    """What one method got on one target.

    Attributes:
        case, label, method: Names.
        dice: After each click.
        hd95_mm: Likewise; the volume's diagonal where nothing was segmented.
        seconds: Likewise.
        start_seconds: Before the first click.
        clicks: R, A, S in mm, and whether positive; strokes are many clicks.
    """

    case: str
    label: str
    method: str
    dice: tuple[float, ...]
    hd95_mm: tuple[float, ...]
    seconds: tuple[float, ...]
    start_seconds: float
    clicks: tuple[tuple[float, float, float, bool], ...]

    def __post_init__(self) -> None:
        curves = (self.dice, self.hd95_mm, self.seconds)
        numbers = [*self.dice, *self.hd95_mm, *self.seconds, self.start_seconds]
        sound = len({len(curve) for curve in curves}) == 1 and len(self.dice) > 0
        sound = sound and all(math.isfinite(number) and number >= 0 for number in numbers)
        if not sound or max(self.dice) > 1:
            raise InputError(f"The result of {self.method} on {self.label} has no sound numbers.")

    @classmethod
    def of(cls, run: ClickRun, target: Target, method: str) -> ClickResult:
        """Take the numbers of a run."""
        geometry = target.volume.geometry
        diagonal = math.hypot(*(np.array(geometry.shape_kji[::-1]) * geometry.spacing))
        return cls(
            target.case,
            target.label,
            method,
            tuple(run.dice),
            tuple(min(value, diagonal) for value in run.hd95_mm),
            tuple(run.seconds),
            run.start_seconds,
            tuple((*click.ras, click.positive) for click in run.clicks),
        )


def padded(values: Sequence[float], count: int) -> list[float]:
    """Return a curve of `count` clicks; where the user was content earlier, nothing changes."""
    return [*values, *[values[-1]] * (count - len(values))][:count]
