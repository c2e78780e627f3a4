"""An event loop that measures each of its turns, and the memory of two processes."""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from VoxelFeatLib.scene.steps import StepQueue
from VoxelFeatLib.worker.client.transport import SubprocessTransport

# Seconds between two looks at the worker's memory.
_LOOK = 0.2


@dataclass(frozen=True)
class Turn:
    """One step of the main thread, between two looks at the mouse.

    Attributes:
        what: The callback.
        wall: Milliseconds that it took.
        cpu: Milliseconds that the main thread was running in them.
    """

    what: str
    wall: float
    cpu: float


@dataclass
class Stage:
    """What was measured from one action of the user's until nothing is left to do.

    Attributes:
        name: The action.
        turns: All steps of the main thread.
        seconds: From the action to the end.
        before: Bytes that this process held before.
        after: Bytes that it held afterwards.
        peak: The most that it held in between; 0 where the system does not tell.
        worker: The most bytes that the worker was seen to hold.
    """

    name: str
    turns: list[Turn] = field(default_factory=list)
    seconds: float = 0.0
    before: int = 0
    after: int = 0
    peak: int = 0
    worker: int = 0

    def longest(self, clock: str = "cpu") -> Turn:
        """Return the longest step by CPU or wall time."""
        none = Turn("", 0.0, 0.0)
        return max(self.turns, key=lambda turn: float(getattr(turn, clock)), default=none)

    def percentile(self, share: float) -> float:
        """Return the CPU milliseconds that so many percent of the steps did not exceed."""
        return float(np.percentile([turn.cpu for turn in self.turns], share)) if self.turns else 0.0


class _Transport(SubprocessTransport):
    """Has all its callbacks measured."""

    def __init__(self, loop: MeasuredLoop) -> None:
        super().__init__([sys.executable, "-m", "VoxelFeatLib", "worker"])
        self._loop = loop

    def start(self, *callbacks: Callable[..., None]) -> None:
        """Start the process."""
        super().start(*(self._loop.measured(f"worker {call.__name__}", call) for call in callbacks))

    def __setattr__(self, name: str, value: Any) -> None:
        measured = name == "on_drained" and value is not None
        super().__setattr__(name, self._loop.measured("upload", value) if measured else value)


class MeasuredLoop:
    """Timers and a worker's pipes in the main thread, as Qt's event loop has them.

    Attributes:
        stages: What was measured; all before the first stage is in the first entry.
        given: Tells the bytes of this process that do not count just now.
    """

    def __init__(self) -> None:
        self.stages: list[Stage] = [Stage("start")]
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._cancelled: set[int] = set()
        self._transport: _Transport | None = None
        self.given: Callable[[], int] = int
        self._process = psutil.Process()
        self._looked = 0.0

    # ------------------------------------------------------------------ what controllers need

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call later; returns what cancels it."""
        number = next(self._numbers)
        heapq.heappush(self._due, (time.monotonic() + seconds, number, call))
        return lambda: self._cancelled.add(number)

    def transport(self) -> SubprocessTransport:
        """Make the connection to a new worker."""
        self._transport = _Transport(self)
        return self._transport

    # ------------------------------------------------------------------ measuring

    def measured(self, what: str, call: Callable[..., object]) -> Callable[..., None]:
        """Return a function whose calls count as steps of the main thread."""

        def run(*arguments: Any) -> None:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                call(*arguments)
            finally:
                spent = 1e3 * (time.perf_counter() - wall), 1e3 * (time.thread_time() - cpu)
                self.stages[-1].turns.append(Turn(what, *spent))

        return run

    def act(self, action: Callable[[], object]) -> None:
        """Do something as the user does, as one step."""
        self.measured("the action itself", action)()

    def stage(
        self, name: str, action: Callable[[], object], until: Callable[[], object], most: float
    ) -> Stage:
        """Do something as the user does, and wait until there is nothing left to do.

        Args:
            name: For the table.
            action: What is done; it is a step of the main thread itself.
            until: Whether the stage is over.
            most: Seconds after which it has failed.
        """
        stage = Stage(name, before=self._held())
        self.stages.append(stage)
        _forget_peak()
        began = time.monotonic()
        self.act(action)
        while not until():
            if time.monotonic() - began > most:
                raise TimeoutError(f"“{name}” was not over after {most:g} s")
            self.turn()
        stage.seconds = time.monotonic() - began
        stage.after, stage.peak = self._held(), _peak() - self.given()
        return stage

    def turn(self) -> None:
        """Do what is due."""
        if self._transport is not None:
            self._transport.poll(0.002)
        while self._due and self._due[0][0] <= time.monotonic():
            _, number, call = heapq.heappop(self._due)
            if number not in self._cancelled:
                self.measured(_name(call), call)()
        if time.monotonic() > self._looked + _LOOK:
            self._looked = time.monotonic()
            self._look_at_worker()

    def _held(self) -> int:
        return int(self._process.memory_info().rss) - self.given()

    def _look_at_worker(self) -> None:
        number = None if self._transport is None else self._transport.process_id
        if number is not None and psutil.pid_exists(number):
            held = psutil.Process(number).memory_info().rss
            self.stages[-1].worker = max(self.stages[-1].worker, held)


def _name(call: Callable[[], None]) -> str:
    """Return what a callback is, and of a queue of steps what it is at."""
    queue = getattr(call, "__self__", None)
    if isinstance(queue, StepQueue) and queue.busy:
        work = queue._waiting[0]  # noqa: SLF001 - there is no other way to tell
        return str(getattr(work, "__qualname__", work)).replace(".<locals>", "")
    call = getattr(call, "func", call)
    return str(getattr(call, "__qualname__", call)).replace(".<locals>", "")


def _forget_peak() -> None:
    """Have Linux count the most memory that this process has held anew."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")


def _peak() -> int:
    file = Path("/proc/self/status")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)
