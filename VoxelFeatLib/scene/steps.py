"""Work on the main thread in pieces short enough that nobody feels them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.timers import Cancel, Timers

# Seconds of work between two looks at the mouse; one piece may be longer.
_AT_ONCE = 0.02


class StepQueue:
    """Runs generators one after the other, a few steps at a time.

    Args:
        timers: Give the main thread back between two turns.

    Attributes:
        emptied: Emitted when no work is left.
    """

    def __init__(self, timers: Timers) -> None:
        self.emptied = Signal()
        self._timers = timers
        self._waiting: deque[Iterator[object]] = deque()
        self._cancel: Cancel | None = None

    @property
    def busy(self) -> bool:
        """Whether there is work left."""
        return bool(self._waiting)

    def add(self, work: Iterator[object]) -> None:
        """Have a generator run to its end, after those that were added before."""
        self._waiting.append(work)
        self._plan()

    def flush(self) -> None:
        """Do all the work that is left, now."""
        while self._waiting:
            self._step()

    def clear(self) -> None:
        """Forget the work that is left."""
        self._waiting.clear()
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def _plan(self) -> None:
        if self._cancel is None and self._waiting:
            self._cancel = self._timers.after(0.0, self._turn)

    def _turn(self) -> None:
        self._cancel = None
        end = time.perf_counter() + _AT_ONCE
        try:
            while self._waiting and time.perf_counter() < end:
                self._step()
        finally:
            self._plan()

    def _step(self) -> None:
        work = self._waiting[0]
        try:
            next(work)
        except StopIteration:
            self._done(work)
        except BaseException:
            self._done(work)
            raise

    def _done(self, work: Iterator[object]) -> None:
        if self._waiting and self._waiting[0] is work:  # it may have cleared the queue itself
            self._waiting.popleft()
            if not self._waiting:
                self.emptied.emit()
