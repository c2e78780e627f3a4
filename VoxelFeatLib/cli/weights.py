"""`voxelfeat backbones` and `voxelfeat weights`: whose features there are, and what they need."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from VoxelFeatLib.backbones.weights.availability import availability, check_available
from VoxelFeatLib.backbones.weights.catalogue import (
    CATALOGUE,
    OfficialWeights,
    find_weights,
    weights_folder,
)
from VoxelFeatLib.backbones.weights.download import (
    DownloadProgress,
    DownloadSettings,
    obtain_weights,
)
from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import bar, ctrl_c, print_json, print_table, say
from VoxelFeatLib.errors import InputError, WeightsError

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `voxelfeat weights list` has it.")]


def weights_program() -> typer.Typer:
    """Make the commands below `voxelfeat weights`."""
    program = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
    program.command("list")(list_weights)
    program.command()(download)
    program.command()(path)

    @program.callback()
    def weights() -> None:
        """See where the weights of backbones are, and download them ahead of time."""

    return program


def backbones(as_json: options.Json = False) -> None:
    """List the backbones, whose features a field can be fitted to, and the view encodings.

    **Examples**

    - `voxelfeat backbones`
    - `voxelfeat fit ct.nii.gz -o ct.voxelfeat --backbone sam2.1-tiny --encoding windows3`
    """
    from VoxelFeatLib.backbones.encodings import ENCODINGS
    from VoxelFeatLib.backbones.registry import BACKBONES

    found = {name: availability(name) for name in BACKBONES}
    if as_json:
        listed = [
            {"name": name, "available": available, "reason": reason}
            for name, (available, reason) in found.items()
        ]
        print_json({"backbones": listed, "encodings": list(ENCODINGS)})
        return
    table = Table("backbone", "can be used", "why not")
    for name, (available, reason) in found.items():
        table.add_row(name, "yes" if available else "no", reason)
    print_table(table)
    say(f"View encodings of the SAM 2.1 ones: {', '.join(ENCODINGS)}.")


def list_weights(as_json: options.Json = False) -> None:
    """List the weights that can be downloaded, and which are here.

    **Examples**

    - `voxelfeat weights list`
    - `voxelfeat weights list --json`
    """
    states = {name: _state(weights) for name, weights in CATALOGUE.items()}
    if as_json:
        listed = [
            {
                "name": name,
                "file": weights.file,
                "bytes": weights.bytes,
                "sha256": weights.sha256,
                "url": weights.url,
                "state": states[name],
            }
            for name, weights in CATALOGUE.items()
        ]
        print_json({"folder": str(weights_folder()), "weights": listed})
        return
    table = Table("backbone", "file", "MB", "state")
    for name, weights in CATALOGUE.items():
        table.add_row(name, weights.file, str(weights.megabytes), states[name])
    print_table(table)
    say(f"They lie in {weights_folder()}")


def download(name: Name, mirror: options.Mirror = "") -> None:
    """Download weights, verified; run it again to go on where it was stopped.

    **Examples**

    - `voxelfeat weights download sam2.1-tiny`
    - `voxelfeat weights download sam2.1-tiny --mirror https://intranet.example/sam2`
    """
    print(fetch(_named(name), mirror))


def path(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of a backbone; the folder if left out.")
    ] = "",
) -> None:
    """Print the folder of the weights, or the file of one of them, whether it is there or not.

    **Examples**

    - `cp sam2.1_hiera_tiny.pt "$(voxelfeat weights path sam2.1-tiny)"`
    """
    print(weights_folder() / _named(name).file if name else weights_folder())


def fetch(weights: OfficialWeights, mirror: str) -> str:
    """Return the file of official weights; behind a bar they are downloaded where they are not.

    Raises:
        WeightsError: They cannot be had.
        Cancelled: Ctrl-C was pressed; the next time goes on from there.
    """
    if (found := find_weights(weights)) is not None:
        return str(found)
    with bar(f"Downloading {weights.file}") as shown, ctrl_c() as pressed:

        def show(progress: DownloadProgress) -> None:
            megabytes = f"{progress.bytes / 1e6:.0f} of {progress.total / 1e6:.0f} MB"
            shown.update(
                progress.bytes,
                progress.total,
                seconds_left=progress.seconds_left,
                detail=megabytes,
            )

        settings = DownloadSettings(mirror=mirror, progress=show, cancelled=pressed)
        return str(obtain_weights(weights, settings))


def need(backbone: str, mirror: str) -> None:
    """Have everything that a backbone needs on this machine.

    Raises:
        WeightsError: Packages are missing, or weights cannot be had.
        Cancelled: Ctrl-C was pressed while they were downloaded.
    """
    check_available(backbone)
    if backbone in CATALOGUE:
        fetch(CATALOGUE[backbone], mirror)


def _named(name: str) -> OfficialWeights:
    try:
        return CATALOGUE[name]
    except KeyError:
        raise InputError(
            f"There are no weights named “{name}”; choose one of: {', '.join(CATALOGUE)}."
        ) from None


def _state(weights: OfficialWeights) -> str:
    try:
        return "missing" if find_weights(weights) is None else "installed"
    except WeightsError:
        return "damaged"
