"""Slicer's slice views off screen: trame-slicer's, with Slicer's own displayable managers.

trame-slicer observes nodes through one class of the package slicer-layer-dm, which is tied to an
older slicer-core than ours. That class is stood in for here, and the displayable manager of layered
pipelines, which nothing of ours uses, is left out. All that draws and all that hears the mouse is
Slicer's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from vtk.util import numpy_support

_LEFT_OUT = "vtkMRMLLayerDisplayableManager"


class _Observer:
    """Calls back with (object, event, data) for what it was told to observe."""

    def __init__(self) -> None:
        self._call: Callable[[Any, int, Any], None] | None = None
        self._tags: list[tuple[Any, int]] = []

    def SetPythonCallback(self, call: Callable[[Any, int, Any], None]) -> None:  # noqa: N802
        self._call = call

    def UpdateObservation(  # noqa: N802
        self, before: Any, after: Any, event: int = vtk.vtkCommand.ModifiedEvent
    ) -> None:
        for subject, tag in [pair for pair in self._tags if pair[0] is before]:
            subject.RemoveObserver(tag)
            self._tags.remove((subject, tag))
        if after is not None:
            tag = after.AddObserver(event, lambda subject, _name: self._call(subject, event, None))
            self._tags.append((after, tag))

    def close(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()


def _trame_views() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slicer, "vtkMRMLLayerDMObjectEventObserverScripted", _Observer, raising=False)
        patch.setattr(slicer, _LEFT_OUT, type(_LEFT_OUT, (), {}), raising=False)
        return importlib.import_module("trame_slicer.views.slice_view")


def slice_application() -> SimpleNamespace:
    """Make a scene with the logics of its modules; close() ends them."""
    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    main = slicer.vtkSlicerApplicationLogic()
    main.SetMRMLScene(scene)
    main.GetColorLogic().SetMRMLScene(scene)
    main.GetColorLogic().AddDefaultColorNodes()
    main.SetSliceLogics(vtk.vtkCollection())
    main.SetViewLogics(vtk.vtkCollection())
    logics = {
        "Markups": slicer.vtkSlicerMarkupsLogic(),
        "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic(),
        "Volumes": slicer.vtkSlicerVolumesLogic(),
    }
    for name, logic in logics.items():
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(main)
        main.SetModuleLogic(name, logic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)

    def close() -> None:
        scene.Clear(True)
        for logic in [*logics.values(), main]:
            logic.SetMRMLScene(None)

    return SimpleNamespace(scene=scene, main=main, close=close)


class SliceView(_trame_views().SliceView):
    """A slice view, and the mouse in it. Pixels are (x, y) from the lower left corner."""

    def _initialize_displayable_manager_group(self, factory, app_logic, managers) -> None:
        kept = [manager for manager in managers if manager.__name__ != _LEFT_OUT]
        super()._initialize_displayable_manager_group(factory, app_logic, kept)

    @property
    def node(self) -> Any:
        return self.get_view_node()

    def close(self) -> None:
        self.set_render_blocked(True)
        self._event_observer.close()
        self._logic.SetMRMLScene(None)
        self.interactor().RemoveAllObservers()
        self.finalize()

    # ------------------------------------------------------------------ where

    def world(self, pixel: tuple[int, int]) -> np.ndarray:
        """Return the world position under a pixel."""
        return np.array(self.node.GetXYToRAS().MultiplyPoint((*pixel, 0.0, 1.0))[:3])

    def pixel(self, world: np.ndarray) -> tuple[int, int]:
        """Return the pixel nearest to a world position."""
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_xy)
        x, y, _, _ = to_xy.MultiplyPoint((*map(float, world), 1.0))
        return round(x), round(y)

    def look_along(
        self,
        normal: tuple[float, float, float],
        up: tuple[float, float, float],
        centre: np.ndarray,
        width_mm: float,
        aside_mm: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Show the plane through a world position, which is to be so far from the view's middle.

        Normal and up need not be of length one, nor at right angles. As in Slicer, the patient's
        right is on the left of an axial view.
        """
        across = np.array(normal) / np.linalg.norm(normal)
        right = np.cross(across, up)
        right /= np.linalg.norm(right)
        above = np.cross(right, across)
        middle = centre - right * aside_mm[0] - above * aside_mm[1]
        to_ras = np.column_stack([right, above, across, middle])
        matrix = self.node.GetSliceToRAS()
        for row, column in np.ndindex(3, 4):
            matrix.SetElement(row, column, float(to_ras[row, column]))
        across_pixels, up_pixels = self.node.GetDimensions()[:2]
        self.node.SetFieldOfView(width_mm, width_mm * up_pixels / across_pixels, 1.0)
        self.node.UpdateMatrices()

    # ------------------------------------------------------------------ the mouse

    def send(self, event: str, pixel: tuple[int, int], *, shift: bool = False) -> None:
        interactor = self.interactor()
        interactor.SetEventInformation(*pixel, 0, int(shift), chr(0), 0, None)
        interactor.InvokeEvent(event)

    def enter(self, pixel: tuple[int, int]) -> None:
        self.send("EnterEvent", pixel)
        self.send("MouseMoveEvent", pixel)

    def click(self, pixel: tuple[int, int]) -> None:
        self.enter(pixel)
        self.send("LeftButtonPressEvent", pixel)
        self.send("LeftButtonReleaseEvent", pixel)

    def drag(self, *pixels: tuple[int, int]) -> None:
        self.enter(pixels[0])
        self.send("LeftButtonPressEvent", pixels[0])
        for pixel in pixels[1:]:
            self.send("MouseMoveEvent", pixel)
        self.send("LeftButtonReleaseEvent", pixels[-1])

    def leave(self) -> None:
        """Have the mouse leave, so that no picture shows where it is."""
        self.send("MouseMoveEvent", (1, 1))
        self.send("LeaveEvent", (1, 1))

    # ------------------------------------------------------------------ the picture

    def picture(self) -> np.ndarray:
        """Return what is seen: (rows, columns, 3) of 0 to 255, the row y = 0 first."""
        self.render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.render_window())
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.Update()
        columns, rows, _ = grab.GetOutput().GetDimensions()
        scalars = numpy_support.vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        return scalars.reshape(rows, columns, 3).astype(int)
