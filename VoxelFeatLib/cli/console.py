"""What the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table

from VoxelFeatLib.errors import VoxelFeatError

# Between two lines of progress where stderr is no terminal: a log should live, not flood.
_LOG_SECONDS = 10.0


def messages() -> Console:
    """The console for people: stderr, so that stdout stays for results."""
    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Tell the user something that is not a result."""
    messages().print(text, markup=False, soft_wrap=True)


def say_error(error: VoxelFeatError) -> None:
    """Print an error's sentence, and its hint below."""
    console = messages()
    console.print("[bold red]Error:[/] ", end="")
    console.print(error.message, markup=False, soft_wrap=True)
    if error.hint:
        console.print(error.hint, markup=False, style="dim", soft_wrap=True)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on stdout; NaN, which JSON lacks, is refused as a defect of ours."""
    print(json.dumps(result, indent=2, allow_nan=False))


def print_table(table: Table) -> None:
    """Print a table on stdout; names in it are of users, and brackets in them mean nothing."""
    Console(highlight=False, markup=False).print(table)


def duration(seconds: float) -> str:
    """Return seconds for people: `0.3 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Bar:
    """The progress of one long step: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, title: str, progress: Progress | None) -> None:
        self._title = title
        self._progress = progress
        self._task = progress.add_task(title, total=None, detail="") if progress else None
        self._began = self._last_line = time.monotonic()

    def update(
        self, done: float, total: float, *, seconds_left: float | None = None, detail: str = ""
    ) -> None:
        """Show how far the step is.

        Args:
            done: What is done, in the units of `total`.
            total: What there is to do.
            seconds_left: An estimate, where the step has a better one than the bar's.
            detail: A few words beside the bar.
        """
        elapsed = time.monotonic() - self._began
        if seconds_left is None and done > 0:
            seconds_left = elapsed * (total - done) / done
        left = "" if seconds_left is None else f"{duration(max(seconds_left, 0.0))} left"
        words = ", ".join(word for word in (left, detail) if word)
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, detail=words)
        elif time.monotonic() - self._last_line >= _LOG_SECONDS:
            self._last_line = time.monotonic()
            say(f"{self._title}: {100 * done / total:.0f} %, {words}")

    def finish(self, detail: str) -> None:
        """Replace the estimate by what came out."""
        if self._progress and self._task is not None:
            total = self._progress.tasks[self._task].total or 1.0
            self._progress.update(self._task, completed=total, total=total, detail=detail)
        else:
            say(f"{self._title}: {detail}")


@contextmanager
def bar(title: str) -> Iterator[Bar]:
    """A progress bar for the length of the block; the time it took is shown in the end."""
    console = messages()
    began = time.monotonic()
    if not console.is_terminal:
        line = Bar(title, None)
        yield line
        line.finish(f"done in {duration(time.monotonic() - began)}")
        return
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=console,
    )
    with progress:
        shown = Bar(title, progress)
        yield shown
        shown.finish(f"done in {duration(time.monotonic() - began)}")


@contextmanager
def ctrl_c() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C ask for an end between two steps; a second one interrupts at once.

    Yields:
        A function that tells whether Ctrl-C was pressed.
    """
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        say("\nStopping after this step; press Ctrl-C again to stop at once.")

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
