"""The files that an evaluation leaves: CSV, JSON, Markdown and curves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from VoxelFeatLib.evaluation.clicks.curves import draw_curves
from VoxelFeatLib.evaluation.clicks.evaluation import Evaluation, Failure
from VoxelFeatLib.evaluation.clicks.results import Result
from VoxelFeatLib.evaluation.clicks.summary import ALL, Line, Needed, lines
from VoxelFeatLib.evaluation.clicks.user import Habits
from VoxelFeatLib.imaging.atomic import replacing

_SHOWN = (1, 3, 5, 10, 20)


def write_report(folder: Path, evaluation: Evaluation) -> list[Line]:
    """Write `clicks.csv`, `summary.json`, `summary.md` and `curves.png`.

    Args:
        folder: Exists.
        evaluation: Has at least one result.

    Returns:
        What they say.

    Raises:
        InputError: A file cannot be written.
    """
    found = lines(evaluation.results, evaluation.habits.clicks)
    _write_table(folder / "clicks.csv", evaluation.results)
    summary = {
        "user": asdict(evaluation.habits),
        "methods": {method.name: method.settings for method in evaluation.methods},
        "lines": [line.as_json() for line in found],
        "failures": [asdict(failure) for failure in evaluation.failures],
    }
    _write_text(folder / "summary.json", json.dumps(summary, indent=1, allow_nan=False))
    _write_text(folder / "summary.md", markdown(found, evaluation.habits, evaluation.failures))
    draw_curves(folder / "curves.png", found)
    return found


def markdown(found: Sequence[Line], habits: Habits, failures: Sequence[Failure] = ()) -> str:
    """Return the tables, all labels together and each on its own, as Markdown."""
    shown = shown_clicks(habits.clicks)
    parts = [
        "# Few-click segmentation",
        _protocol(habits),
        "\n".join(_table([line for line in found if line.label == ALL], shown, by_label=False)),
        "## By label",
        "\n".join(_table([line for line in found if line.label != ALL], shown, by_label=True)),
    ]
    if failures:
        parts += ["## What failed", "\n".join(f"- {told(failure)}" for failure in failures)]
    return "\n\n".join(parts) + "\n"


def told(failure: Failure) -> str:
    """Return a failure as a line of text."""
    names = ", ".join(n for n in (failure.case, failure.label, failure.method) if n)
    return f"{names}: {failure.sentence}"


def shown_clicks(clicks: int) -> list[int]:
    """Return after which clicks tables show numbers."""
    return sorted({k for k in _SHOWN if k < clicks} | {clicks})


def needed_text(needed: Needed) -> str:
    """Return such as `7.3 (2)`: mean, and in brackets how many targets were never reached."""
    missed = f" ({needed.missed})" if needed.missed else ""
    return f"{needed.mean:.1f}{missed}"


def _protocol(habits: Habits) -> str:
    text = (
        f"A simulated user gives up to {habits.clicks} "
        f"{'strokes' if habits.stroke_mm else 'clicks'}: the first in the deepest point of the "
        "target, each further one in the deepest point of the largest mistake. Every method gets "
        "clicks at its own mistakes. "
    )
    if habits.negative:
        text += "One click 6 to 12 mm outside the target comes first and is not counted. "
    if habits.noise_mm:
        text += f"Clicks miss by {habits.noise_mm:g} mm (standard deviation along each axis). "
    if habits.stroke_mm:
        text += f"Strokes are up to {habits.stroke_mm:g} mm long. "
    return text + (
        "NoC is the mean number of clicks until a Dice coefficient is reached; in brackets, how "
        f"many targets never reached it, which count as {habits.clicks}. HD95 in mm; where "
        "nothing was segmented it is the volume's diagonal. The fall is the largest one of the "
        "mean Dice from one click to the next."
    )


def _table(found: Sequence[Line], shown: Sequence[int], *, by_label: bool) -> Iterator[str]:
    names = ["label", "method"] if by_label else ["method"]
    numbers = ["targets", *(f"Dice {k}" for k in shown), *(f"HD95 {k}" for k in shown)]
    numbers += ["NoC@85", "NoC@90", "s a click", "fall"]
    yield f"| {' | '.join(names + numbers)} |"
    yield f"|{' --- |' * len(names)}{' ---: |' * len(numbers)}"
    for line in found:
        cells = [line.label, line.method] if by_label else [line.method]
        cells += [str(line.targets), *(f"{line.dice[k - 1]:.3f}" for k in shown)]
        cells += [f"{line.hd95_mm[k - 1]:.1f}" for k in shown]
        cells += [needed_text(line.noc85), needed_text(line.noc90)]
        cells += [f"{line.seconds:.3g}", f"{line.largest_fall:.3f}"]
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _write_table(path: Path, results: Sequence[Result]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "label", "method", "click", "dice", "hd95_mm", "seconds"])
        for r in results:
            for k, (dice, hd95, seconds) in enumerate(
                zip(r.dice, r.hd95_mm, r.seconds, strict=True), start=1
            ):
                row = [f"{dice:.5f}", f"{hd95:.3f}", f"{seconds:.4f}"]
                writer.writerow([r.case, r.label, r.method, k, *row])


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
