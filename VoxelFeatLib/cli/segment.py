"""`voxelfeat segment`: from clicks in files to segments."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import bar
from VoxelFeatLib.cli.files import open_masks, open_volume, write_masks
from VoxelFeatLib.cli.report import describe, print_segments
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.writing import SegmentMask
from VoxelFeatLib.segmenting.clicks import Click, CoordinateSystem, read_clicks

Files = list[Path]


def segment(
    field: options.FieldFile,
    volume: options.VolumeFile,
    output: options.SegmentationOutput,
    positive: Annotated[
        Files | None,
        typer.Option(
            "--positive",
            "-p",
            metavar="PATH",
            help="Points inside: .mrk.json or .csv; may be repeated.",
        ),
    ] = None,
    negative: Annotated[
        Files | None,
        typer.Option("--negative", "-n", metavar="PATH", help="Points outside; may be repeated."),
    ] = None,
    clicks: Annotated[
        Files | None,
        typer.Option(
            "--clicks",
            "-c",
            metavar="PATH",
            help="Points inside, with labels that start with +, and outside, with -.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The segment's name; the output's name if left out."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="One more segment, with the points inside it; they are outside all others. "
            "May be repeated.",
        ),
    ] = None,
    coordinates: Annotated[
        str | None,
        typer.Option(metavar="RAS|LPS", help="Coordinate system of tables with columns x, y, z."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            metavar="R,A,S,R,A,S",
            help="Two opposite corners in mm (RAS); everything outside stays as it is.",
        ),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Existing mask of the segment to start from."),
    ] = None,
    everywhere: Annotated[
        bool,
        typer.Option("--everywhere", help="Keep parts that no positive click touches, too."),
    ] = False,
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="Print the places where one more click would tell most."),
    ] = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    series: options.Series = None,
    fill: options.Fill = None,
    as_json: options.Json = False,
) -> None:
    """Segment by clicks that were saved to files.

    **Examples**

    - `voxelfeat segment ct.voxelfeat -v ct.nii.gz -p in.mrk.json -n out.mrk.json -o liver.seg.nrrd`
    - `voxelfeat segment ct.voxelfeat -v ct.nii.gz --name liver -p liver.csv --also spleen=sp.csv
      -o organs.seg.nrrd`
    """
    options.segmentation_path(output)
    name = name or output.name.split(".")[0]
    system = options.coordinate_system(coordinates)
    corners = options.corners(box) if box else None
    own = read_clicks(
        positive=positive or (), negative=negative or (), labelled=clicks or (), system=system
    )
    asked = _asked(name, own, also or [], system)
    if start_from is None and not any(c.positive for points in asked.values() for c in points):
        raise InputError("There is no positive click; give at least one with --positive.")

    # torch loads only now, after everything that can be wrong in the arguments
    from VoxelFeatLib.cli.fields import open_field
    from VoxelFeatLib.segmenting.extent import box_of_ras
    from VoxelFeatLib.segmenting.segment import check_consistent
    from VoxelFeatLib.segmenting.session import Session

    image = open_volume(volume, series=series, fill=fill)
    masks = open_masks(start_from, image.geometry) if start_from else []
    if len(masks) > 1:
        raise InputError(f"{start_from} has {len(masks)} segments; start from a file with one.")
    session = Session(image, open_field(field, image, device), seed=seed)
    extent = box_of_ras(corners, image.geometry) if corners else None
    for title, points in asked.items():
        session.set_segment(
            title,
            points,
            box=extent,
            base_mask=masks[0].mask if masks and title == name else None,
            locality=not everywhere,
        )
    check_consistent(asked, image.geometry)
    made, rows = [], []
    for wanted in session.segments:
        began = time.perf_counter()
        with bar(f"Segmenting {wanted.name}"):
            deque(session.update(wanted.name), maxlen=0)
        made.append(SegmentMask(wanted.name, session.mask(wanted.name), wanted.color))
        rows.append(describe(made[-1], image.geometry, time.perf_counter() - began))
    write_masks(output, made, image.geometry)
    found = {each.name: session.suggestions(each.name) for each in session.segments}
    print_segments(output, rows, found if suggest else None, as_json=as_json)


def _asked(
    name: str, own: list[Click], also: list[str], system: CoordinateSystem | None
) -> dict[str, list[Click]]:
    """The clicks of every segment, by its name."""
    asked = {name: own} if own or not also else {}
    for other, file in map(options.named_file, also):
        if other in asked:
            raise InputError(f"Two segments are named “{other}”; give each its own name.")
        asked[other] = read_clicks(positive=[file], system=system)
    return asked
