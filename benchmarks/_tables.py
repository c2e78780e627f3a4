"""How a benchmark prints: one readable table, then the same as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from VoxelFeatLib.imaging.atomic import replacing


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Attributes:
        what: What was measured.
        value: In `unit`; None where it was not reached or not measured.
        unit: Such as "s" or "ms".
        target: What it should not exceed, or reach if `at_least`; None where there is none.
        roofline: The least time that the machine's ceilings allow over the time it took; None
            where there is nothing to count.
        at_least: Whether more is better.
    """

    what: str
    value: float | None
    unit: str
    target: float | None = None
    roofline: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        if self.value is None:
            return False
        return self.value >= self.target if self.at_least else self.value <= self.target


def show(
    title: str,
    rows: Sequence[Row],
    *,
    output: Path | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Print the table and the JSON; write the JSON to a file too, if one is named.

    Args:
        title: Above the table.
        rows: What was measured.
        output: A JSON file.
        more: What else the JSON should hold; it is not printed, only written.
    """
    table = Table(title=title)
    for column in ("what", "measured", "unit", "target", "of roofline"):
        table.add_column(column, justify="left" if column in ("what", "unit") else "right")
    for row in rows:
        table.add_row(row.what, _value(row), row.unit, _target(row), _share(row.roofline))
    Console(width=120).print(table)
    facts = {"title": title, "machine": machine(), "rows": [_facts(row) for row in rows]}
    print(json.dumps(facts))
    if output:
        write(output, facts | dict(more or {}))


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Write JSON, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the program."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _facts(row: Row) -> dict[str, Any]:
    """A row without what it does not have."""
    return {name: value for name, value in asdict(row).items() if value not in (None, False)}


def _value(row: Row) -> str:
    return "-" if row.value is None else f"{row.value:.4g}"


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = "≥" if row.at_least else "≤"
    return f"{sign} {row.target:g} {'met' if row.met else 'missed'}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g} %"
