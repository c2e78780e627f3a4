"""The paper's recipe against ours: quality over time on the same volume, backbone and seed.

Of the paper's 60,000 views as many are run as are asked for, by number or by time, with its
schedule shortened in proportion (warm-up and decay over the run); nothing is extrapolated.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from _curve_figure import draw
from _curves import Curve, Recipes, shortened
from _judge import Judge
from _subjects import add_backbone_arguments, chosen, phantom_of, sizes_of
from _tables import Row, show
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from VoxelFeatLib.fitting.presets import Preset, preset_named
from VoxelFeatLib.fitting.progress import FitProgress
from VoxelFeatLib.imaging.reading import read_volume


def main() -> None:
    """Run the recipes one after the other and compare them."""
    arguments = _arguments()
    volume = (
        read_volume(arguments.volume) if arguments.volume else phantom_of(arguments.shape).volume
    )
    paper = reduced(preset_named("paper"), arguments.windows, arguments.window)
    with chosen(arguments) as choice:
        judge = Judge(
            volume,
            choice.make(volume),
            paper,
            choice.device,
            cells=arguments.cells,
            seed=arguments.seed,
        )
        recipes = Recipes(volume, choice, judge, arguments.seed)
        views = arguments.views or recipes.views_in(paper, arguments.seconds)
        curves = compare(recipes, paper, views, [preset_named(name) for name in arguments.ours])
        title = f"{volume.name} ({sizes_of(volume)}), {choice.title}, seed {arguments.seed}"
    if arguments.figure:
        draw(arguments.figure, curves, title)
    show(title, rows_of(curves), output=arguments.output, more=facts_of(curves))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume", help="an image file instead of the phantom")
    parser.add_argument("--shape", default="128x128x64", help="the phantom's voxels along i, j, k")
    parser.add_argument("--ours", nargs="+", default=["fast"], help="presets to compare")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--views", type=int, help="views of the paper's recipe")
    length.add_argument("--seconds", type=float, default=600, help="or about so much time for it")
    parser.add_argument("--windows", type=int, help="fewer windows a step of the paper's recipe")
    parser.add_argument("--window", type=int, help="smaller ones, in cells of the coarsest level")
    parser.add_argument("--cells", type=int, default=2048, help="held-out cells of each level")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="a PNG to write")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    add_backbone_arguments(parser)
    return parser.parse_args()


def reduced(paper: Preset, windows: int | None, window: int | None) -> Preset:
    """Return the recipe with less work a step where it would take minutes; all else is the same."""
    smaller = replace(paper, windows=windows or paper.windows, window=window or paper.window)
    # The fit's own measure is not used here.
    return replace(smaller, heldout_views=1)


def compare(
    recipes: Recipes, paper: Preset, views: int, ours: Sequence[Preset]
) -> tuple[Curve, ...]:
    """Run a part of the paper's recipe, then ours in full."""
    runs = [(title_of(paper, views), shortened(paper, views))]
    runs += [(preset.name, replace(preset, heldout_views=1)) for preset in ours]
    curves = []
    for title, preset in runs:
        with _bar(title) as tell:
            curves.append(recipes.run(title, preset, tell))
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


if __name__ == "__main__":
    main()
