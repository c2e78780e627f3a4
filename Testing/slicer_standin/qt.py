"""Module ``qt``: the Qt classes that the panel uses, with PythonQt's habits."""

from __future__ import annotations

import sys
from typing import Any
from xml.etree import ElementTree as ET

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import (
    QCoreApplication,
    QFile,
    QProcess,
    QProcessEnvironment,
    QSettings,
    QTimer,
)
from PySide6.QtGui import QIcon, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QApplication, QSizePolicy

from slicer_standin.habits import pythonqt

QAction = pythonqt(QtGui.QAction)
QCheckBox = pythonqt(QtWidgets.QCheckBox)
QComboBox = pythonqt(QtWidgets.QComboBox)
QDoubleSpinBox = pythonqt(QtWidgets.QDoubleSpinBox)
QFormLayout = pythonqt(QtWidgets.QFormLayout)
QHBoxLayout = pythonqt(QtWidgets.QHBoxLayout)
QLabel = pythonqt(QtWidgets.QLabel)
QLineEdit = pythonqt(QtWidgets.QLineEdit)
QMainWindow = pythonqt(QtWidgets.QMainWindow)
QMessageBox = pythonqt(QtWidgets.QMessageBox)
QProgressBar = pythonqt(QtWidgets.QProgressBar)
QPushButton = pythonqt(QtWidgets.QPushButton)
QRadioButton = pythonqt(QtWidgets.QRadioButton)
QShortcut = pythonqt(QtGui.QShortcut)
QSlider = pythonqt(QtWidgets.QSlider)
QSpinBox = pythonqt(QtWidgets.QSpinBox)
QTextEdit = pythonqt(QtWidgets.QTextEdit)
QToolButton = pythonqt(QtWidgets.QToolButton)
QVBoxLayout = pythonqt(QtWidgets.QVBoxLayout)
QWidget = pythonqt(QtWidgets.QWidget)
QScrollBar = pythonqt(QtWidgets.QScrollBar)


class QMenu(pythonqt(QtWidgets.QMenu)):  # type: ignore[misc]
    """A menu whose actions have the habits, too."""

    def addAction(self, text: str) -> Any:
        """Add an action of a text."""
        action = QAction(text, self)
        super().addAction(action)
        return action


class QPlainTextEdit(pythonqt(QtWidgets.QPlainTextEdit)):  # type: ignore[misc]
    """An editor whose scroll bar has the habits, too."""

    def verticalScrollBar(self) -> Any:
        """Return the scroll bar at the side."""
        bar = super().verticalScrollBar()
        if not isinstance(bar, QScrollBar):
            bar = QScrollBar(self)
            self.setVerticalScrollBar(bar)
        return bar


class QFileDialog:
    """Asks for files: tests answer by setting what it returns."""

    @staticmethod
    def getOpenFileName(_parent: Any, _title: str, _folder: str, _filter: str) -> str:
        """Return the file to open, a bare string in PythonQt."""
        raise AssertionError("A test that opens a file dialog has to answer it.")

    @staticmethod
    def getSaveFileName(_parent: Any, _title: str, _folder: str, _filter: str) -> str:
        """Return the file to save to."""
        raise AssertionError("A test that opens a file dialog has to answer it.")


class QInputDialog:
    """Asks for a text: tests answer by setting what it returns."""

    @staticmethod
    def getText(_parent: Any, _title: str, _label: str) -> str:
        """Return what was entered, a bare string in PythonQt; empty when it was cancelled."""
        raise AssertionError("A test that opens an input dialog has to answer it.")


class Qt:
    """The values of namespace Qt that are used."""

    ToolTipRole = QtCore.Qt.ItemDataRole.ToolTipRole
    WaitCursor = QtCore.Qt.CursorShape.WaitCursor


class QUiLoader(QtUiTools.QUiLoader):
    """Loads a `.ui` file with the stand-ins of Slicer's widgets, and nothing else."""

    def load(self, file: QFile) -> Any:
        """Return the widget; connections are made here, since ours have C++'s signatures."""
        root = ET.fromstring(bytes(file.readAll().data()))  # noqa: S314 - our own file
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        for element in root.iter("widget"):
            self._check(element)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer)
        for connection in connections if connections is not None else ():
            _connect(widget, connection)
        return widget

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        """Make a widget of the stand-in's class."""
        widget = _class(class_name)(parent)
        widget.setObjectName(name)
        return widget

    def _check(self, element: ET.Element) -> None:
        """Refuse properties that the class does not have; Qt would set them silently."""
        cls = _class(element.attrib["class"])
        for property_ in element.findall("property"):
            if property_.get("stdset") == "0":
                continue
            if cls.staticMetaObject.indexOfProperty(property_.attrib["name"]) < 0:
                raise AttributeError(f"{cls.__name__} has no property {property_.attrib['name']}")


def _class(name: str) -> type:
    for module in ("qt", "ctk", "slicer"):
        if name in vars(sys.modules[module]):
            return vars(sys.modules[module])[name]
    raise AttributeError(f"The stand-in has no class {name}")


def _connect(widget: Any, connection: ET.Element) -> None:
    ends = {part.tag: str(part.text) for part in connection}
    by_name = {child.objectName: child for child in _named(widget)}
    sender, receiver = by_name[ends["sender"]], by_name[ends["receiver"]]
    if ends["slot"] not in receiver.SLOTS:
        raise AttributeError(f"{type(receiver).__name__} has no slot {ends['slot']}")
    sender.connect(ends["signal"], getattr(receiver, ends["slot"].split("(", maxsplit=1)[0]))


def _named(widget: Any) -> list[Any]:
    return [widget, *(c for c in widget.findChildren(QtWidgets.QWidget) if hasattr(c, "SLOTS"))]


__all__ = [
    "QAbstractItemView",
    "QApplication",
    "QCoreApplication",
    "QIcon",
    "QKeySequence",
    "QProcess",
    "QProcessEnvironment",
    "QSettings",
    "QSizePolicy",
    "QTimer",
]
