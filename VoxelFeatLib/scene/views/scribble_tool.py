"""Drawing a stroke in a slice view with the left mouse button."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import vtk

from VoxelFeatLib.imaging.aliases import FloatArray

# A slice view: its vtkRenderWindowInteractor and its vtkMRMLSliceNode.
SliceView = tuple[Any, Any]

# Above everything that Slicer itself does with the left button in a slice view.
_PRIORITY = 100.0
# Pixels between two points of a stroke.
_STEP = 3.0
_WIDTH = 4.0
_POSITIVE, _NEGATIVE = (0.2, 0.9, 0.3), (0.95, 0.3, 0.25)


class ScribbleTool:
    """While switched on, strokes in slice views are reported instead of what Slicer would do.

    Args:
        on_stroke: Called with the (N, 3) world positions of a finished stroke, N at least 1.
    """

    def __init__(self, on_stroke: Callable[[FloatArray], None]) -> None:
        self._on_stroke = on_stroke
        self._observers: list[tuple[Any, int]] = []
        self._stroke: _Stroke | None = None

    @property
    def active(self) -> bool:
        """Whether it is switched on."""
        return bool(self._observers)

    def start(self, views: Iterable[SliceView], *, positive: bool) -> None:
        """Switch on in these views; what was on before is switched off."""
        self.stop()
        for interactor, slice_node in views:
            self._observe(interactor, slice_node, positive=positive)

    def stop(self) -> None:
        """Switch off; a stroke that is being drawn is forgotten."""
        if self._stroke is not None:
            self._stroke.remove()
            self._stroke = None
        for interactor, tag in self._observers:
            interactor.RemoveObserver(tag)
        self._observers.clear()

    def _observe(self, interactor: Any, slice_node: Any, *, positive: bool) -> None:
        def pressed() -> bool:
            self._stroke = _Stroke(interactor, slice_node, positive=positive)
            self._stroke.extend()
            return True

        def moved() -> bool:
            if self._stroke is None or self._stroke.interactor is not interactor:
                return False
            self._stroke.extend()
            return True

        def released() -> bool:
            stroke, self._stroke = self._stroke, None
            if stroke is None:
                return False
            stroke.remove()
            self._on_stroke(stroke.world())
            return True

        for event, handler in (
            ("LeftButtonPressEvent", pressed),
            ("MouseMoveEvent", moved),
            ("LeftButtonReleaseEvent", released),
        ):
            self._observers.append((interactor, _add_observer(interactor, event, handler)))


def _add_observer(interactor: Any, event: str, handler: Callable[[], bool]) -> int:
    """Observe an event; nobody else sees it when the handler returns True."""
    tag = 0

    def run(_caller: Any, _event: str) -> None:
        if handler():
            interactor.GetCommand(tag).SetAbortFlag(1)

    tag = int(interactor.AddObserver(event, run, _PRIORITY))
    return tag


class _Stroke:
    """A stroke being drawn: its pixels, and the line that shows them."""

    def __init__(self, interactor: Any, slice_node: Any, *, positive: bool) -> None:
        self.interactor = interactor
        self._xy_to_ras = vtk.vtkMatrix4x4()
        self._xy_to_ras.DeepCopy(slice_node.GetXYToRAS())
        self._pixels: list[tuple[float, float]] = []
        self._points = vtk.vtkPoints()
        self._line = vtk.vtkPolyData()
        self._line.SetPoints(self._points)
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(self._line)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetColor(_POSITIVE if positive else _NEGATIVE)
        self._actor.GetProperty().SetLineWidth(_WIDTH)
        window = interactor.GetRenderWindow()
        self._renderer = window.GetRenderers().GetFirstRenderer() if window else None
        if self._renderer is not None:
            self._renderer.AddViewProp(self._actor)

    def extend(self) -> None:
        """Go on to where the mouse is."""
        x, y = self.interactor.GetEventPosition()
        if self._pixels and np.hypot(x - self._pixels[-1][0], y - self._pixels[-1][1]) < _STEP:
            return
        self._pixels.append((x, y))
        self._points.InsertNextPoint(x, y, 0)
        cells = vtk.vtkCellArray()
        cells.InsertNextCell(len(self._pixels))
        for number in range(len(self._pixels)):
            cells.InsertCellPoint(number)
        self._line.SetLines(cells)
        self._points.Modified()
        self._render()

    def world(self) -> FloatArray:
        """Return the (N, 3) positions in world RAS, mm."""
        corners = ((*pixel, 0.0, 1.0) for pixel in self._pixels)
        return np.array([self._xy_to_ras.MultiplyPoint(corner)[:3] for corner in corners])

    def remove(self) -> None:
        """Take the line away."""
        if self._renderer is not None:
            self._renderer.RemoveViewProp(self._actor)
            self._render()

    def _render(self) -> None:
        if self._renderer is not None:
            self.interactor.GetRenderWindow().Render()
