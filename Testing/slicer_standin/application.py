"""``slicer.app`` and ``slicer.modules``: the application around the module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import qt
import slicer
from PySide6 import QtWidgets


class ModuleParent:
    """A module as Slicer's module factory hands it to its Python class."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)


class ModuleWidget(slicer.qMRMLWidget):  # type: ignore[misc]
    """qSlicerScriptedLoadableModuleWidget: makes the Python widget, enters and leaves it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._entered = False
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setMRMLScene(slicer.mrmlScene)

    @property
    def isEntered(self) -> bool:
        """Whether the module is shown."""
        return self._entered

    def make(self) -> Any:
        """Make the Python widget of the module's present code."""
        widget = getattr(sys.modules[self._name], f"{self._name}Widget")(self)
        setattr(slicer.modules, f"{self._name}Widget", widget)
        widget.setup()
        return widget

    def reload(self) -> None:
        """Make another Python widget, shown if the one before was."""
        widget = self.make()
        if self._entered:
            widget.enter()

    def enter(self) -> None:
        """Show the module."""
        self._entered = True
        getattr(slicer.modules, f"{self._name}Widget").enter()

    def exit(self) -> None:
        """Show another module."""
        self._entered = False
        getattr(slicer.modules, f"{self._name}Widget").exit()


class Modules(SimpleNamespace):
    """``slicer.modules``: the module by its lower-case name, its widget by its class's name."""


class Application:
    """qSlicerApplication, as far as the panel asks it."""

    applicationName = "Slicer"

    def __init__(self, q_application: QtWidgets.QApplication, logic: Any) -> None:
        self._q_application = q_application
        self._logic = logic
        self._listeners: dict[str, list[Any]] = {"startupCompleted()": [], "aboutToQuit()": []}

    def connect(self, signal: str, function: Any) -> None:
        """Connect one of the application's signals."""
        self._listeners[signal].append(function)

    def disconnect(self, signal: str, function: Any) -> None:
        """Disconnect a function."""
        self._listeners[signal].remove(function)

    def emit(self, signal: str) -> None:
        """Emit a signal, for tests."""
        for function in tuple(self._listeners[signal]):
            function()

    def applicationLogic(self) -> Any:
        """Return the real vtkMRMLApplicationLogic."""
        return self._logic

    def layoutManager(self) -> Any:
        """Return None, as Slicer without a main window does: there are no views."""
        return None

    def topLevelWidgets(self) -> list[Any]:
        """Return all windows."""
        return [w for w in QtWidgets.QApplication.topLevelWidgets() if hasattr(w, "SLOTS")]

    def testingEnabled(self) -> bool:
        """Return whether message boxes stay closed: they do not, they are noted."""
        return False

    def moduleManager(self) -> Any:
        """Return where modules announce that they go."""
        return SimpleNamespace(disconnect=lambda *_: None)

    def setOverrideCursor(self, _cursor: Any) -> None:
        """Show a waiting cursor."""

    def restoreOverrideCursor(self) -> None:
        """Show the usual cursor again."""

    def translate(self, _context: str, text: str) -> str:
        """Return the text as it is."""
        return text


def load_module(path: Path) -> tuple[ModuleType, ModuleWidget]:
    """Load a scripted module as Slicer does; its panel is made but not entered."""
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = ModuleParent(path)
    getattr(module, name)(parent)
    widget = ModuleWidget(name)
    described = SimpleNamespace(path=parent.path, widgetRepresentation=lambda: widget)
    setattr(slicer.modules, name.lower(), described)
    widget.make()
    return module, widget
