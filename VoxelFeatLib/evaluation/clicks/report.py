"""The files that an evaluation leaves: CSV, JSON, Markdown and curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from VoxelFeatLib.evaluation.clicks.curves import draw_curves
from VoxelFeatLib.evaluation.clicks.evaluation import ClickEvaluation
from VoxelFeatLib.evaluation.clicks.methods.suggested import SUGGESTED
from VoxelFeatLib.evaluation.clicks.results import ClickResult
from VoxelFeatLib.evaluation.clicks.summary import Line, Needed, lines
from VoxelFeatLib.evaluation.clicks.user import Habits
from VoxelFeatLib.evaluation.grouping import ALL
from VoxelFeatLib.evaluation.running import Failure
from VoxelFeatLib.evaluation.writing import (
    markdown_table,
    markdown_unmeasured,
    write_json,
    write_rows,
    write_text,
)

_SHOWN = (1, 3, 5, 10, 20)
_COLUMNS = ("case", "label", "method", "click", "dice", "hd95_mm", "seconds")


def write_report(folder: Path, evaluation: ClickEvaluation) -> list[Line]:
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
    write_rows(folder / "clicks.csv", _COLUMNS, _rows(evaluation.results))
    summary = {
        **evaluation.protocol(),
        "methods": {method.name: method.settings for method in evaluation.methods},
        "lines": [line.as_json() for line in found],
        "left_out": evaluation.left_out,
        "failures": [asdict(failure) for failure in evaluation.failures],
    }
    write_json(folder / "summary.json", summary)
    text = markdown(found, evaluation.habits, evaluation.failures, evaluation.left_out)
    write_text(folder / "summary.md", text)
    draw_curves(folder / "curves.png", found)
    return found


def markdown(
    found: Sequence[Line],
    habits: Habits,
    failures: Sequence[Failure] = (),
    left_out: Sequence[str] = (),
) -> str:
    """Return the tables, all labels together and each on its own, as Markdown."""
    shown = shown_clicks(habits.clicks)
    parts = [
        "# Few-click segmentation",
        _protocol(habits, suggested=any(line.method == SUGGESTED for line in found)),
        _table([line for line in found if line.label == ALL], shown, by_label=False),
        "## By label",
        _table([line for line in found if line.label != ALL], shown, by_label=True),
    ]
    return "\n\n".join([*parts, *markdown_unmeasured(left_out, failures)]) + "\n"


def shown_clicks(clicks: int) -> list[int]:
    """Return after which clicks tables show numbers."""
    return sorted({k for k in _SHOWN if k < clicks} | {clicks})


def needed_text(needed: Needed) -> str:
    """Return such as `7.3 (2)`: mean, and in brackets how many targets were never reached."""
    missed = f" ({needed.missed})" if needed.missed else ""
    return f"{needed.mean:.1f}{missed}"


def _protocol(habits: Habits, *, suggested: bool) -> str:
    text = (
        f"A simulated user gives up to {habits.clicks} "
        f"{'strokes' if habits.stroke_mm else 'clicks'}: the first in the deepest point of the "
        "target, each further one in the deepest point of the largest mistake. Every method gets "
        "clicks at its own mistakes. "
    )
    if suggested:
        text += (
            f"With {SUGGESTED} each further one is where the program suggests, and the user only "
            "says whether that is inside. "
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


def _table(found: Sequence[Line], shown: Sequence[int], *, by_label: bool) -> str:
    names = ["label", "method"] if by_label else ["method"]
    numbers = ["targets", *(f"Dice {k}" for k in shown), *(f"HD95 {k}" for k in shown)]
    numbers += ["NoC@85", "NoC@90", "s a click", "fall"]
    rows = []
    for line in found:
        cells = [line.label, line.method] if by_label else [line.method]
        cells += [str(line.targets), *(f"{line.dice[k - 1]:.3f}" for k in shown)]
        cells += [f"{line.hd95_mm[k - 1]:.1f}" for k in shown]
        cells += [needed_text(line.noc85), needed_text(line.noc90)]
        rows.append([*cells, f"{line.seconds:.3g}", f"{line.largest_fall:.3f}"])
    return markdown_table(names, numbers, rows)


def _rows(results: Sequence[ClickResult]) -> Iterator[list[object]]:
    for r in results:
        for k, (dice, hd95, seconds) in enumerate(
            zip(r.dice, r.hd95_mm, r.seconds, strict=True), start=1
        ):
            row = [f"{dice:.5f}", f"{hd95:.3f}", f"{seconds:.4f}"]
            yield [r.case, r.label, r.method, k, *row]
