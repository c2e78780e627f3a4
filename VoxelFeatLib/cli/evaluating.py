"""What the commands of `voxelfeat evaluate` share: arguments, bar, and what is said at the end."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from VoxelFeatLib.cli.console import Bar, bar, say
from VoxelFeatLib.errors import Cancelled, InputError, OutputError
from VoxelFeatLib.evaluation.time_left import TimeLeft

if TYPE_CHECKING:
    from VoxelFeatLib.evaluation.fields import BackboneChoice, FieldStore
    from VoxelFeatLib.evaluation.running import Evaluation, M, R

Data = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Folder of pairs a.nii.gz and a_labels.nii.gz, of imagesTr and labelsTr, of "
        "TotalSegmentator or KiTS; one volume of such a folder; or the word phantom.",
    ),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FOLDER", help="For results; run again to go on there."),
]
Labels = Annotated[
    str,
    typer.Option(
        metavar="A,B,...",
        help="Numbers or names of labels, or such as 5=liver to name a number; all if left out.",
    ),
]
Preset = Annotated[str, typer.Option(metavar="NAME", help="Of the fits; see `voxelfeat presets`.")]
Backbone = Annotated[
    str, typer.Option(metavar="NAME", help="Of the fits; see `voxelfeat backbones`.")
]
Fields = Annotated[
    list[Path] | None,
    typer.Option("--field", metavar="PATH", help="Use this field for its volume; may be repeated."),
]


class Watch:
    """The bar of an evaluation, which the fits inside it write to as well.

    Args:
        title: Beside the bar.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Bar | None = None
        self._fraction = 0.0
        self._left: TimeLeft | None = None

    def run(self, evaluation: Evaluation[M, R]) -> None:
        """Run to the end.

        Raises:
            Cancelled: Ctrl-C was pressed.
            OutputError: Results or fields cannot be written.
        """
        self._left = TimeLeft(len(evaluation.cases))
        try:
            with bar(self._title) as self._bar:
                for progress in evaluation:
                    self._left.measured(progress.fraction)
                    self._fraction = progress.fraction
                    self._show(progress.words)
        except KeyboardInterrupt:
            raise Cancelled("Cancelled; the same command goes on where it stopped.") from None
        except OutputError as error:
            hint = "Mend that; the same command then goes on where it stopped."
            raise OutputError(error.message, hint) from error

    def tell(self, words: str, fit_left: float) -> None:
        """Show how far a fit is, which takes so many seconds more."""
        if self._left is not None:
            self._left.fitting(fit_left)
        self._show(words)

    def _show(self, words: str) -> None:
        if self._bar is not None and self._left is not None:
            left = self._left.seconds
            self._bar.update(self._fraction, 1.0, seconds_left=left, detail=words)


def tell_outcome(evaluation: Evaluation[M, R]) -> None:
    """Say what failed, what was left out and what was there already.

    Raises:
        InputError: There is nothing else to say.
    """
    for failure in evaluation.failures:
        say(f"Failed: {failure}")
    for sentence in evaluation.left_out:
        say(f"Left out: {sentence}")
    if evaluation.reused:
        say(f"{evaluation.reused} results were there from before; they were kept.")
    if not evaluation.results:
        raise InputError("Nothing was measured; see above why.")


def refuse_failures(evaluation: Evaluation[M, R], output: Path) -> None:
    """End with an error where something failed.

    Raises:
        InputError: Something did.
    """
    if evaluation.failures:
        raise InputError(
            f"{len(evaluation.failures)} of the measurements failed; the others are in {output}.",
            "Run the same command again to try only these once more.",
        )


def choice(
    backbone: str,
    device: str,
    encoding: str,
    input_size: int | None,
) -> BackboneChoice:
    """Put together what a user chose of the backbone."""
    from VoxelFeatLib.backbones.registry import BackboneOptions
    from VoxelFeatLib.devices.choice import device_named
    from VoxelFeatLib.evaluation.fields import BackboneChoice

    place = device_named(device)
    return BackboneChoice(backbone, BackboneOptions(place, encoding, input_size))


def field_store(
    output: Path,
    backbone: BackboneChoice,
    preset: str,
    seed: int,
    given: list[Path] | None,
    watch: Watch,
) -> FieldStore:
    """Keep fields in a folder of the output; `auto` is the device's preset.

    Raises:
        InputError: There is no such preset.
    """
    from VoxelFeatLib.evaluation.fields import FieldStore
    from VoxelFeatLib.fitting.default_preset import default_preset
    from VoxelFeatLib.fitting.presets import preset_named

    name = default_preset(backbone.device) if preset == "auto" else preset
    preset_named(name)  # else each volume would fail by it
    folder = output / "fields"
    return FieldStore(folder, backbone, name, seed, tuple(given or ()), watch.tell)


def make_folder(path: Path) -> None:
    """Make a folder for the results.

    Raises:
        InputError: There is a file of that name.
        OutputError: The folder cannot be made or written.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder for the results.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass  # else the first result would tell, after hours perhaps
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Cannot write to {path}: {reason}.", "Name another folder.") from error


def words_of(text: str) -> list[str]:
    """Return the words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
