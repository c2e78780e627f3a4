"""The paper's recipe and ours: run one after the other, told apart in rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from math import inf
from typing import Any

from _curves import Curve, Recipes, shortened
from _tables import Row
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from VoxelFeatLib.fitting.presets import Preset, preset_named
from VoxelFeatLib.fitting.progress import FitProgress


def reduced(paper: Preset, windows: int | None, window: int | None) -> Preset:
    """Return the recipe with less work a step where it would take minutes; all else is the same."""
    smaller = replace(paper, windows=windows or paper.windows, window=window or paper.window)
    # The fit's own measure is not used here.
    return replace(smaller, heldout_views=1)


def compare(
    recipes: Recipes, paper: Preset, views: int, ours: Sequence[Preset], limit: float = inf
) -> tuple[Curve, ...]:
    """Run a part of the paper's recipe, then each of ours in full or for `limit` seconds."""
    runs = [(title_of(paper, views), shortened(paper, views), inf)]
    runs += [(preset.name, replace(preset, heldout_views=1), limit) for preset in ours]
    curves = []
    for title, preset, seconds in runs:
        with _bar(title) as tell:
            curves.append(recipes.run(title, preset, tell, seconds))
    return tuple(curves)


def title_of(paper: Preset, views: int) -> str:
    """Say which part of the recipe is run, and with how much less a step."""
    full = preset_named("paper")
    cells, most = (p.windows * p.window**2 for p in (paper, full))
    less = "" if cells == most else f", {cells} of {most} coarse cells a step"
    return f"paper, {views:,} of {full.views:,} views{less}"


def rows_of(curves: Sequence[Curve]) -> list[Row]:
    """Each run by itself, then ours against the first, which is the paper's."""
    rows = [row for curve in curves for row in _run_rows(curve)]
    for ours in curves[1:]:
        rows += _versus(curves[0], ours)
    return rows


def facts_of(curves: Sequence[Curve]) -> dict[str, Any]:
    """All points, as JSON."""
    return {"curves": [asdict(curve) for curve in curves]}


def _run_rows(curve: Curve) -> list[Row]:
    last = curve.last
    rows = [
        Row(curve.title, last.seconds, "s"),
        Row("  first field after", curve.points[0].seconds, "s"),
        Row("  views encoded, preparation included", last.views, ""),
        Row("  steps", last.steps, ""),
        Row("  parameters", curve.parameters / 1e6, "million"),
        Row("  field file", curve.file_bytes / 1e6, "MB"),
    ]
    for level, values in last.quality.items():
        rows += [
            Row(f"  held-out {name.replace('_', ' ')}, {level}", value, "")
            for name, value in values.items()
        ]
    return [*rows, Row("  held-out explained variance, mean", last.explained, "")]


def _versus(paper: Curve, ours: Curve) -> list[Row]:
    reached = ours.reached(paper.last.explained)
    then = ours.after(paper.last.seconds)
    ended = f", done after {ours.last.seconds:.0f} s" if then is ours.last else ""
    seconds = f"{paper.last.seconds:.0f} s"
    return [
        Row(f"{ours.title}: as good as paper's run at its end after", reached, "s"),
        Row("  paper's seconds over that", paper.last.seconds / reached if reached else None, "x"),
        Row(f"  mean explained variance after {seconds}, paper", paper.last.explained, ""),
        Row(
            f"  mean explained variance after {seconds}, {ours.title}{ended}",
            then.explained if then else None,
            "",
        ),
    ]


@contextmanager
def _bar(title: str) -> Iterator[Any]:
    """A progress bar on stderr that a run tells of its work."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def tell(progress: FitProgress) -> None:
            bar.update(
                task,
                completed=progress.fraction,
                description=f"{title}: {progress.stage}, step {progress.step} of {progress.steps}",
            )

        yield tell
