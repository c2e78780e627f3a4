"""How a benchmark prints: one readable table, then the same as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Attributes:
        what: What was measured.
        value: In `unit`.
        unit: Such as "s" or "ms".
        target: What it should not exceed; None where there is none.
    """

    what: str
    value: float
    unit: str
    target: float | None = None


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of several runs."""
    seconds = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return 1000 * median(seconds)


def show(title: str, rows: list[Row]) -> None:
    """Print the table and the JSON."""
    table = Table(title=title)
    for column in ("what", "measured", "unit", "target"):
        table.add_column(column, justify="left" if column in ("what", "unit") else "right")
    for row in rows:
        target = "" if row.target is None else f"{row.target:g}"
        table.add_row(row.what, f"{row.value:.4g}", row.unit, target)
    Console(width=110).print(table)
    machine = {"threads": torch.get_num_threads(), "python": platform.python_version()}
    print(json.dumps({"title": title, "machine": machine, "rows": [asdict(row) for row in rows]}))
