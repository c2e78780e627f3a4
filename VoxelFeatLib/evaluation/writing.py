"""The parts of which reports are made: Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from VoxelFeatLib.evaluation.running import Failure
from VoxelFeatLib.imaging.atomic import replacing


def write_text(path: Path, text: str) -> None:
    """Write a text file.

    Raises:
        InputError: It cannot be written; so do the others.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file; NaN and infinity, which JSON lacks, are refused as a defect of ours."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False))


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def markdown_table(
    names: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """Return a table whose first columns are `names`, to the left, and the others to the right."""
    return "\n".join(_table_lines(names, numbers, rows))


def markdown_unmeasured(left_out: Sequence[str], failures: Sequence[Failure]) -> list[str]:
    """Return the paragraphs that say what was left out, and what failed; none when nothing was."""
    sections = {"## What was left out": left_out, "## What failed": failures}
    parts: list[str] = []
    for title, sentences in sections.items():
        if sentences:
            parts += [title, "\n".join(f"- {sentence}" for sentence in sentences)]
    return parts


def _table_lines(
    names: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]
) -> Iterator[str]:
    yield _row([*names, *numbers])
    yield f"|{' --- |' * len(names)}{' ---: |' * len(numbers)}"
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
