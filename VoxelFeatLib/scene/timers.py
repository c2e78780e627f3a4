"""Delays, so that nothing that waits needs Qt to be tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Cancel = Callable[[], None]


class Timers(Protocol):
    """Calls something later, in the same thread."""

    def after(self, seconds: float, call: Callable[[], None]) -> Cancel:
        """Call once after a delay; returns what cancels it, harmless when it has been called."""
        ...


class Latest:
    """Calls a function a moment after the latest of many requests, once for all of them.

    Args:
        timers: Where the delay comes from.
        seconds: How long to wait after the first request.
        call: The function.
    """

    def __init__(self, timers: Timers, seconds: float, call: Callable[[], None]) -> None:
        self._timers = timers
        self._seconds = seconds
        self._call = call
        self._cancel: Cancel | None = None

    def request(self) -> None:
        """Have the function called soon, if that is not already going to happen."""
        if self._cancel is None:
            self._cancel = self._timers.after(self._seconds, self._run)

    def cancel(self) -> None:
        """Do not call it."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def _run(self) -> None:
        self._cancel = None
        self._call()
