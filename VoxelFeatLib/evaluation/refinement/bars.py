"""Bars of the results, label by label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from VoxelFeatLib.evaluation.refinement.published import published_dice
from VoxelFeatLib.evaluation.refinement.summary import Line
from VoxelFeatLib.evaluation.refinement.titles import TITLES
from VoxelFeatLib.evaluation.style import (
    BACKGROUND,
    METHOD_COLORS,
    TEXT,
    hang,
    legend_below,
    save,
    title,
)

# The width of a label's bars together, of the distance between labels.
_GROUP = 0.82
_INCHES_A_BAR = 0.3
# matplotlib and what shows PNGs end at some ten thousand pixels.
_WIDEST = 90.0


def draw_bars(path: str | Path, found: Sequence[Line]) -> None:
    """Write a PNG: Dice above, HD95 below, a group of bars for each label.

    Thin lines are a standard deviation over several targets, dashes what the paper reports.

    Args:
        path: The PNG file.
        found: Lines of labels, and of all together.

    Raises:
        InputError: The file cannot be written.
    """
    methods = list(dict.fromkeys(line.method for line in found))
    labels = list(dict.fromkeys(line.label for line in found))
    width = _INCHES_A_BAR * len(labels) * len(methods) / _GROUP
    figure = Figure(
        (min(max(9.0, width + 1.0), _WIDEST), 8.0),
        facecolor=BACKGROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    dice, distance = figure.subplots(2, 1, sharex=True)
    _draw(dice, found, methods, labels, lambda line: (line.mean.dice, line.deviation.dice))
    _draw(
        distance, found, methods, labels, lambda line: (line.mean.hd95_mm, line.deviation.hd95_mm)
    )
    published = _draw_published(dice, methods, labels)
    lowest = min([line.mean.dice - line.deviation.dice for line in found] + published)
    # The differences matter; a scale that starts at 0 would hide them.
    dice.set_ylim(max(0.0, np.floor(10 * lowest - 0.5) / 10), 1.0)
    distance.set_ylim(bottom=0)
    dice.set_title("Dice (larger is better)", color=TEXT, fontsize=12, pad=6)
    distance.set_title("HD95 in mm (smaller is better)", color=TEXT, fontsize=12, pad=6)
    distance.set_xticks(range(len(labels)), labels, rotation=25 if len(labels) > 8 else 0)
    handles, names = dice.get_legend_handles_labels()
    if published:
        dash = Line2D([], [], color="white", linewidth=2.2)
        handles, names = [*handles, dash], [*names, "the paper's, other cases"]
    legend_below(figure, handles, names, 5 if width > 10 else 3)
    title(figure, "Refinement of coarse masks")
    save(figure, path)


def _draw(
    ax: Axes,
    found: Sequence[Line],
    methods: Sequence[str],
    labels: Sequence[str],
    value: Callable[[Line], tuple[float, float]],
) -> None:
    for number, method in enumerate(methods):
        lines = [line for line in found if line.method == method]
        places = [_place(labels.index(line.label), number, len(methods)) for line in lines]
        heights, spreads = zip(*map(value, lines), strict=True)
        ax.bar(
            places,
            heights,
            width=0.92 * _GROUP / len(methods),
            color=METHOD_COLORS[number % len(METHOD_COLORS)],
            yerr=spreads if any(spreads) else None,
            error_kw={"ecolor": TEXT, "elinewidth": 0.9},
            label=TITLES[method],
            zorder=2,
        )
    hang(ax, grid="y")
    ax.tick_params(labelsize=10)
    ax.tick_params(axis="x", length=0, labelcolor=TEXT)


def _draw_published(ax: Axes, methods: Sequence[str], labels: Sequence[str]) -> list[float]:
    """Draw dashes where the paper has the same structure and method; return their heights."""
    half = 0.46 * _GROUP / len(methods)
    drawn = []
    for position, label in enumerate(labels):
        for method, height in published_dice(label).items():
            if method in methods:
                x = _place(position, methods.index(method), len(methods))
                ax.hlines(height, x - half, x + half, color="white", linewidth=2.2, zorder=4)
                drawn.append(height)
    return drawn


def _place(position: int, number: int, count: int) -> float:
    return position + _GROUP * ((number + 0.5) / count - 0.5)
