"""Curves of the results over the clicks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from VoxelFeatLib.evaluation.clicks.summary import Line
from VoxelFeatLib.evaluation.grouping import ALL, labels_of, methods_of
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

_MARKERS = "osD^v<>P"
_COLUMNS = 6


def draw_curves(path: str | Path, found: Sequence[Line]) -> None:
    """Write a PNG: mean Dice and HD95 over the clicks, and below the Dice of every label.

    Args:
        path: The PNG file.
        found: Lines of all labels together, and of each where there are several.

    Raises:
        InputError: The file cannot be written.
    """
    looks = {name: n % len(METHOD_COLORS) for n, name in enumerate(methods_of(found))}
    labels = [label for label in labels_of(found) if label != ALL]
    labels = labels if len(labels) > 1 else []
    rows = math.ceil(len(labels) / _COLUMNS)
    figure = Figure(
        (13.0, 5.6 + 2.5 * rows),
        facecolor=BACKGROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    grid = figure.add_gridspec(1 + rows, _COLUMNS, height_ratios=[4.6, *[2.3] * rows])
    whole = [line for line in found if line.label == ALL]
    half = _COLUMNS // 2
    dice = figure.add_subplot(grid[0, :half])
    _draw(dice, {line.method: line.dice for line in whole}, looks, "Dice, mean of all targets")
    _from_zero_to_one(dice)
    distance = figure.add_subplot(grid[0, half:])
    curves = {line.method: line.hd95_mm for line in whole}
    _draw(distance, curves, looks, "HD95 in mm, mean of all targets")
    distance.set_ylim(bottom=0)
    for number, label in enumerate(labels):
        ax = figure.add_subplot(grid[1 + number // _COLUMNS, number % _COLUMNS])
        curves = {line.method: line.dice for line in found if line.label == label}
        _draw(ax, curves, looks, label, small=True)
        _from_zero_to_one(ax)
        if number % _COLUMNS == 0:
            ax.set_ylabel("Dice", color=FAINT, fontsize=9)
    handles, names = dice.get_legend_handles_labels()
    legend_below(figure, handles, names, 6)
    title(figure, "Segmentation after each click")
    save(figure, path)


def _draw(
    ax: Axes,
    curves: Mapping[str, Sequence[float]],
    looks: Mapping[str, int],
    caption: str,
    *,
    small: bool = False,
) -> None:
    for method, values in curves.items():
        look = looks[method]
        ax.plot(
            range(1, len(values) + 1),
            values,
            color=METHOD_COLORS[look],
            marker=None if small else _MARKERS[look],
            markersize=5,
            linewidth=1.5 if small else 2.0,
            label=method,
        )
    ax.set_title(caption, color=TEXT, fontsize=10.5 if small else 12, pad=5)
    hang(ax)
    ax.tick_params(labelsize=8 if small else 10)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5 if small else 10))
    if not small:
        ax.set_xlabel("clicks", color=FAINT, fontsize=11)


def _from_zero_to_one(ax: Axes) -> None:
    ax.set_ylim(0.0, 1.02)
    ax.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
