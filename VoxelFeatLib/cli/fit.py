"""`voxelfeat fit`: from a volume to its field file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import Bar, bar, ctrl_c, duration, print_json, print_table, say
from VoxelFeatLib.cli.files import open_volume
from VoxelFeatLib.cli.report import heldout_table
from VoxelFeatLib.cli.weights import need
from VoxelFeatLib.errors import Cancelled

if TYPE_CHECKING:
    from VoxelFeatLib.fitting.fitter import Fitter
    from VoxelFeatLib.fitting.progress import FitProgress

# Seconds of work that a killed fit may lose.
_CHECKPOINT_SECONDS = 60.0


def fit(
    volume: Annotated[
        Path,
        typer.Argument(metavar="VOLUME", help="NIfTI, NRRD or MHA file, or a DICOM folder."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="Field file, .voxelfeat.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="See `voxelfeat presets`; auto is balanced on a GPU, small-gpu where it has less "
            "than 10 GB free and on a Mac's, and fast on a CPU.",
        ),
    ] = "auto",
    backbone: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Whose features: see `voxelfeat backbones`, or a checkpoint's path. filters needs "
            "no download.",
        ),
    ] = "filters",
    input_size: options.InputSize = None,
    encoding: options.Encoding = "",
    mirror: options.Mirror = "",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Save the unfinished fit here every minute, and on Ctrl-C."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Go on from such a file, with the same settings, and keep it."
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    series: options.Series = None,
    fill: options.Fill = None,
    as_json: options.Json = False,
) -> None:
    """Fit a field to a volume; afterwards every click takes a moment.

    **Examples**

    - `voxelfeat fit ct.nii.gz -o ct.voxelfeat`
    - `voxelfeat fit dicom_folder -o ct.voxelfeat --preset balanced --checkpoint ct.checkpoint`
    - `voxelfeat fit dicom_folder -o ct.voxelfeat --preset balanced --resume ct.checkpoint`
    - `voxelfeat fit ct.nii.gz -o ct.voxelfeat --backbone sam2.1-tiny --input-size 512`
    - `voxelfeat fit ct.nii.gz -o ct.voxelfeat --backbone medsam2.pt --encoding fve1`
    """
    options.field_path(output)
    kept = checkpoint or resume
    if kept is not None:
        options.checkpoint_path(kept)

    # torch loads only now, after everything that can be wrong in the arguments
    from VoxelFeatLib.backbones.registry import BackboneOptions, create_backbone
    from VoxelFeatLib.devices.choice import device_named
    from VoxelFeatLib.devices.memory import free_memory
    from VoxelFeatLib.field.files import save_field
    from VoxelFeatLib.fitting.default_preset import default_preset
    from VoxelFeatLib.fitting.fitter import Fitter
    from VoxelFeatLib.fitting.presets import preset_named

    place = device_named(device)
    if preset == "auto":
        preset = default_preset(place)
    numbers = preset_named(preset)
    image = open_volume(volume, series=series, fill=fill)
    need(backbone, mirror)
    network = create_backbone(backbone, image, BackboneOptions(place, encoding, input_size))
    if resume is None:
        fitter = Fitter(image, network, numbers, seed=seed)
    else:
        fitter = Fitter.resume(resume, image, network, numbers, seed=seed)
    say(
        f"This needs about {fitter.memory / 1e9:.1f} GB of memory; "
        f"{free_memory(place) / 1e9:.1f} GB are free."
    )
    ready = run_fit(fitter, kept)
    save_field(output, fitter.field, image, fitter.record)
    _report(output, fitter, ready, as_json=as_json)


def run_fit(fitter: Fitter, checkpoint: Path | None = None) -> float:
    """Fit to the end behind a bar; return the seconds until the first click was possible.

    Raises:
        Cancelled: Ctrl-C was pressed; the checkpoint, where one is wanted, was written.
    """
    began = saved = time.perf_counter()
    ready = 0.0
    usable = False
    with bar("Fitting") as shown, ctrl_c() as pressed:
        for progress in fitter:
            now = time.perf_counter()
            if progress.usable and not usable:
                usable, ready = True, now - began
            _show(shown, progress)
            if pressed():
                _stop(fitter, checkpoint if usable else None)
            if checkpoint and usable and now - saved > _CHECKPOINT_SECONDS:
                fitter.checkpoint(checkpoint)
                saved = time.perf_counter()
    return ready


def _show(shown: Bar, progress: FitProgress) -> None:
    words = progress.stage
    if progress.heldout:
        cosines = [level["cosine"] for level in progress.heldout.values()]
        words += f", held-out agreement {sum(cosines) / len(cosines):.3f}"
    shown.update(progress.fraction, 1.0, seconds_left=progress.seconds_left, detail=words)


def _stop(fitter: Fitter, checkpoint: Path | None) -> None:
    if checkpoint is None:
        raise Cancelled("Cancelled; nothing was written.")
    fitter.checkpoint(checkpoint)
    raise Cancelled(f"Cancelled; go on with the same command and --resume {checkpoint}")


def _report(output: Path, fitter: Fitter, ready: float, *, as_json: bool) -> None:
    record = fitter.record
    if as_json:
        print_json(
            {
                "output": str(output),
                "volume": fitter.volume.name,
                "backbone": fitter.backbone.name,
                "preset": record["settings"]["preset"]["name"],
                "device": record["device"],
                "steps": record["step"],
                "seconds": record["seconds"],
                "ready_seconds": round(ready, 2),
                "heldout": record["heldout"],
            }
        )
        return
    print_table(heldout_table(record["heldout"]))
    say(
        f"Fitted in {duration(record['seconds'])}; clicks were possible after {duration(ready)}. "
        f"The field is in {output}"
    )
