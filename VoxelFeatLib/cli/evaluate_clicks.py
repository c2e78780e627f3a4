"""`voxelfeat evaluate clicks`: segmentation by few clicks of a simulated user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from VoxelFeatLib.cli import evaluating, options
from VoxelFeatLib.cli.console import print_json, print_table, say
from VoxelFeatLib.cli.weights import need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from VoxelFeatLib.evaluation.clicks.evaluation import ClickEvaluation
    from VoxelFeatLib.evaluation.clicks.summary import Line


def clicks(
    data: evaluating.Data,
    output: evaluating.Output,
    labels: evaluating.Labels = "",
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="Of voxelfeat, growcut, growcut-whole, randomwalker, threshold; if left out, all "
            "that are installed but growcut-whole.",
        ),
    ] = "",
    most: Annotated[
        int, typer.Option("--clicks", min=1, max=1000, help="Most clicks for a target.")
    ] = 20,
    negative: Annotated[
        bool,
        typer.Option(
            "--negative/--no-negative",
            help="Whether one click 6 to 12 mm outside the target comes first, uncounted; growcut "
            "and randomwalker cannot start without.",
        ),
    ] = True,
    noise: Annotated[
        float, typer.Option(min=0.0, metavar="MM", help="Standard deviation of a click's place.")
    ] = 0.0,
    stroke: Annotated[
        float,
        typer.Option(min=0.0, metavar="MM", help="Draw strokes up to this long, not clicks."),
    ] = 0.0,
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Measure also a user whose clicks after the first go where voxelfeat suggests.",
        ),
    ] = False,
    preset: evaluating.Preset = "auto",
    backbone: evaluating.Backbone = "filters",
    input_size: options.InputSize = None,
    encoding: options.Encoding = "",
    mirror: options.Mirror = "",
    field: evaluating.Fields = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure segmentation by few clicks of a simulated user.

    **Examples**

    - `voxelfeat evaluate clicks data --labels 1,5=liver --clicks 10 -o results`
    - `voxelfeat evaluate clicks phantom --labels liver --methods voxelfeat,threshold -o results`
    """
    from VoxelFeatLib.evaluation.clicks.user import Habits
    from VoxelFeatLib.evaluation.datasets import find_cases

    habits = Habits(most, negative=negative, noise_mm=noise, stroke_mm=stroke, seed=seed)
    cases = find_cases(data)
    evaluating.make_folder(output)

    # torch loads only now, after everything that can be wrong in the arguments
    from VoxelFeatLib.evaluation.clicks.evaluation import ClickEvaluation
    from VoxelFeatLib.evaluation.clicks.methods.registry import OURS, methods_named, usual_methods
    from VoxelFeatLib.evaluation.clicks.methods.suggested import SuggestedVoxelFeat
    from VoxelFeatLib.evaluation.clicks.methods.voxelfeat import VoxelFeat

    names = evaluating.words_of(methods)
    if (not names or OURS in names or suggest) and not field:
        need(backbone, mirror)
    watch = evaluating.Watch("Clicking")
    choice = evaluating.choice(backbone, device, encoding, input_size)
    fields = evaluating.field_store(output, choice, preset, seed, field, watch)

    def ours() -> VoxelFeat:
        return VoxelFeat(fields, fields.settings, seed=seed)

    compared, left_out = (methods_named(names, ours), []) if names else usual_methods(ours)
    if suggest:
        compared.append(SuggestedVoxelFeat(fields, fields.settings, seed=seed))
    wanted = evaluating.words_of(labels)
    run = ClickEvaluation(cases, wanted, compared, habits, output / "results")
    run.left_out += left_out
    watch.run(run)
    _report(output, run, as_json=as_json)


def _report(output: Path, evaluation: ClickEvaluation, *, as_json: bool) -> None:
    from VoxelFeatLib.evaluation.clicks.report import write_report

    evaluating.tell_outcome(evaluation)
    lines = write_report(output, evaluation)
    if as_json:
        print_json({"output": str(output), "lines": [line.as_json() for line in lines]})
    else:
        _print(lines, evaluation.habits.clicks)
        say(f"Tables and curves are in {output}")
    evaluating.refuse_failures(evaluation, output)


def _print(lines: Sequence[Line], most: int) -> None:
    from VoxelFeatLib.evaluation.clicks.report import needed_text, shown_clicks
    from VoxelFeatLib.evaluation.grouping import ALL

    shown = shown_clicks(most)
    table = Table(
        padding=(0, 1 if len(shown) < 4 else 0),  # all of it in a terminal of 80 columns
        title="Dice after so many clicks, mean of all targets",
        caption="NoC: clicks needed for a Dice of .85 and .90 (targets that never reached it)",
    )
    table.add_column("method", no_wrap=True)
    for title in (*map(str, shown), "NoC@85", "NoC@90", "s/click", "fall"):
        table.add_column(title, justify="right", no_wrap=True)
    for line in lines:
        if line.label == ALL:
            table.add_row(
                line.method,
                *(f"{line.dice[k - 1]:.2f}" for k in shown),
                needed_text(line.noc85),
                needed_text(line.noc90),
                f"{line.seconds:.2f}",
                f"{line.largest_fall:.2f}",
            )
    print_table(table)
