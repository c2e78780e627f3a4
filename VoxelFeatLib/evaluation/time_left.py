"""How long an evaluation will still take."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeLeft:
    """Estimates the time left, fits of fields apart from measuring.

    A case has one fit, however many its targets: what it took says how long those of later cases
    take, and nothing of how long measuring does.

    Args:
        cases: How many there are.
        clock: Seconds since whenever.
    """

    def __init__(self, cases: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._cases = cases
        self._clock = clock
        self._last = clock()
        self._done = 0.0
        self._measured = self._fitted = 0.0
        self._fit_left = 0.0

    def measured(self, done: float) -> None:
        """Note that the evaluation has got so far, 0 to 1."""
        self._pass()
        self._done, self._fit_left = done, 0.0

    def fitting(self, left: float) -> None:
        """Note that a case's field is being fitted, which takes so many seconds more."""
        self._pass()
        self._fit_left = left

    @property
    def seconds(self) -> float | None:
        """Seconds left; None before anything was measured."""
        if self._done <= 0:
            return None
        # A whole number of cases, despite rounding.
        begun = min(self._cases, int(self._done * self._cases + 1e-6) + 1)
        fit = (self._fitted + self._fit_left) / begun
        measuring = self._measured * (1 - self._done) / self._done
        return measuring + self._fit_left + fit * (self._cases - begun)

    def _pass(self) -> None:
        now = self._clock()
        if self._fit_left > 0:
            self._fitted += now - self._last
        else:
            self._measured += now - self._last
        self._last = now
