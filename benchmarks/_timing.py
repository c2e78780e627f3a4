"""Clocks and memory, right on devices that work behind the program's back."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import psutil
import torch


def finish(device: torch.device) -> None:
    """Wait until a device has done all that it was asked for: only then may a clock be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(
    work: Callable[[], object], repeats: int, device: torch.device | None = None, warm_up: int = 0
) -> list[float]:
    """Return the seconds of each of several runs, after some that do not count."""
    device = device or torch.device("cpu")
    seconds = []
    for number in range(-warm_up, repeats):
        finish(device)
        start = perf_counter()
        work()
        finish(device)
        if number >= 0:
            seconds.append(perf_counter() - start)
    return seconds


def median_ms(
    work: Callable[[], object], repeats: int, device: torch.device | None = None
) -> float:
    """Median milliseconds of several runs."""
    return 1000 * median(seconds_of(work, repeats, device))


class PeakMemory:
    """The largest memory since this was made: the GPU's that torch holds, or the process' own.

    What torch holds on a GPU is what is in use and what it keeps for reuse; the driver's context,
    some hundreds of megabytes, comes on top.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._process = psutil.Process()
        self._peak = 0
        if device.type == "cuda":
            torch.cuda.init()  # there is nothing to reset before
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def where(self) -> str:
        """What is measured, for a table."""
        return "GPU memory" if self.device.type == "cuda" else "memory of the process"

    def look(self) -> None:
        """Look at the process; call it often. A GPU's peak is kept by torch."""
        if self.device.type != "cuda":
            self._peak = max(self._peak, self._process.memory_info().rss)

    @property
    def gigabytes(self) -> float:
        """The peak so far."""
        self.look()
        if self.device.type == "cuda":
            return torch.cuda.max_memory_reserved(self.device) / 1e9
        return self._peak / 1e9
