"""What a fit reports, and how long it will still take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from VoxelFeatLib.fitting.presets import Preset

# Weight of the newest piece of a kind in the mean of its times, at least.
_LATEST = 0.01

Agreement = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class FitProgress:
    """The state of a fit after a piece of work.

    Attributes:
        stage: What is being done, for people.
        step, steps: Optimiser steps taken and to take.
        fraction: Of the whole work, 0 to 1, by expected time; never less than before.
        seconds_left: Expected.
        losses: Terms of the objective at this step; empty outside training.
        heldout: Cosine and explained variance of the field by level name; empty before the first
            field.
        upsampling: The same for trilinear upsampling of the first slicing axis' features.
        usable: Whether the field can be queried.
    """

    stage: str
    step: int
    steps: int
    fraction: float
    seconds_left: float
    losses: Mapping[str, float] = field(default_factory=dict)
    heldout: Agreement = field(default_factory=dict)
    upsampling: Agreement = field(default_factory=dict)
    usable: bool = False


class Pace:
    """Measures how long each kind of work takes and foretells the rest.

    Args:
        preset: Decides how many optimiser steps and views there are.
        units: Number of pieces of every other kind of work.

    Attributes:
        elapsed: Seconds of work so far.
        fraction: Share of the whole time that has passed, 0 to 1. It never falls: when the estimate
            of the rest grows, what is left of the bar is only filled more slowly.
    """

    def __init__(self, preset: Preset, units: Mapping[str, int]) -> None:
        self._preset = preset
        # Expected costs, in encoded views, until a kind was measured.
        self._costs = {
            "planes": 1.0,
            "slices": 1.2,
            "views": 1.0,
            "steps": 1.0,
        }
        self._left = dict(units)
        self._left["views"] = preset.views + preset.heldout_views
        self._left["steps"] = preset.steps
        self._seconds: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._last = time.perf_counter()
        self.elapsed = 0.0
        self.fraction = 0.0

    def start(self) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def resume(self, elapsed: float, step: int) -> None:
        """Go on after work that an earlier process did."""
        self.elapsed = elapsed
        preset = self._preset
        self.fraction = step / preset.steps
        # The pool and the held-out views are encoded again.
        self._left = {
            "views": preset.views - preset.views_gone(step) + preset.heldout_views,
            "steps": preset.steps - step,
        }

    def done(self, kind: str, count: int = 1) -> None:
        """Pieces of a kind are done; whatever time passed since the last ones was theirs."""
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        self.elapsed += spent
        self._left[kind] = max(0, self._left.get(kind, 0) - count)
        self._counts[kind] += 1
        # The first of a kind pays for what is set up once, so the second one replaces it. Then the
        # mean of all, so that one slow piece among many changes little, and of the latest hundred
        # or so, since machines change their pace.
        share = max(1 / max(self._counts[kind] - 1, 1), _LATEST)
        self._seconds[kind] = (1 - share) * self._seconds.get(kind, 0.0) + share * spent / count
        left = self.seconds_left
        if left <= 0:
            self.fraction = 1.0
        else:
            self.fraction += (1 - self.fraction) * spent / (spent + left)

    @property
    def seconds_left(self) -> float:
        """Expected seconds until the end."""
        # A kind's first piece says little; it counts as expected until the second, if another kind
        # has been measured.
        known = {kind: s for kind, s in self._seconds.items() if self._counts[kind] > 1}
        known = known or self._seconds
        unit = min((s / self._costs[kind] for kind, s in known.items()), default=0.1)
        return sum(
            count * known.get(kind, self._costs[kind] * unit) for kind, count in self._left.items()
        )
