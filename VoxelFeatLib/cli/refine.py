"""`voxelfeat refine`: a coarse mask moved to the borders that the field sees."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import bar
from VoxelFeatLib.cli.files import open_volume, read_masks, write_masks
from VoxelFeatLib.cli.report import describe, print_segments
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.writing import SegmentMask


def refine(
    field: options.FieldFile,
    volume: options.VolumeFile,
    mask: Annotated[
        Path,
        typer.Option(
            "--mask", "-m", metavar="PATH", help="Coarse labelmap or .seg.nrrd, on any voxels."
        ),
    ],
    output: options.SegmentationOutput,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Refine only this segment (or label number); repeatable."
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            metavar="prior|paper",
            help="prior keeps to the mask where the field does not know better; paper is the "
            "published protocol.",
        ),
    ] = "prior",
    coarse_mm: Annotated[
        float | None,
        typer.Option(
            min=0.0, metavar="MM", help="Edge of the mask's coarse voxels, if it cannot be seen."
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    series: options.Series = None,
    fill: options.Fill = None,
    as_json: options.Json = False,
) -> None:
    """Refine a coarse segmentation.

    **Examples**

    - `voxelfeat refine ct.voxelfeat -v ct.nii.gz -m coarse.nii.gz -o fine.seg.nrrd`
    - `voxelfeat refine ct.voxelfeat -v ct.nii.gz -m coarse.seg.nrrd --only liver -o liver.nii.gz`
    """
    options.segmentation_path(output)
    chosen = _mode(mode)

    # torch loads only now, after everything that can be wrong in the arguments
    from VoxelFeatLib.cli.fields import open_field
    from VoxelFeatLib.segmenting.refinement import refine_steps

    image = open_volume(volume, series=series, fill=fill)
    coarse, coarse_geometry = read_masks(mask)
    coarse = _only(coarse, only or [], mask)
    opened = open_field(field, image, device)
    made, rows = [], []
    for segment in coarse:
        began = time.perf_counter()
        with bar(f"Refining {segment.name}") as progress:
            for step in refine_steps(
                image,
                opened,
                segment.mask,
                coarse_geometry,
                mode=chosen,
                coarse_mm=coarse_mm,
                seed=seed,
            ):
                progress.update(step.fraction, 1.0, detail=step.stage)
        if step.mask is None:  # the last step carries it
            raise AssertionError
        made.append(replace(segment, mask=step.mask))
        seconds = time.perf_counter() - began
        weight = {"field_weight": step.trust} if chosen == "prior" else {}  # paper knows no prior
        rows.append(describe(made[-1], image.geometry, seconds, **weight))
    write_masks(output, made, image.geometry)
    print_segments(output, rows, as_json=as_json)


def _mode(text: str) -> Literal["prior", "paper"]:
    match text:
        case "prior":
            return "prior"
        case "paper":
            return "paper"
        case _:
            raise InputError(f"There is no mode “{text}”; choose prior or paper.")


def _only(segments: list[SegmentMask], names: list[str], path: Path) -> list[SegmentMask]:
    known = [segment.name for segment in segments]
    # The labels of a labelmap go by their numbers, too.
    names = [f"Label {name}" if name.isdecimal() and name not in known else name for name in names]
    for name in names:
        if name not in known:
            raise InputError(f"{path} has no segment “{name}”; it has {', '.join(known)}.")
    return [segment for segment in segments if not names or segment.name in names]
