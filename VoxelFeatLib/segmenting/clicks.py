"""Clicks, and the files that 3D Slicer and spreadsheets keep them in.

Markups files follow Slicer's schema `markups-schema-v1.*.json` as its own reader does
(`vtkMRMLMarkupsJsonStorageNode`): the coordinate system is that of each markup and LPS where it
says nothing, points whose position is not defined yet are left out.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Color, Position
from VoxelFeatLib.imaging.atomic import replacing

CoordinateSystem = Literal["RAS", "LPS"]

MARKUPS_ENDING = ".mrk.json"

_WRITTEN_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)
_SCHEMA = re.compile(r"markups-schema-v1\.\d+\.\d+\.json#*$", re.IGNORECASE)
_POINT_TYPES = ("Fiducial", "Line", "Curve", "ClosedCurve")
_MILLIMETRES: Mapping[str, float] = {"mm": 1.0, "um": 1e-3}
_NOT_PLACED = ("undefined", "preview", "missing")
_SYSTEMS: Mapping[str, CoordinateSystem] = {"RAS": "RAS", "LPS": "LPS", "0": "RAS", "1": "LPS"}
_SIGN = re.compile(r"\s*(?:([+-])|(?:(positive|pos)|negative|neg)(?![^\W\d_]))", re.IGNORECASE)


@dataclass(frozen=True)
class Click:
    """A labelled position.

    Attributes:
        ras: Position in millimetres, RAS.
        positive: Whether the position lies inside the segment.
        label: The point's label in its file; empty where it has none.
    """

    ras: Position
    positive: bool
    label: str = ""


@dataclass(frozen=True)
class _Point:
    ras: Position
    label: str


def read_clicks(
    *,
    positive: Sequence[Path] = (),
    negative: Sequence[Path] = (),
    labelled: Sequence[Path] = (),
    system: CoordinateSystem | None = None,
) -> list[Click]:
    """Read clicks from Slicer markups (`.mrk.json`, `.json`) and tables (`.csv`).

    A table has a header with a column for each coordinate, `r, a, s` or `l, p, s` or, together
    with `system`, `x, y, z`, and if it likes `label` and, as Slicer exports it, `defined`.

    Args:
        positive: Files of which every point is a positive click.
        negative: Files of which every point is a negative click.
        labelled: Files whose points say it themselves: their labels start with `+`, `pos` or
            `positive`, or with `-`, `neg` or `negative`.
        system: The coordinate system of tables with columns `x, y, z`.

    Returns:
        The clicks, in the order of the files and of the points in them.

    Raises:
        InputError: A file cannot be read, or has no point, a position that is not finite, an
            unknown unit or coordinate system, or a label without a sign where one is needed.
    """
    clicks = [Click(p.ras, True, p.label) for path in positive for p in _points(path, system)]
    clicks += [Click(p.ras, False, p.label) for path in negative for p in _points(path, system)]
    clicks += [
        Click(p.ras, _sign(p.label, path), p.label)
        for path in labelled
        for p in _points(path, system)
    ]
    return clicks


def write_clicks(path: Path, clicks: Sequence[Click], *, color: Color | None = None) -> None:
    """Write clicks as a point list that 3D Slicer opens (`.mrk.json`, LPS, mm).

    A click without a label gets its sign and number, such as `+1` or `-3`. Slicer names the list
    after the file.

    Args:
        path: The file.
        clicks: At least one.
        color: Red, green, blue, 0 to 1; Slicer's own choice when None.

    Raises:
        InputError: There are no clicks, another ending, or the file cannot be written.
    """
    if not path.name.lower().endswith(MARKUPS_ENDING):
        raise InputError(f"A point list needs the ending {MARKUPS_ENDING}, not {path}.")
    if not clicks:
        raise InputError(f"There is no click to write to {path}.")
    markup: dict[str, Any] = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": [_control_point(n, click) for n, click in enumerate(clicks, start=1)],
    }
    if color is not None:
        markup["display"] = {"color": list(color), "selectedColor": list(color)}
    document = {"@schema": _WRITTEN_SCHEMA, "markups": [markup]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")


def _control_point(number: int, click: Click) -> dict[str, Any]:
    r, a, s = click.ras
    return {
        "id": str(number),
        "label": click.label or f"{'+' if click.positive else '-'}{number}",
        "position": [-r, -a, s],
        "positionStatus": "defined",
        "selected": True,
        "locked": False,
        "visibility": True,
    }


def _points(path: Path, system: CoordinateSystem | None) -> list[_Point]:
    suffix = path.suffix.lower()
    if suffix == ".json":
        points = list(_markups_points(path))
    elif suffix == ".csv":
        points = list(_table_points(path, system))
    else:
        raise InputError(f"{path} is neither a markups file (.mrk.json) nor a table (.csv).")
    if not points:
        raise InputError(f"{path} has no placed point.")
    return points


def _sign(label: str, path: Path) -> bool:
    match = _SIGN.match(label.replace("−", "-"))
    if match is None:
        raise InputError(
            f"Start the label of point “{label}” in {path} with + or - to say whether it is a "
            "positive or a negative click."
        )
    return match[1] == "+" or match[2] is not None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _ras(values: Iterable[object], system: CoordinateSystem, path: Path) -> Position:
    """Three numbers in `system` as RAS."""
    position = []
    for value in values:
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{path} has a point whose coordinates are not three finite numbers.")
        position.append(number)
    flip = -1.0 if system == "LPS" else 1.0
    return (flip * position[0], flip * position[1], position[2])


# ---------------------------------------------------------------------------- markups


def _markups_points(path: Path) -> Iterator[_Point]:
    try:
        document = json.loads(_text(path))
    except (json.JSONDecodeError, RecursionError):
        raise InputError(f"{path} is not a JSON file, or is cut off.") from None
    markups = document.get("markups") if isinstance(document, dict) else None
    if not isinstance(markups, list) or not all(isinstance(m, dict) for m in markups):
        raise InputError(f"{path} is not a markups file of 3D Slicer: it has no list of markups.")
    schema = document.get("@schema", "")
    if schema and not _SCHEMA.search(str(schema)):
        raise InputError(f"{path} follows another schema than Slicer's markups version 1: {schema}")
    for markup in markups:
        yield from _markup_points(markup, path)


def _markup_points(markup: dict[str, Any], path: Path) -> Iterator[_Point]:
    kind = markup.get("type", "Fiducial")
    if kind not in _POINT_TYPES:
        raise InputError(f"{path} holds a markup of type {kind}; save a point list or a curve.")
    system = _SYSTEMS.get(str(markup.get("coordinateSystem", "LPS")).upper())
    if system is None:
        raise InputError(
            f"{path} uses the coordinate system {markup['coordinateSystem']}; save it in LPS or "
            "RAS."
        )
    scale = _unit(markup.get("coordinateUnits", "mm"), path)
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise InputError(f"{path} has control points that are not a list of points.")
    for point in points:
        if not _is_placed(point.get("positionStatus", "defined"), path):
            continue
        position = point.get("position")
        if not isinstance(position, list) or len(position) != 3:
            position = [math.nan] * 3
        r, a, s = _ras(position, system, path)
        yield _Point((scale * r, scale * a, scale * s), str(point.get("label", "")))


def _unit(unit: object, path: Path) -> float:
    """Millimetres in one unit; coded units are `[code, scheme, meaning]`."""
    code = unit[0] if isinstance(unit, list) and unit else unit
    if not isinstance(code, str) or code not in _MILLIMETRES:
        raise InputError(f"{path} gives its coordinates in the unit {code}; save it in mm.")
    return _MILLIMETRES[code]


def _is_placed(status: object, path: Path) -> bool:
    if status != "defined" and status not in _NOT_PLACED:
        raise InputError(f"{path} has a point with the unknown positionStatus {status}.")
    return status == "defined"


# ---------------------------------------------------------------------------- tables


def _table_points(path: Path, system: CoordinateSystem | None) -> Iterator[_Point]:
    try:
        rows = list(csv.reader(_text(path).splitlines(), skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"{path} is not a table of comma-separated values: {error}.") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    axes, stated = _columns(header, system, path)
    for cells in rows[1:]:
        if any(cell.strip() for cell in cells[len(header) :]):  # perhaps 1,5 for one and a half
            raise InputError(
                f"{path} has a row with more values than the header has columns: {','.join(cells)}",
                "Write numbers with a point, and texts with commas in quotes.",
            )
        row = dict(zip(header, cells, strict=False))
        if row.get("defined", "1").strip() == "0":
            continue
        r, a, s = _ras([row.get(axis) for axis in axes], stated, path)
        yield _Point((r, a, s), row.get("label", "").strip())


def _columns(
    header: Sequence[str], system: CoordinateSystem | None, path: Path
) -> tuple[str, CoordinateSystem]:
    """The names of the coordinate columns, and the coordinate system."""
    named: Mapping[str, CoordinateSystem] = {"ras": "RAS", "lps": "LPS"}
    for axes, of_header in named.items():
        if set(axes) <= set(header):
            if any(header.count(axis) > 1 for axis in axes):
                raise InputError(f"{path} has the columns {', '.join(axes)} more than once.")
            if system not in (None, of_header):
                raise InputError(f"The columns of {path} say {of_header}, the option {system}.")
            return axes, of_header
    if not set("xyz") <= set(header):
        raise InputError(
            f"{path} needs a header line with the columns r, a, s or l, p, s (or x, y, z)."
        )
    if system is None:
        raise InputError(
            f"Say whether {path} is in RAS or LPS: name its columns r, a, s or l, p, s, or give "
            "--coordinates."
        )
    return "xyz", system
