"""Pictures for people: outlines on slices, and feature maps beside the backbone's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from VoxelFeatLib.demo.slices import Orientation, Plane
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.style import BACKGROUND, FAINT, TEXT, save
from VoxelFeatLib.imaging.aliases import Color, FloatArray
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import Window, default_windows
from VoxelFeatLib.segmenting.clicks import Click

_POSITIVE, _NEGATIVE = "#37e06b", "#ff4f5e"
_ORIENTATIONS: tuple[Orientation, ...] = ("axial", "coronal", "sagittal")

# Clicks within this distance of a slice are drawn on it, mm.
_CLICK_REACH = 6.0


@dataclass(frozen=True, eq=False)
class Outlined:
    """A segment to draw.

    Attributes:
        name: For the legend.
        color: Red, green, blue in [0, 1].
        prediction: (K, J, I), non-zero inside; drawn solid.
        reference: The same shape, or None; drawn dashed.
    """

    name: str
    color: Color
    prediction: npt.NDArray[Any]
    reference: npt.NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class LevelColors:
    """Colours of one level's features on a slice.

    Attributes:
        title: Such as "stride 4".
        backbone: (h, w, 3) in [0, 1], the backbone's own cells.
        field: (H, W, 3) in [0, 1], the field at the slice's pixels, same projection.
    """

    title: str
    backbone: npt.NDArray[np.floating[Any]]
    field: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Panel:
    """One slice of a comparison.

    Attributes:
        caption: Above the slice.
        segments: What to outline.
        center: RAS position in the middle of the panel; the slice passes it.
        width_mm: How much of the slice is shown, across and down.
        orientation: Which slice.
    """

    caption: str
    segments: Sequence[Outlined]
    center: Sequence[float]
    width_mm: float
    orientation: Orientation = "axial"


def slices_with_outlines(
    path: str | Path,
    volume: Volume,
    segments: Sequence[Outlined],
    *,
    clicks: Sequence[Click] = (),
    title: str = "",
    center: Sequence[float] | None = None,
    window: Window | None = None,
) -> None:
    """Write a PNG: axial, coronal and sagittal slice with outlines and clicks, in true proportion.

    A volume in any orientation is hung as in Slicer, along its own axes.

    Args:
        path: The PNG file.
        volume: The image.
        segments: What to outline; may be empty.
        clicks: Drawn as + and - where they are within 6 mm of a slice.
        title: Above the slices.
        center: RAS position that the slices pass; default where the segments show the most.
        window: Grey levels; default that of the volume.

    Raises:
        InputError: A mask is not of the volume's shape, or the file cannot be written.
    """
    for mask in (m for s in segments for m in (s.prediction, s.reference) if m is not None):
        if mask.shape != volume.voxels.shape:
            raise InputError(
                f"A mask of shape {mask.shape} does not belong to a volume of "
                f"{volume.voxels.shape}."
            )
    window = window or default_windows(volume)[0]
    focus = _busiest(segments, volume) if center is None else volume.geometry.to_ijk(center)
    planes = [Plane.through(volume.geometry, orientation, focus) for orientation in _ORIENTATIONS]
    figure, axes = _hung(planes)
    for ax, plane in zip(axes, planes, strict=True):
        _draw_plane(ax, plane, volume, window)
        for segment in segments:
            _draw_outlines(ax, plane, segment)
    drawn = [
        click
        for click in clicks
        for ax, plane in zip(axes, planes, strict=True)
        if _draw_click(ax, plane, click)
    ]
    if title:
        figure.suptitle(title, color=TEXT, fontsize=14, fontweight="bold")
    _draw_legend(figure, segments, drawn)
    save(figure, path)


def compared(
    path: str | Path, volume: Volume, panels: Sequence[Sequence[Panel]], *, title: str = ""
) -> None:
    """Write a PNG of rows of panels, such as a segment before and after, all equally large.

    Args:
        path: The PNG file.
        volume: The image.
        panels: Rows of equal length, from the top.
        title: Above the panels.

    Raises:
        InputError: No panels, or the file cannot be written.
    """
    if not panels or not panels[0]:
        raise InputError("A comparison needs at least one panel.")
    side = 4.4
    rows, columns = len(panels), len(panels[0])
    figure = Figure(
        (columns * (side + 0.1), rows * (side + 0.35) + 0.4 + 0.5 * bool(title)),
        facecolor=BACKGROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.07),
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    window = default_windows(volume)[0]
    for ax, panel in zip(axes.ravel(), (one for row in panels for one in row), strict=True):
        plane = Plane.through(
            volume.geometry, panel.orientation, volume.geometry.to_ijk(panel.center)
        )
        _draw_plane(ax, plane, volume, window)
        for segment in panel.segments:
            _draw_outlines(ax, plane, segment)
        x, y, _ = plane.place(panel.center)
        ax.set_xlim(x - panel.width_mm / 2, x + panel.width_mm / 2)
        ax.set_ylim(y + panel.width_mm / 2, y - panel.width_mm / 2)
        ax.set_title(panel.caption, color=TEXT, fontsize=11.5, pad=5)
    if title:
        figure.suptitle(title, color=TEXT, fontsize=14, fontweight="bold")
    shown = {one.name: one for row in panels for panel in row for one in panel.segments}
    _draw_legend(figure, list(shown.values()), [])
    save(figure, path)


def feature_maps(
    path: str | Path,
    image: npt.NDArray[np.floating[Any]],
    levels: Sequence[LevelColors],
    *,
    aspect: float = 1.0,
    title: str = "",
) -> None:
    """Write a PNG: a slice, the backbone's features at each level, and the field's below them.

    Args:
        path: The PNG file.
        image: (H, W) in [0, 1], as it should hang.
        levels: From fine to coarse; nothing is interpolated, so cells are seen as they are.
        aspect: Height of a pixel of ``image`` over its width.
        title: Above the maps.

    Raises:
        InputError: No levels, or maps that are not (rows, columns, 3); the file cannot be written.
    """
    if not levels:
        raise InputError("A figure of feature maps needs at least one level.")
    for level in levels:
        for colors in (level.backbone, level.field):
            if colors.ndim != 3 or colors.shape[2] != 3:
                raise InputError(f"Feature colours must be (rows, columns, 3), not {colors.shape}.")
    width = 3.5
    height = float(np.clip(width * aspect * image.shape[0] / image.shape[1], 0.8, 8))
    columns = len(levels) + 1
    figure = Figure(
        (columns * (width + 0.08) + 0.35, 2 * (height + 0.4) + (0.5 if title else 0.1)),
        facecolor=BACKGROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.07),
    )
    grid = figure.add_gridspec(2, columns)
    extent = (0.0, float(image.shape[1]), image.shape[0] * aspect, 0.0)
    # The slice is between the rows: it belongs to both.
    whole = figure.add_subplot(grid[:, 0])
    _show(whole, image, extent, "image", cmap="gray")
    for column, level in enumerate(levels, start=1):
        cells = f"{level.backbone.shape[0]} × {level.backbone.shape[1]} cells"
        pixels = f"{level.field.shape[0]} × {level.field.shape[1]} pixels"
        for row, colors, caption in (
            (0, level.backbone, f"{level.title} · backbone, {cells}"),
            (1, level.field, f"{level.title} · field, {pixels}"),
        ):
            _show(figure.add_subplot(grid[row, column]), colors, extent, caption)
    if title:
        figure.suptitle(title, color=TEXT, fontsize=14, fontweight="bold")
    save(figure, path)


def _busiest(segments: Sequence[Outlined], volume: Volume) -> FloatArray:
    """Return (i, j, k) of the slices that show the most of all segments; else the middle."""
    masks = [s.prediction if s.reference is None else s.reference for s in segments]
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        return (np.array(volume.voxels.shape[::-1]) - 1) / 2
    index = []
    for axis in (2, 1, 0):
        others = tuple(n for n in range(3) if n != axis)
        areas = [np.count_nonzero(mask, axis=others) for mask in masks]
        # Each segment counts the same, so that a large one does not hide the small ones.
        index.append(sum(area / area.max() for area in areas).argmax())
    return np.array(index, dtype=np.float64)


def _hung(planes: Sequence[Plane]) -> tuple[Figure, list[Axes]]:
    """Make a figure with axes for the three planes, all on one scale.

    Coronal and sagittal hang above each other beside the axial one where they are flat enough.
    """
    # The longest side decides the scale; a thin stack stays visible.
    scale = 5.4 / max(max(plane.size_mm) for plane in planes)
    widths, heights = np.maximum(scale * np.array([plane.size_mm for plane in planes]).T, 0.8)
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.07, wspace=0.01)
    if heights[1] + heights[2] < 1.3 * heights[0]:
        across = [widths[0], max(widths[1:])]
        height = max(heights[0], heights[1] + heights[2] + 0.4)
        figure = Figure((sum(across) + 0.5, height + 1.3), facecolor=BACKGROUND, layout=layout)
        grid = figure.add_gridspec(2, 2, width_ratios=across, height_ratios=heights[1:])
        places = (grid[:, 0], grid[0, 1], grid[1, 1])
    else:
        size = (sum(widths) + 0.6, max(heights) + 1.3)
        figure = Figure(size, facecolor=BACKGROUND, layout=layout)
        row = figure.add_gridspec(1, 3, width_ratios=widths)
        places = (row[0, 0], row[0, 1], row[0, 2])
    return figure, [figure.add_subplot(place) for place in places]


def _draw_plane(ax: Axes, plane: Plane, volume: Volume, window: Window) -> None:
    width, height = plane.size_mm
    grey = window(plane.cut(volume.voxels))
    caption = f"{plane.orientation}   {plane.position_mm:+.0f} mm"
    _show(ax, grey, (0.0, width, height, 0.0), caption, cmap="gray", interpolation="bilinear")
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    edges = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.97), (0.5, 0.03))
    for (across, up), letter in zip(edges, plane.letters, strict=True):
        ax.text(
            across,
            up,
            letter,
            color=FAINT,
            fontsize=10,
            ha="center",
            va="center",
            transform=ax.transAxes,
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def _draw_outlines(ax: Axes, plane: Plane, segment: Outlined) -> None:
    for mask, style, width in (
        (segment.reference, (0, (3, 2)), 1.1),
        (segment.prediction, "-", 1.7),
    ):
        if mask is None:
            continue
        inside = np.pad(plane.cut(mask) != 0, 1).astype(np.float32)
        if not inside.any():
            continue
        rows, columns = inside.shape
        x = (np.arange(columns) - 0.5) * plane.size_mm[0] / (columns - 2)
        y = (np.arange(rows) - 0.5) * plane.size_mm[1] / (rows - 2)
        color = segment.color if style == "-" else _lighter(segment.color)
        ax.contour(x, y, inside, levels=[0.5], colors=[color], linewidths=width, linestyles=[style])


def _draw_click(ax: Axes, plane: Plane, click: Click) -> bool:
    """Draw a click where it is near enough, and tell whether it is."""
    x, y, off = plane.place(click.ras)
    inside = 0 <= x <= plane.size_mm[0] and 0 <= y <= plane.size_mm[1]
    if off > _CLICK_REACH or not inside:
        return False
    color = _POSITIVE if click.positive else _NEGATIVE
    ax.plot(x, y, "o", markersize=11, mfc=color, mec="white", mew=1.2, zorder=5)
    sign = "+" if click.positive else "_"
    ax.plot(x, y, marker=sign, markersize=6.5, mec="black", mew=1.8, zorder=6)
    return True


def _draw_legend(figure: Figure, segments: Sequence[Outlined], clicks: Sequence[Click]) -> None:
    handles = [Line2D([], [], color=s.color, linewidth=2.5, label=s.name) for s in segments]
    if any(s.reference is not None for s in segments):
        handles += [
            Line2D([], [], color=TEXT, linewidth=1.7, label="prediction"),
            Line2D([], [], color=TEXT, linewidth=1.1, linestyle=(0, (3, 2)), label="reference"),
        ]
    for positive, color, text in (
        (True, _POSITIVE, "click inside"),
        (False, _NEGATIVE, "click outside"),
    ):
        if any(c.positive == positive for c in clicks):
            handles.append(
                Line2D(
                    [],
                    [],
                    linestyle="",
                    marker="o",
                    markersize=9,
                    markerfacecolor=color,
                    markeredgecolor="white",
                    label=text,
                )
            )
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(len(handles), 7),
            frameon=False,
            labelcolor=TEXT,
            fontsize=11,
            handlelength=1.8,
        )


def _show(
    ax: Axes,
    image: npt.NDArray[Any],
    extent: tuple[float, float, float, float],
    caption: str,
    *,
    cmap: str | None = None,
    interpolation: str = "nearest",
) -> None:
    ax.imshow(
        np.clip(image, 0, 1), cmap=cmap, vmin=0, vmax=1, extent=extent, interpolation=interpolation
    )
    ax.set_title(caption, color=TEXT, fontsize=10.5, pad=5)
    ax.set_axis_off()


def _lighter(color: Color) -> Color:
    """Halfway to white, so that a dashed line is seen on a solid one."""
    r, g, b = ((1 + part) / 2 for part in color)
    return r, g, b
