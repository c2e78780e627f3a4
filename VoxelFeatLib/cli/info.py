"""`voxelfeat info` and `voxelfeat presets`: what a file holds, what a fit can be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Column, Table
from rich.text import Text

from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import print_json, print_table
from VoxelFeatLib.cli.files import open_volume
from VoxelFeatLib.cli.report import heldout_table
from VoxelFeatLib.imaging.geometry import Geometry

if TYPE_CHECKING:
    from VoxelFeatLib.fitting.presets import Preset


def info(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A field file, a volume, or a DICOM folder.")
    ],
    series: options.Series = None,
    fill: options.Fill = None,
    as_json: options.Json = False,
) -> None:
    """Say what a field file or a volume holds.

    **Examples**

    - `voxelfeat info ct.voxelfeat`
    - `voxelfeat info ct.nii.gz --json`
    """
    if path.name.endswith(options.FIELD_ENDINGS):
        described = _field(path)
    else:
        described = _volume(path, series, fill)
    if as_json:
        print_json(described)
        return
    heldout = _taken_heldout(described.get("fit", {}))
    table = Table(title=_plain(path.name), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in _flat(described).items():
        if value != []:
            table.add_row(_plain(key), _plain(_words(value)))
    print_table(table)
    if heldout is not None:
        print_table(heldout)


def presets(as_json: options.Json = False) -> None:
    """List the fit presets with all their numbers.

    **Examples**

    - `voxelfeat presets`
    - `voxelfeat presets --json`
    """
    from VoxelFeatLib.fitting.presets import PRESETS

    numbers = {name: _numbers(preset) for name, preset in PRESETS.items()}
    if as_json:
        print_json(numbers)
        return
    columns = [_flat(preset) for preset in numbers.values()]
    table = Table(
        Column(no_wrap=True),
        *(Column(column.pop("name"), overflow="fold") for column in columns),
    )
    names = Table.grid(padding=(0, 2))
    for name, column in zip(PRESETS, columns, strict=True):
        names.add_row(name, column.pop("summary"))
    print_table(names)
    for key in dict.fromkeys(key for column in columns for key in column):
        table.add_row(key, *(_words(column.get(key, "")) for column in columns))
    print_table(table)


def _numbers(preset: Preset) -> dict[str, Any]:
    """Return a preset without what only the other kind of network reads."""
    from VoxelFeatLib.field.files import jsonable

    numbers: dict[str, Any] = jsonable(preset)
    if preset.network == "grid":
        del numbers["objective"], numbers["nfnet"]
    else:
        # The field is compared with upsampled slices, whatever its network.
        numbers["grid"] = {"slices": numbers["grid"]["slices"]}
    return numbers


def _field(path: Path) -> dict[str, Any]:
    from VoxelFeatLib.field.files import jsonable, read_header

    header = read_header(path)
    return {
        "kind": header.kind,
        "backbone": header.backbone,
        "fingerprint": header.fingerprint,
        "network": header.network,
        "levels": jsonable(header.levels),
        "volume_sha256": header.volume_sha256,
        **_geometry(header.geometry),
        "fit": header.record,
    }


def _taken_heldout(record: dict[str, Any]) -> Table | None:
    """Lay out a fit's held-out measure, and take from its record what that table says better.

    A record is free to be edited; what is not as a fit writes it stays among the other entries.
    """
    match record.get("settings"):
        case {"preset": {"name": str(name)}}:
            # Its many numbers are `voxelfeat presets`'s to show.
            record["settings"] = {**record["settings"], "preset": name}
    try:
        table = heldout_table(record["heldout"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    del record["heldout"]
    return table if table.row_count else None


def _volume(path: Path, series: str | None, fill: float | None) -> dict[str, Any]:
    volume = open_volume(path, series=series, fill=fill)
    return {
        "kind": "volume",
        "name": volume.name,
        "modality": volume.modality,
        "voxel_type": str(volume.voxels.dtype),
        "range": [float(volume.voxels.min()), float(volume.voxels.max())],
        "sha256": volume.sha256(),
        "notes": list(volume.notes),
        **_geometry(volume.geometry),
    }


def _geometry(geometry: Geometry) -> dict[str, Any]:
    return {
        "voxels_ijk": list(geometry.shape_kji[::-1]),
        "spacing_ijk_mm": np.round(geometry.spacing, 6).tolist(),
        "centre_ras_mm": np.round(geometry.centre_ras, 6).tolist(),
        "ijk_to_ras": geometry.ijk_to_ras.tolist(),
    }


def _flat(nested: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Turn nested mappings into one, with the keys' words one after the other."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{above} {key}".strip().replace("_", " ")
        flat.update(_flat(value, name) if isinstance(value, Mapping) else {name: value})
    return flat


def _words(value: Any) -> str:
    if isinstance(value, float) and 1 <= abs(value) < 1_000_000:
        return f"{value:.3f}".rstrip("0").rstrip(".")  # micrometres, where it is a position
    if isinstance(value, float) or (isinstance(value, int) and 1_000_000 <= value < 10**18):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ("\n" if value and isinstance(value[0], list | dict) else ", ").join(
            map(_words, value)
        )
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(part)}" for key, part in value.items())
    return str(value)


def _plain(text: str) -> Text:
    """Show what a file says as it is: neither rich nor the terminal reads commands in it."""
    lines = (line if line.isprintable() else ascii(line)[1:-1] for line in text.split("\n"))
    return Text("\n".join(lines))
