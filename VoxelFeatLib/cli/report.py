"""What commands that make segments say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from VoxelFeatLib.cli.console import duration, print_json, print_table, say
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.writing import SegmentMask
from VoxelFeatLib.segmenting.suggestion import Suggestion

_MEASURES = ("cosine", "explained_variance")
_METHODS = ("field", "upsampling")


def describe(
    segment: SegmentMask, geometry: Geometry, seconds: float, **more: float
) -> dict[str, Any]:
    """Describe a segment for `print_segments`: name, size, seconds it took, and more numbers."""
    voxels = int(np.count_nonzero(segment.mask))
    return {
        "name": segment.name,
        "voxels": voxels,
        "ml": round(voxels * geometry.voxel_ml, 3),
        "seconds": round(seconds, 3),
        **{key: round(value, 4) for key, value in more.items()},
    }


def print_segments(
    output: Path,
    segments: Sequence[dict[str, Any]],
    suggestions: Mapping[str, Sequence[Suggestion]] | None = None,
    *,
    as_json: bool,
) -> None:
    """Print the written segments as a table, or as one JSON object; say which are empty.

    Args:
        output: Where they were written.
        segments: What `describe` says of each.
        suggestions: Of each by its name, printed too.
        as_json: One object instead of tables.
    """
    for segment in segments:
        if not segment["voxels"]:
            say(f"Note: {segment['name']} is empty; nothing there looks like it, or is allowed to.")
    if as_json:
        found = [_with_suggestions(segment, suggestions) for segment in segments]
        print_json({"output": str(output), "segments": found})
        return
    table = Table(title=str(output))
    for number, key in enumerate(segments[0]):
        table.add_column(key.replace("_", " "), justify="right" if number else "left")
    for segment in segments:
        table.add_row(*(_shown(key, value) for key, value in segment.items()))
    print_table(table)
    if suggestions is not None:
        print_table(_suggestion_table(suggestions))


def heldout_table(heldout: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    """Lay the held-out measure out: the field beside trilinear upsampling, level by level.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: It is not as a fit writes it.
    """
    table = Table(title="On views that the fit never saw")
    table.add_column("level")
    for measure in _MEASURES:
        for method in _METHODS:
            table.add_column(f"{measure}\n{method}".replace("_", " "), justify="right")
    for level, methods in heldout.items():
        numbers = [methods[method].get(measure) for measure in _MEASURES for method in _METHODS]
        table.add_row(level, *("" if value is None else f"{value:.3f}" for value in numbers))
    return table


def _with_suggestions(
    segment: dict[str, Any], suggestions: Mapping[str, Sequence[Suggestion]] | None
) -> dict[str, Any]:
    if suggestions is None:
        return segment
    places = [
        {"ras": [round(mm, 3) for mm in place.ras], "doubt": round(place.doubt, 4)}
        for place in suggestions[segment["name"]]
    ]
    return {**segment, "suggestions": places}


def _suggestion_table(suggestions: Mapping[str, Sequence[Suggestion]]) -> Table:
    table = Table(
        title="Where to click next",
        caption="mm; doubt: expected share of wrong voxels around the place",
    )
    table.add_column("name")
    for title in ("R", "A", "S", "doubt"):
        table.add_column(title, justify="right")
    for name, places in suggestions.items():
        for place in places:
            table.add_row(name, *(f"{mm:.1f}" for mm in place.ras), f"{place.doubt:.2f}")
        if not places:
            table.add_row(name, "nowhere", "", "", "")
    return table


def _shown(key: str, value: Any) -> str:
    match key:
        case "name":
            return str(value)
        case "seconds":
            return duration(value)
        case "voxels":
            return f"{value:,}"
        case _:
            return f"{value:.2f}"
