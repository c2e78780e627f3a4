"""How our figures look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
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


def hang(ax: Axes, *, grid: Literal["both", "y"] = "both") -> None:
    """Give axes our colours, and a grid behind what is drawn."""
    ax.set_facecolor(BACKGROUND)
    ax.tick_params(colors=FAINT)
    ax.grid(axis=grid, color=FAINT, alpha=0.22, linewidth=0.7)
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_color(FAINT)
        spine.set_alpha(0.5)


def legend_below(
    figure: Figure, handles: Sequence[Artist], names: Sequence[str], columns: int
) -> None:
    """Put a legend below everything, in so many columns at most."""
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=min(len(names), columns),
        frameon=False,
        labelcolor=TEXT,
        fontsize=12,
    )


def title(figure: Figure, text: str) -> None:
    """Write a title above everything."""
    figure.suptitle(text, color=TEXT, fontsize=14, fontweight="bold")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG.

    Raises:
        InputError: The file cannot be written.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, facecolor=BACKGROUND)
