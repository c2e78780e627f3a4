"""Dots of the results, label by label.

Dots and not bars: what matters are differences between methods, so the scale of the Dice does not
begin at 0, and a bar that is cut off below shows ratios that are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from VoxelFeatLib.evaluation.grouping import labels_of, methods_of
from VoxelFeatLib.evaluation.refinement.published import published_dice
from VoxelFeatLib.evaluation.refinement.summary import Line
from VoxelFeatLib.evaluation.style import (
    BACKGROUND,
    FAINT,
    METHOD_COLORS,
    TEXT,
    hang,
    legend_below,
    save,
    title,
)

# The width of a label's dots together, of the distance between labels.
_GROUP = 0.7
_INCHES_A_DOT = 0.28
# Of a legend's entry.
_INCHES_A_LETTER = 0.1
_INCHES_A_HANDLE = 0.75
# matplotlib and what shows PNGs end at some ten thousand pixels.
_WIDEST = 90.0
# Of the methods in their order, beside their colours.
_MARKERS = "osD^vPXh"


def draw_dots(path: str | Path, found: Sequence[Line], titles: Mapping[str, str]) -> None:
    """Write a PNG: Dice above, HD95 below, a group of dots for each label.

    Thin lines are a standard deviation over several targets, hollow dots what the paper reports.

    Args:
        path: The PNG file.
        found: Lines of labels, and of all together.
        titles: Of the methods, by name.

    Raises:
        InputError: The file cannot be written.
    """
    methods, labels = methods_of(found), labels_of(found)
    width = _INCHES_A_DOT * len(labels) * len(methods) / _GROUP
    figure = Figure(
        (min(max(9.0, width + 1.0), _WIDEST), 8.0),
        facecolor=BACKGROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    dice, distance = figure.subplots(2, 1, sharex=True)
    _draw(dice, found, titles, lambda line: (line.mean.dice, line.deviation.dice))
    _draw(distance, found, titles, lambda line: (line.mean.hd95_mm, line.deviation.hd95_mm))
    published = _draw_published(dice, methods, labels)
    lowest = min([line.mean.dice - line.deviation.dice for line in found] + published)
    bottom = max(0.0, np.floor(20 * lowest - 0.5) / 20)
    dice.set_ylim(bottom - 0.01, 1.01)
    dice.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    distance.set_ylim(bottom=0)
    dice.set_title("Dice (larger is better)", color=TEXT, fontsize=12, pad=6)
    dice.set_ylabel(f"Dice, from {bottom:.2f} up" if bottom else "Dice", color=TEXT, fontsize=11)
    distance.set_title("HD95 (smaller is better)", color=TEXT, fontsize=12, pad=6)
    distance.set_ylabel("mm", color=TEXT, fontsize=11)
    distance.set_xticks(range(len(labels)), labels, rotation=25 if len(labels) > 8 else 0)
    distance.set_xlim(-0.5, len(labels) - 0.5)
    handles, names = dice.get_legend_handles_labels()
    if published:
        handles = [*handles, Line2D([], [], color=TEXT, marker="o", mfc="none", linestyle="none")]
        names = [*names, "hollow: the paper's, other cases"]
    widest = _INCHES_A_LETTER * max(map(len, names)) + _INCHES_A_HANDLE
    legend_below(figure, handles, names, max(1, int(figure.get_figwidth() / widest)))
    title(figure, "Refinement of coarse masks")
    save(figure, path)


def _draw(
    ax: Axes,
    found: Sequence[Line],
    titles: Mapping[str, str],
    value: Callable[[Line], tuple[float, float]],
) -> None:
    methods, labels = methods_of(found), labels_of(found)
    for number, method in enumerate(methods):
        lines = [line for line in found if line.method == method]
        places = [_place(labels.index(line.label), number, len(methods)) for line in lines]
        heights, spreads = zip(*map(value, lines), strict=True)
        ax.errorbar(
            places,
            heights,
            yerr=spreads if any(spreads) else None,
            **_looks(number),
            linestyle="none",
            elinewidth=1.2,
            markersize=6.5,
            label=titles[method],
            zorder=3,
        )
    hang(ax, grid="y")
    for border in range(1, len(labels)):
        ax.axvline(border - 0.5, color=FAINT, alpha=0.3, linewidth=0.7)
    ax.tick_params(labelsize=10)
    ax.tick_params(axis="x", length=0, labelcolor=TEXT)


def _draw_published(ax: Axes, methods: Sequence[str], labels: Sequence[str]) -> list[float]:
    """Draw hollow dots where the paper has the same structure and method; return their heights."""
    drawn = []
    for position, label in enumerate(labels):
        for method, height in published_dice(label).items():
            if method in methods:
                number = methods.index(method)
                x = _place(position, number, len(methods))
                ax.plot(x, height, **_looks(number), mfc="none", mew=1.6, markersize=9, zorder=4)
                drawn.append(height)
    return drawn


def _looks(number: int) -> dict[str, Any]:
    return {
        "color": METHOD_COLORS[number % len(METHOD_COLORS)],
        "marker": _MARKERS[number % len(_MARKERS)],
    }


def _place(position: int, number: int, count: int) -> float:
    return position + _GROUP * ((number + 0.5) / count - 0.5)
