"""Runs of a simulated user, and results of one, made up."""

from __future__ import annotations

from collections import deque

from VoxelFeatLib.evaluation.clicks.results import ClickResult
from VoxelFeatLib.evaluation.clicks.runs import ClickRun, clicking


def whole_run(*arguments) -> ClickRun:
    """The run after its last click; arguments as `clicking`."""
    return deque(clicking(*arguments), maxlen=1).pop()


def result(method="a", label="liver", dice=(0.5, 0.9), **other) -> ClickResult:
    values = {
        "case": "case",
        "hd95_mm": tuple(10.0 * (1 - d) for d in dice),
        "seconds": (0.25,) * len(dice),
        "start_seconds": 1.0,
        "clicks": ((1.0, 2.0, 3.0, True),) * len(dice),
    }
    return ClickResult(label=label, method=method, dice=tuple(dice), **{**values, **other})
