"""A mark over the slice views at a place where a click is suggested.

It is drawn by the views themselves, above everything else, and is no node of the scene: it is
never saved, is in no list of nodes, and does not catch the mouse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support

from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.scene.views.scribble_tool import SliceView

# Unlike clicks, changes and Slicer's own slice lines; the dark rim keeps it in sight on white.
_COLOR, _RIM_COLOR, _RIM_OPACITY = (0.25, 0.85, 1.0), (0.0, 0.0, 0.0), 0.65
# Its ring's radius as a part of what Slicer scales its own glyphs with.
_SIZE = 0.11
# In ring radii: the ring's inner edge, where its four bars end, half their width, and the rim.
_INNER, _END, _HALF, _RIM = 0.84, 1.7, 0.085, 0.09
_CORNERS = 48


class SuggestionMarker:
    """A ring with four bars around one position; what is inside of it stays visible.

    It is seen in views whose slice goes through the position, and follows them.

    Args:
        views: Returns the slice views, as (interactor, slice node).
    """

    def __init__(self, views: Callable[[], Iterable[SliceView]]) -> None:
        self._views = views
        self._marks: list[_Mark] = []

    def show(self, world: Position) -> None:
        """Mark a position, world RAS mm, instead of the one before."""
        self.clear()
        self._marks = [_Mark(*view, world) for view in self._views()]

    def clear(self) -> None:
        """Take the mark away."""
        marks, self._marks = self._marks, []
        for mark in marks:
            mark.remove()


class _Mark:
    """The mark in one view."""

    def __init__(self, interactor: Any, slice_node: Any, world: Position) -> None:
        self._interactor = interactor
        self._slice_node = slice_node
        self._world = world
        self._parts = [
            _Part(_outline(_RIM), _RIM_COLOR, _RIM_OPACITY),
            _Part(_outline(0.0), _COLOR, 1.0),
        ]
        window = interactor.GetRenderWindow()
        self._renderer = window.GetRenderers().GetFirstRenderer() if window else None
        if self._renderer is not None:
            for part in self._parts:
                self._renderer.AddViewProp(part.actor)
        self._tag = slice_node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._follow)
        self._follow()
        self._render()

    def remove(self) -> None:
        self._slice_node.RemoveObserver(self._tag)
        if self._renderer is not None:
            for part in self._parts:
                self._renderer.RemoveViewProp(part.actor)
            self._render()

    def _follow(self, *_event: Any) -> None:
        """Go where the position is in the view now; Slicer draws the view after the same event."""
        node = self._slice_node
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), to_xy)
        x, y, slices, _ = to_xy.MultiplyPoint((*self._world, 1.0))
        columns, rows = node.GetDimensions()[:2]
        radius = _SIZE * node.GetScreenScaleFactor() * float(np.hypot(columns, rows))
        for part in self._parts:
            part.put((x, y), radius, visible=abs(slices) <= 0.5)

    def _render(self) -> None:
        if self._renderer is not None and self._slice_node.IsMappedInLayout():
            self._interactor.GetRenderWindow().Render()


class _Part:
    """An area of one colour, drawn in pixels."""

    def __init__(
        self, outline: tuple[FloatArray, list[list[int]]], color: Position, opacity: float
    ) -> None:
        self._corners, cells = outline
        self._points = vtk.vtkPoints()
        areas = vtk.vtkCellArray()
        for cell in cells:
            areas.InsertNextCell(len(cell), cell)
        shape = vtk.vtkPolyData()
        shape.SetPoints(self._points)
        shape.SetPolys(areas)
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(shape)
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(mapper)
        self.actor.PickableOff()
        self.actor.GetProperty().SetColor(color)
        self.actor.GetProperty().SetOpacity(opacity)

    def put(self, pixel: tuple[float, float], radius: float, *, visible: bool) -> None:
        placed = np.zeros((len(self._corners), 3))
        placed[:, :2] = self._corners * radius + pixel
        self._points.SetData(numpy_support.numpy_to_vtk(placed, deep=True))
        self._points.Modified()
        self.actor.SetVisibility(visible)


def _outline(rim: float) -> tuple[FloatArray, list[list[int]]]:
    """Return the mark's corners, (N, 2) in ring radii, and its areas; grown by a rim."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    bar = np.array([[x, y] for x in (1.0 - rim, _END + rim) for y in (-_HALF - rim, _HALF + rim)])
    turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    corners = np.vstack([circle * (_INNER - rim), circle * (1.0 + rim)] + [bar @ t for t in turns])
    after = [(n + 1) % _CORNERS for n in range(_CORNERS)]
    ring = [[n, after[n], _CORNERS + after[n], _CORNERS + n] for n in range(_CORNERS)]
    first = range(2 * _CORNERS, len(corners), 4)
    return corners, ring + [[n, n + 1, n + 3, n + 2] for n in first]
