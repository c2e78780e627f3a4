"""How our figures look."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from VoxelFeatLib.imaging.atomic import replacing

BACKGROUND = "#17171c"
TEXT = "#e8e8ee"
FAINT = "#9a9aa6"
DPI = 110
# Of the methods that are compared, in their order.
METHOD_COLORS = (
    "#37e06b",
    "#ff9f40",
    "#4fb3ff",
    "#d98cff",
    "#ffe14f",
    "#ff6f7d",
    "#7fe9e0",
    "#c8c8d0",
)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG.

    Raises:
        InputError: The file cannot be written.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, facecolor=BACKGROUND)
