"""`voxelfeat features` and `voxelfeat supervoxels`: what the field sees in a volume."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import bar, print_json, say
from VoxelFeatLib.cli.files import open_volume
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import write_colors, write_labelmap, write_volume

if TYPE_CHECKING:
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.aliases import Position

# Voxels compared between two steps of the bar.
_VOXELS_AT_ONCE = 1 << 18


def features(
    field: options.FieldFile,
    volume: options.VolumeFile,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="R,A,S", help="Print the features at this position as CSV; may be repeated."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write an image: the three principal components as red, green and blue.",
        ),
    ] = None,
    similar_to: Annotated[
        str | None,
        typer.Option(
            metavar="R,A,S",
            help="Write instead how alike every voxel is to this position, -1 to 1.",
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    series: options.Series = None,
    fill: options.Fill = None,
    as_json: options.Json = False,
) -> None:
    """Look at the features: as numbers, as colours, as likeness to a position.

    **Examples**

    - `voxelfeat features ct.voxelfeat -v ct.nii.gz --at 12.5,-40,88 --json`
    - `voxelfeat features ct.voxelfeat -v ct.nii.gz -o colours.nrrd`
    - `voxelfeat features ct.voxelfeat -v ct.nii.gz --similar-to 12.5,-40,88 -o alike.nrrd`
    """
    positions = [options.position(text) for text in at or []]
    alike = options.position(similar_to) if similar_to else None
    if bool(positions) == (output is not None):
        raise InputError("Ask either for numbers with --at or for an image with --output.")
    if positions and alike:
        raise InputError("--similar-to makes an image; give it with --output, not with --at.")
    if output is not None:
        options.image_path(output)

    # torch loads only now, after everything that can be wrong in the arguments
    from VoxelFeatLib.cli.fields import open_field

    image = open_volume(volume, series=series, fill=fill)
    opened = open_field(field, image, device)
    if output is None:
        _print_features(image, opened, positions, as_json=as_json)
        return
    if alike is None:
        _write_colors(output, image, opened, seed)
    else:
        _write_similarity(output, image, opened, alike)
    if as_json:
        print_json({"output": str(output)})


def supervoxels(
    field: options.FieldFile,
    volume: options.VolumeFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help=".nrrd, .nii.gz or .mha.")
    ],
    count: Annotated[int, typer.Option(min=2, help="About so many supervoxels.")] = 200,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    series: options.Series = None,
    fill: options.Fill = None,
    as_json: options.Json = False,
) -> None:
    """Divide a volume into regions of like features; air around the body is 0.

    **Example**

    - `voxelfeat supervoxels ct.voxelfeat -v ct.nii.gz --count 300 -o supervoxels.nrrd`
    """
    options.image_path(output)

    from VoxelFeatLib.cli.fields import open_field
    from VoxelFeatLib.segmenting import supervoxels as clustering

    image = open_volume(volume, series=series, fill=fill)
    opened = open_field(field, image, device)
    began = time.perf_counter()
    with bar("Clustering"):
        labels = clustering.supervoxels(image, opened, count=count, seed=seed)
    write_labelmap(output, labels, image.geometry)
    made = len(np.unique(labels[labels > 0]))
    if as_json:
        seconds = round(time.perf_counter() - began, 3)
        print_json({"output": str(output), "supervoxels": made, "seconds": seconds})
    else:
        say(f"{made} supervoxels in {output}")


def _print_features(
    image: Volume, field: FeatureField, positions: list[Position], *, as_json: bool
) -> None:
    from VoxelFeatLib.segmenting.samples import samples_at

    outside = [p for p in positions if not image.geometry.contains(p)]
    if outside:
        where = ", ".join(f"{value:g}" for value in outside[0])
        raise InputError(f"{where} lies outside the volume.", image.geometry.bounds_text())
    rows = samples_at(field, image, positions).tolist()
    if as_json:
        names = [{"name": level.name, "channels": level.channels} for level in field.levels]
        at = [
            {"ras": list(position), "features": row[:-1], "intensity": row[-1]}
            for position, row in zip(positions, rows, strict=True)
        ]
        print_json({"levels": names, "at": at})
        return
    channels = [f"{level.name}_{n}" for level in field.levels for n in range(level.channels)]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["r", "a", "s", *channels, "intensity"])
    table.writerows([*position, *row] for position, row in zip(positions, rows, strict=True))


def _write_colors(output: Path, image: Volume, field: FeatureField, seed: int) -> None:
    from VoxelFeatLib.segmenting.projection import colors_of

    shape = image.geometry.shape_kji
    colors = np.empty((*shape, 3), dtype=np.uint8)
    with bar("Colouring") as progress:
        for planes, part in colors_of(field, seed):
            colors[planes] = part
            progress.update(planes.stop, shape[0])
    write_colors(output, colors, image.geometry)


def _write_similarity(output: Path, image: Volume, field: FeatureField, alike: Position) -> None:
    from VoxelFeatLib.field.lattice import Lattice
    from VoxelFeatLib.segmenting.similarity import similarity
    from VoxelFeatLib.segmenting.statistics import FeatureStatistics

    whole = Lattice.of_voxels((0, 0, 0), image.geometry.shape_kji)
    cosines = np.empty(whole.shape_kji, dtype=np.float32)
    with bar("Comparing") as progress:
        statistics = FeatureStatistics.of(field, image)
        for planes, slab in whole.slabs(_VOXELS_AT_ONCE):
            cosines[planes] = similarity(image, field, alike, slab, statistics)
            progress.update(planes.stop, whole.shape_kji[0])
    write_volume(output, Volume(cosines, image.geometry, "other", f"like {image.name}"))
