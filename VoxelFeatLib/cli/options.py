"""Arguments that several commands share, and the checks of what users type."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Position

SEGMENTATION_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
FIELD_ENDINGS = (".voxelfeat", ".checkpoint")

FieldFile = Annotated[
    Path, typer.Argument(metavar="FIELD", help="Field file, made by `voxelfeat fit`.")
]
VolumeFile = Annotated[
    Path,
    typer.Option(
        "--volume",
        "-v",
        metavar="PATH",
        help="The volume the field was fitted to: NIfTI, NRRD, MHA or a DICOM folder.",
    ),
]
SegmentationOutput = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="PATH", help=".seg.nrrd, .nrrd, .nii.gz or .mha."),
]
Series = Annotated[
    str | None,
    typer.Option(
        metavar="SERIES",
        help="Which series to read where the DICOM folder has several: number, description or UID.",
    ),
]
Fill = Annotated[
    float | None,
    typer.Option(metavar="VALUE", help="Read NaN and infinite voxels as this value."),
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, mps, or auto: a GPU where there is one."),
]
Seed = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, max=2**31 - 1, help="Same input, seed and device: same result."
    ),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        min=32,
        help="Side of the image that the backbone sees; 1024 on a GPU and 512 on a CPU.",
    ),
]
Encoding = Annotated[
    str,
    typer.Option(metavar="NAME", help="What its channels show; see `voxelfeat backbones`."),
]
Mirror = Annotated[
    str,
    typer.Option(
        metavar="URL", help="Folder of the web that has the weights, if not the authors'."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def segmentation_path(path: Path) -> Path:
    """Check, before any long work, that a segmentation can be written there.

    Raises:
        InputError: An unknown ending, or a folder that is not there or cannot be written.
    """
    return _writable(path, SEGMENTATION_ENDINGS)


def image_path(path: Path) -> Path:
    """Check, before any long work, that an image can be written there; raises as above."""
    if path.name.lower().endswith(SEGMENTATION_ENDINGS[0]):
        raise InputError(
            f"{path.name} would be opened as a segmentation, but an image is written.",
            "Leave the .seg out.",
        )
    return _writable(path, IMAGE_ENDINGS)


def field_path(path: Path) -> Path:
    """Check, before any long work, that a field file can be written there; raises as above."""
    return _writable(path, FIELD_ENDINGS[:1])


def checkpoint_path(path: Path) -> Path:
    """Check, before any long work, that a checkpoint can be written there; raises as above."""
    return _writable(path, FIELD_ENDINGS[1:])


def position(text: str) -> Position:
    """Read `R,A,S` in millimetres.

    Raises:
        InputError: It is not three finite numbers.
    """
    r, a, s = _numbers(text, 3, f"“{text}” is no position: write R,A,S in millimetres.")
    return (r, a, s)


def corners(text: str) -> tuple[Position, Position]:
    """Read `R,A,S,R,A,S` in millimetres: two opposite corners of a box.

    Raises:
        InputError: It is not six finite numbers.
    """
    numbers = _numbers(text, 6, f"“{text}” is no box: write two corners, R,A,S,R,A,S, in mm.")
    r0, a0, s0, r1, a1, s1 = numbers
    return (r0, a0, s0), (r1, a1, s1)


def named_file(text: str) -> tuple[str, Path]:
    """Read `NAME=FILE`.

    Raises:
        InputError: The name or the file is missing.
    """
    name, _, file = text.partition("=")
    if not name.strip() or not file.strip():
        raise InputError(f"“{text}” names no segment: write NAME=FILE.")
    return name.strip(), Path(file.strip())


def coordinate_system(text: str | None) -> Literal["RAS", "LPS"] | None:
    """Read the name of a coordinate system, in any case.

    Raises:
        InputError: It is neither RAS nor LPS.
    """
    match text.upper() if text else None:
        case None:
            return None
        case "RAS":
            return "RAS"
        case "LPS":
            return "LPS"
        case _:
            raise InputError(f"“{text}” is no coordinate system: write RAS or LPS.")


def _numbers(text: str, count: int, sentence: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(sentence) from None
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise InputError(sentence)
    return numbers


def _writable(path: Path, endings: Sequence[str]) -> Path:
    if not path.name.lower().endswith(tuple(endings)):
        known = ", ".join(endings)
        which = f"one of the endings {known}" if endings[1:] else f"the ending {known}"
        raise InputError(f"Name the output {path.name} with {which}.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it or choose another.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written; choose another name or folder.")
    return path
