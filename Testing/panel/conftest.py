"""The real module file and its `.ui`, on the stand-in for Slicer's GUI."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6-Essentials is not installed")

from PySide6 import QtCore, QtWidgets  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402

_ROOT = Path(__file__).parents[2]
MODULE = _ROOT / "VoxelFeat" / "VoxelFeat.py"
SCREENS = _ROOT / "demo" / "screens"


@pytest.fixture(scope="package")
def the_application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Slicer's GUI as far as the panel needs it, for this folder's tests."""
    import slicer_standin

    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    settings = str(tmp_path_factory.mktemp("settings"))
    QtCore.QSettings.setPath(
        QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, settings
    )
    yield slicer_standin.install()
    slicer_standin.uninstall()


class Person:
    """Somebody in front of the panel."""

    def __init__(self, module: ModuleType, widget: Any, window: Any, controllers: Any) -> None:
        self.module = module
        self.widget = widget
        self.window = window
        self.link, self.field = controllers.link, controllers.field
        self.segment, self.refine = controllers.segment, controllers.refine
        self.suggestion, self.overlay = controllers.suggestion, controllers.overlay

    @property
    def ui(self) -> Any:
        return slicer.modules.VoxelFeatWidget.ui

    @property
    def parameters(self) -> Any:
        return slicer.modules.VoxelFeatWidget.panel.parameters

    def click(self, name: str) -> None:
        """Press a button in its middle; one that is hidden or disabled cannot be pressed."""
        widget = getattr(self.ui, name)
        assert QtWidgets.QWidget.isVisible(widget), f"{name} cannot be seen"
        assert QtWidgets.QWidget.isEnabled(widget), f"{name} is disabled"
        place = QtWidgets.QWidget.rect(widget).center()
        if isinstance(widget, QtWidgets.QCheckBox | QtWidgets.QRadioButton):
            place.setX(8)
        self._press(widget, place)

    def _press(self, widget: Any, place: QtCore.QPoint) -> None:
        # The mouse reaches only what lies inside the window.
        self.settle()
        self.window.centralWidget().ensureWidgetVisible(widget)
        QTest.mouseClick(widget, QtCore.Qt.MouseButton.LeftButton, pos=place)
        self.settle()

    def open_section(self, name: str) -> None:
        """Open a section, and close the others, by a click on its title."""
        for section in ("field", "segment", "refine", "features", "worker"):
            button = getattr(self.ui, f"{section}Section")
            if button.collapsed == (section == name):
                self._press(button, QtCore.QPoint(60, 10))

    def choose(self, name: str, text: str) -> None:
        """Choose an entry of a box by its text."""
        combo = getattr(self.ui, name)
        inner = combo if isinstance(combo, QtWidgets.QComboBox) else combo._combo
        row = inner.findText(text)
        assert row >= 0, f"{name} offers no {text}"
        inner.setCurrentIndex(row)
        inner.activated.emit(row)

    def press(self, key: str) -> None:
        """Press a key in the main window."""
        self.window.activateWindow()
        self.window.setFocus()
        self.settle()
        modifiers = QtCore.Qt.KeyboardModifier
        modifier = modifiers.ShiftModifier if key.startswith("Shift+") else modifiers.NoModifier
        QTest.keyClick(self.window, key[-1], modifier)
        self.settle()

    def settle(self) -> None:
        """Let Qt do what is due; what that asks for, too, such as a layout inside a layout."""
        for _ in range(4):
            QtWidgets.QApplication.sendPostedEvents()
            QtWidgets.QApplication.processEvents()

    def photograph(self, name: str) -> None:
        """Keep a picture of the panel, for documentation and for looking at."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        self.settle()
        height = max(200, self.widget.layout().sizeHint().height())
        self.window.resize(430, min(height + 20, 1400))
        self.settle()
        assert QtWidgets.QWidget.grab(self.window).save(str(SCREENS / f"{name}.png"))


@pytest.fixture
def a_person(the_application: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Somebody who has just opened the module in an empty scene."""
    import qt
    from panel import fakes
    from slicer_standin import application

    from VoxelFeatLib.scene.panel.panel import Controllers

    field = fakes.FakeField()
    segment = fakes.FakeSegment(field)
    controllers = Controllers(
        fakes.FakeLink(),
        field,
        segment,
        fakes.FakeSuggestion(),
        fakes.FakeRefine(),
        fakes.FakeOverlay(),
    )
    monkeypatch.setattr(sys, "path", sys.path.copy())
    window = qt.QMainWindow()
    window.objectName = "qSlicerMainWindow"

    def keep(self: Any) -> Any:
        self._controllers = controllers
        return controllers

    original = application.ModuleWidget.make

    def make(self: Any) -> Any:
        # Before any code of the module's runs: each reload reads it anew.
        sys.modules["VoxelFeat"].VoxelFeatLogic.controllers = keep
        return original(self)

    monkeypatch.setattr(application.ModuleWidget, "make", make)
    module, widget = application.load_module(MODULE)
    scroll = QtWidgets.QScrollArea()
    scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
    scroll.setWidgetResizable(True)
    scroll.setWidget(widget)
    window.setCentralWidget(scroll)
    window.resize(430, 900)
    window.show()
    widget.enter()
    person = Person(module, widget, window, controllers)
    person.settle()
    yield person
    slicer.modules.VoxelFeatWidget.cleanup()
    window.close()
    window.deleteLater()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    slicer.mrmlScene.Clear(0)
    qt.QSettings().clear()
    sys.modules.pop("VoxelFeat", None)


@pytest.fixture
def a_volume(the_application: Any) -> Callable[..., Any]:
    """Makes a small scalar volume of the scene."""

    def make(name: str = "CT") -> Any:
        voxels = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
        return slicer.util.addVolumeFromArray(voxels, name=name)

    return make


@pytest.fixture
def the_messages(the_application: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of message boxes; they close by themselves."""
    import ctk

    texts: list[str] = []
    monkeypatch.setattr(ctk.ctkMessageBox, "shown", texts)
    return texts
