"""How long an evaluation will still take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_LITTLE = 1e-6


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
        self._fit_seen = False  # since anything was measured

    def measured(self, done: float) -> None:
        """Note that the evaluation has got so far, 0 to 1."""
        self._pass()
        self._done, self._fit_left, self._fit_seen = done, 0.0, False

    def fitting(self, left: float) -> None:
        """Note that a case's field is being fitted, which takes so many seconds more."""
        self._pass()
        self._fit_left, self._fit_seen = left, True

    @property
    def seconds(self) -> float | None:
        """Seconds left; None before anything was measured."""
        if self._done <= 0:
            return None
        cases = self._done * self._cases
        # How many have had their fit: that of a case of which nothing is measured may be to come.
        # Of whole numbers of cases there may be a little more or less.
        fits = math.floor(cases + _LITTLE) + 1 if self._fit_seen else math.ceil(cases - _LITTLE)
        fits = min(max(fits, 1), self._cases)
        fit = (self._fitted + self._fit_left) / fits
        measuring = self._measured * (1 - self._done) / self._done
        return measuring + self._fit_left + fit * (self._cases - fits)

    def _pass(self) -> None:
        now = self._clock()
        if self._fit_left > 0:
            self._fitted += now - self._last
        else:
            self._measured += now - self._last
        self._last = now
