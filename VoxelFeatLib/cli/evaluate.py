"""`voxelfeat evaluate`: methods measured on volumes with reference labels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import Bar, bar, print_json, print_table, say
from VoxelFeatLib.errors import Cancelled, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from VoxelFeatLib.evaluation.clicks.evaluation import Evaluation
    from VoxelFeatLib.evaluation.clicks.summary import Line

_METHODS = "voxelfeat,growcut,randomwalker,threshold"


def evaluate_program() -> typer.Typer:
    """Make the commands below `voxelfeat evaluate`."""
    program = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
    program.command()(clicks)

    @program.callback()
    def evaluate() -> None:
        """Measure on volumes with reference labels, beside what users have today."""

    return program


def clicks(
    data: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Folder of pairs a.nii.gz and a_labels.nii.gz, of imagesTr and labelsTr, of "
            "TotalSegmentator or KiTS; one volume of such a folder; or the word phantom.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="For results; run again to go on there."
        ),
    ],
    labels: Annotated[
        str, typer.Option(metavar="A,B,...", help="Numbers or names of labels; all if left out.")
    ] = "",
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B,...", help="Of voxelfeat, growcut, growcut-whole, randomwalker, threshold."
        ),
    ] = _METHODS,
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
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="Of the fits; see `voxelfeat presets`.")
    ] = "auto",
    backbone: Annotated[str, typer.Option(metavar="NAME", help="Of the fits.")] = "filters",
    field: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Use this field for its volume; may be repeated."),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure segmentation by few clicks of a simulated user.

    **Examples**

    - `voxelfeat evaluate clicks data --labels 1,5,liver --clicks 10 -o results`
    - `voxelfeat evaluate clicks phantom --labels liver --methods voxelfeat,threshold -o results`
    """
    from VoxelFeatLib.evaluation.clicks.user import Habits
    from VoxelFeatLib.evaluation.datasets import find_cases

    habits = Habits(most, negative=negative, noise_mm=noise, stroke_mm=stroke, seed=seed)
    cases = find_cases(data)
    _make_folder(output)

    # torch loads only now, after everything that can be wrong in the arguments
    from VoxelFeatLib.evaluation.clicks.evaluation import Evaluation
    from VoxelFeatLib.evaluation.clicks.fields import FieldStore
    from VoxelFeatLib.evaluation.clicks.methods.registry import methods_named
    from VoxelFeatLib.evaluation.clicks.methods.voxelfeat import VoxelFeat
    from VoxelFeatLib.fitting.devices import default_preset, device_named

    place = device_named(device)
    watch = _Watch()
    fields = FieldStore(
        output / "fields",
        backbone,
        default_preset(place) if preset == "auto" else preset,
        seed,
        place,
        tuple(field or ()),
        watch.tell,
    )
    compared = methods_named(_words(methods), lambda: VoxelFeat(fields, fields.settings, seed=seed))
    run = Evaluation(cases, _words(labels), compared, habits, output / "results")
    watch.run(run)
    _report(output, run, as_json=as_json)


class _Watch:
    """The bar of an evaluation, which the fits inside it write to as well."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._fraction = 0.0
        self._left: float | None = None
        self._fitting = False

    def run(self, evaluation: Evaluation) -> None:
        """Run to the end.

        Raises:
            Cancelled: Ctrl-C was pressed.
        """
        cases = len(evaluation.cases)
        clicking = fitting = 0.0
        last = time.monotonic()
        try:
            with bar("Clicking") as self._bar:
                for progress in evaluation:
                    now = time.monotonic()
                    if self._fitting:  # once a case, however many its clicks
                        fitting += now - last
                    else:
                        clicking += now - last
                    last, self._fitting, done = now, False, progress.fraction
                    if done > 0:
                        begun = min(cases, int(done * cases) + 1)
                        fits_left = fitting / begun * (cases - begun)
                        self._left = clicking * (1 - done) / done + fits_left
                    self._fraction = done
                    self._show(progress.words)
        except KeyboardInterrupt:
            raise Cancelled("Cancelled; the same command goes on where it stopped.") from None

    def tell(self, words: str) -> None:
        """Show how far a fit is."""
        self._fitting = True
        self._show(words)

    def _show(self, words: str) -> None:
        if self._bar is not None:
            self._bar.update(self._fraction, 1.0, seconds_left=self._left, detail=words)


def _report(output: Path, evaluation: Evaluation, *, as_json: bool) -> None:
    from VoxelFeatLib.evaluation.clicks.report import told, write_report

    for failure in evaluation.failures:
        say(f"Failed: {told(failure)}")
    if evaluation.reused:
        say(f"{evaluation.reused} results were there from before; they were kept.")
    if not evaluation.results:
        raise InputError("Nothing was measured; see above why.")
    lines = write_report(output, evaluation)
    if as_json:
        print_json({"output": str(output), "lines": [line.as_json() for line in lines]})
    else:
        _print(lines, evaluation.habits.clicks)
        say(f"Tables and curves are in {output}")
    if evaluation.failures:
        raise InputError(
            f"{len(evaluation.failures)} of the measurements failed; the others are in {output}.",
            "Run the same command again to try only these once more.",
        )


def _print(lines: Sequence[Line], most: int) -> None:
    from VoxelFeatLib.evaluation.clicks.report import needed_text, shown_clicks
    from VoxelFeatLib.evaluation.clicks.summary import ALL

    shown = shown_clicks(most)
    table = Table(
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


def _make_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder for the results.")
    path.mkdir(parents=True, exist_ok=True)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
