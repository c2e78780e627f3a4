"""A picture of quality over time, one panel a level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _curves import Curve
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from VoxelFeatLib.evaluation.style import BACKGROUND, FAINT, TEXT, save

_COLORS = ("#ffb454", "#4cc2ff", "#37e06b", "#d58cff")


def draw(path: Path, curves: Sequence[Curve], title: str) -> None:
    """Write a PNG: held-out explained variance of each level against seconds."""
    levels = list(curves[0].last.quality)
    figure = Figure(figsize=(4.2 * len(levels), 4), facecolor=BACKGROUND, layout="constrained")
    panels = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for panel, level in zip(panels, levels, strict=True):
        _prepare(panel, level)
        for curve, color in zip(curves, _COLORS, strict=False):
            seconds = [point.seconds for point in curve.points]
            values = [point.quality[level]["explained_variance"] for point in curve.points]
            panel.plot(seconds, values, color=color, marker="o", markersize=3.5, label=curve.title)
    panels[0].set_ylabel("held-out explained variance", color=TEXT)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(curves),
        frameon=False,
        labelcolor=TEXT,
    )
    figure.suptitle(title, color=TEXT, fontsize=13, fontweight="bold")
    save(figure, path)


def _prepare(panel: Axes, level: str) -> None:
    panel.set_facecolor(BACKGROUND)
    panel.set_title(level, color=TEXT, fontsize=11)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("seconds", color=TEXT)
    panel.tick_params(colors=FAINT, which="both")
    panel.grid(visible=True, color=FAINT, alpha=0.25, linewidth=0.6)
    for spine in panel.spines.values():
        spine.set_color(FAINT)
