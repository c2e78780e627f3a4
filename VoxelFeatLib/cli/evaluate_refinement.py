"""`voxelfeat evaluate refinement`: coarse masks made finer, by the paper's methods and ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from VoxelFeatLib.cli import evaluating, options
from VoxelFeatLib.cli.console import print_json, print_table, say
from VoxelFeatLib.cli.weights import need
from VoxelFeatLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from VoxelFeatLib.evaluation.fields import BackboneChoice
    from VoxelFeatLib.evaluation.refinement.evaluation import RefinementEvaluation
    from VoxelFeatLib.evaluation.refinement.summary import Line

_METHODS = "anti-aliasing,sam-autoprompt,sam-video,sam-probe,voxelfeat-probe,voxelfeat-prior"
_FACTOR = 4.0


def refinement(
    data: evaluating.Data,
    output: evaluating.Output,
    labels: evaluating.Labels = "",
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help=f"Of {_METHODS.replace(',', ', ')}; all if left out. What lacks weights is not "
            "measured.",
        ),
    ] = "",
    factor: Annotated[
        float | None,
        typer.Option(metavar="N", help="Coarse voxels are so many voxels wide; 4 if left out."),
    ] = None,
    mm: Annotated[float | None, typer.Option(metavar="MM", help="Or so many millimetres.")] = None,
    preset: evaluating.Preset = "auto",
    backbone: evaluating.Backbone = "filters",
    input_size: options.InputSize = None,
    encoding: options.Encoding = "",
    sam: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Whole checkpoint of SAM 2.1 for sam-autoprompt and sam-video; the backbone's if "
            "left out.",
        ),
    ] = "",
    mirror: options.Mirror = "",
    field: evaluating.Fields = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure how well coarse masks are refined.

    **Examples**

    - `voxelfeat evaluate refinement data --labels 1,5=liver --mm 6 -o refined`
    - `voxelfeat evaluate refinement data --backbone sam2.1-large --preset paper -o refined`
    """
    from VoxelFeatLib.evaluation.datasets import find_cases
    from VoxelFeatLib.evaluation.refinement.noise import Noise

    noise = Noise(_FACTOR if factor is None and mm is None else factor, mm)
    cases = find_cases(data)
    evaluating.make_folder(output)

    # torch loads only now, after everything that can be wrong in the arguments
    from VoxelFeatLib.evaluation.refinement.evaluation import RefinementEvaluation
    from VoxelFeatLib.evaluation.refinement.methods.registry import PROBES, MethodMaker

    names = evaluating.words_of(methods or _METHODS)
    watch = evaluating.Watch("Refining")
    choice = evaluating.choice(backbone, device, encoding, input_size)
    fields = evaluating.field_store(output, choice, preset, seed, field, watch)
    missing = ""
    if any(name in PROBES for name in names):
        missing = _missing(backbone, mirror)
    compared, left_out = MethodMaker(fields, sam, missing, seed).methods(names)
    wanted = evaluating.words_of(labels)
    run = RefinementEvaluation(cases, wanted, compared, noise, output / "results")
    run.left_out += left_out
    watch.run(run)
    _report(output, run, choice, as_json=as_json)


def _missing(backbone: str, mirror: str) -> str:
    """Have the backbone's weights on this machine, or return why they are not."""
    try:
        need(backbone, mirror)
    except InputError as error:
        return str(error)
    return ""


def _report(
    output: Path, evaluation: RefinementEvaluation, backbone: BackboneChoice, *, as_json: bool
) -> None:
    from VoxelFeatLib.evaluation.refinement.report import write_report
    from VoxelFeatLib.evaluation.refinement.titles import titles_of

    evaluating.tell_outcome(evaluation)
    lines = write_report(output, evaluation, backbone)
    if as_json:
        listed = [line.as_json() for line in lines]
        print_json({"output": str(output), "lines": listed, "left_out": evaluation.left_out})
    else:
        _print(lines, titles_of(backbone.name))
        say(f"Tables and a figure are in {output}")
    evaluating.refuse_failures(evaluation, output)


def _print(lines: Sequence[Line], titles: Mapping[str, str]) -> None:
    from VoxelFeatLib.evaluation.grouping import labels_of, methods_of

    methods = methods_of(lines)
    table = Table(title="Dice | HD95 in mm, means")
    table.add_column("label")
    for method in methods:
        table.add_column(titles[method].replace("-", "-\n"), justify="right")
    for label in labels_of(lines):
        of = {line.method: line.mean for line in lines if line.label == label}
        cells = [f"{of[m].dice:.3f} | {of[m].hd95_mm:.1f}" if m in of else "" for m in methods]
        table.add_row(label, *cells)
    print_table(table)
