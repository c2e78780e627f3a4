"""Slicer's MRML widgets that the panel uses, over real MRML nodes."""

from __future__ import annotations

from typing import Any

import qt
import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from slicer_standin.habits import Habits

_ROW = 22


def _observe(observed: list[Any], node: Any, events: tuple[Any, ...], function: Any) -> None:
    observed.extend((node, node.AddObserver(event, function)) for event in events)


def _forget(observed: list[Any]) -> None:
    for node, tag in observed:
        node.RemoveObserver(tag)
    observed.clear()


def _bool(name: str, default: bool) -> Any:
    key = f"_{name}"
    return QtCore.Property(
        bool,
        lambda self: self.__dict__.get(key, default),
        lambda self, value: self.__dict__.__setitem__(key, value),
    )


class qMRMLWidget(Habits, QtWidgets.QWidget):
    """The root of a panel, which hands the scene on."""

    mrmlSceneChanged = QtCore.Signal(object)
    SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)",)
    SLOTS = ("setMRMLScene(vtkMRMLScene*)",)

    def setMRMLScene(self, scene: Any) -> None:
        """Use a scene."""
        self.__dict__["_scene"] = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        """Return the scene."""
        return self.__dict__.get("_scene")


class qMRMLNodeComboBox(Habits, QtWidgets.QWidget):
    """Chooses one of the scene's nodes."""

    currentNodeChanged = QtCore.Signal(object)
    _current_node_valid = QtCore.Signal(bool)
    SIGNALS = ("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)")
    SLOTS = ("setMRMLScene(vtkMRMLScene*)",)

    addEnabled = _bool("addEnabled", True)
    removeEnabled = _bool("removeEnabled", True)
    renameEnabled = _bool("renameEnabled", False)
    noneEnabled = _bool("noneEnabled", False)
    showChildNodeTypes = _bool("showChildNodeTypes", True)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._types: tuple[str, ...] = ()
        self._hidden: tuple[str, ...] = ()
        self._scene: Any = None
        self._observed: list[Any] = []
        self._shown: list[Any] = []
        self._node: Any = None
        self._combo = QtWidgets.QComboBox(self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._combo.activated.connect(self._on_activated)

    def _set_types(self, types: Any) -> None:
        self._types = tuple(types)
        self._fill()

    def _set_hidden(self, types: Any) -> None:
        self._hidden = tuple(types)
        self._fill()

    nodeTypes = QtCore.Property("QStringList", lambda self: list(self._types), _set_types)
    hideChildNodeTypes = QtCore.Property(
        "QStringList", lambda self: list(self._hidden), _set_hidden
    )

    def setMRMLScene(self, scene: Any) -> None:
        """List the nodes of a scene from now on."""
        _forget(self._observed)
        self._scene = scene
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            _observe(self._observed, scene, events, self._on_scene)
            leaving = scene.NodeAboutToBeRemovedEvent
            self._observed.append((scene, scene.AddObserver(leaving, self._on_leaving, -10.0)))
        self._fill()

    def currentNode(self) -> Any:
        """Return the chosen node, or None."""
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node, or None; one that is not listed is none."""
        self._choose(node if node in self._nodes() else None)

    def addNode(self) -> Any:
        """Add a node as the menu does, and choose it."""
        node = self._scene.AddNewNodeByClass(self._types[0])
        self.setCurrentNode(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the chosen node as the menu does."""
        self._scene.RemoveNode(self._node)

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        found = [
            self._scene.GetNthNodeByClass(n, kind)
            for kind in self._types
            for n in range(self._scene.GetNumberOfNodesByClass(kind))
        ]
        return [n for n in found if not any(n.IsA(kind) for kind in self._hidden)]

    def _on_scene(self, _caller: Any, _event: str) -> None:
        if not shiboken6.isValid(self._combo):
            _forget(self._observed)  # the widget is gone
        elif not self._scene.IsBatchProcessing():
            self._fill()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_leaving(self, _scene: Any, _event: str, node: Any) -> None:
        """Choose the next node, else the one before, as Slicer's does when its row goes."""
        if shiboken6.isValid(self._combo) and node is self._node:
            row = self._shown.index(node)
            left = self._shown[row + 1 :] + self._shown[:row][::-1]
            self._choose(left[0] if left else None)

    def _fill(self) -> None:
        self._shown = self._nodes()
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem("None")
        self._combo.addItems([node.GetName() for node in self._shown])
        if self._node not in self._shown:
            self._choose(None if self.noneEnabled or not self._shown else self._shown[0])
        else:
            self._show()

    def _show(self) -> None:
        first = 1 if self.noneEnabled else 0
        row = self._shown.index(self._node) + first if self._node in self._shown else first - 1
        self._combo.setCurrentIndex(row)

    def _choose(self, node: Any) -> None:
        if node is not None and node not in self._shown:
            self._fill()
        changed = node is not self._node
        self._node = node
        self._show()
        if changed:
            self.currentNodeChanged.emit(node)
            self._current_node_valid.emit(node is not None)

    def _on_activated(self, row: int) -> None:
        row -= 1 if self.noneEnabled else 0
        self._choose(self._shown[row] if row >= 0 else None)


def _eye() -> QtGui.QIcon:
    """Draw an open eye."""
    pixmap = QtGui.QPixmap(16, 16)
    pixmap.fill(QtCore.Qt.GlobalColor.transparent)
    painter = QtGui.QPainter(pixmap)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.setPen(QtGui.QPen(QtGui.QColor("#5a6570"), 1.3))
    painter.drawEllipse(QtCore.QRectF(1.5, 4.5, 13, 7))
    painter.setBrush(QtGui.QColor("#5a6570"))
    painter.drawEllipse(QtCore.QRectF(6, 6, 4, 4))
    painter.end()
    return QtGui.QIcon(pixmap)


class qMRMLSegmentsTableView(Habits, QtWidgets.QWidget):
    """Table of a segmentation's segments: visible, colour, opacity, name."""

    selectionChanged = QtCore.Signal(object, object)
    SIGNALS = ("selectionChanged(QItemSelection,QItemSelection)",)
    SLOTS = ("setMRMLScene(vtkMRMLScene*)",)

    opacityColumnVisible = _bool("opacityColumnVisible", True)
    statusColumnVisible = _bool("statusColumnVisible", True)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._observed: list[Any] = []
        self._ids: list[str] = []
        self._filling = False
        self._table = QtWidgets.QTableWidget(0, 4, self)
        self._table.verticalHeader().hide()
        self._table.verticalHeader().setDefaultSectionSize(_ROW)
        self._table.setHorizontalHeaderLabels(["", "", "Opacity", "Name"])
        header = self._table.horizontalHeader()
        header.setDefaultAlignment(QtCore.Qt.AlignmentFlag.AlignLeft)
        for column, width in enumerate((26, 26, 60)):
            self._table.setColumnWidth(column, width)
        header.setStretchLastSection(True)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._table)
        self._table.itemSelectionChanged.connect(self._on_selection)
        self._table.itemChanged.connect(self._on_edited)

    def setMRMLScene(self, _scene: Any) -> None:
        """Accept the scene, as every MRML widget does."""

    def setSelectionMode(self, mode: Any) -> None:
        """Say how many rows can be selected."""
        self._table.setSelectionMode(mode)

    def segmentationNode(self) -> Any:
        """Return the node."""
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        """Show the segments of a node, or none."""
        if node is self._node:
            return
        _forget(self._observed)
        self._node = node
        if node is not None:
            kind = slicer.vtkSegmentation
            events = (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified)
            _observe(self._observed, node.GetSegmentation(), events, self._on_segments)
            _observe(self._observed, node, (vtk.vtkCommand.ModifiedEvent,), self._on_segments)
        self._fill()

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        """Return the selected rows' segments."""
        rows = sorted({index.row() for index in self._table.selectedIndexes()})
        return tuple(self._ids[row] for row in rows)

    def setSelectedSegmentIDs(self, segment_ids: Any) -> None:
        """Select the rows of segments."""
        wanted = [name for name in segment_ids if name in self._ids]
        if list(self.selectedSegmentIDs()) != wanted:
            self._table.clearSelection()
            for name in wanted:
                self._table.selectRow(self._ids.index(name))

    def _on_selection(self) -> None:
        if not self._filling:
            self.selectionChanged.emit(None, None)

    def _on_segments(self, *_: Any) -> None:
        if not shiboken6.isValid(self._table):
            _forget(self._observed)
        else:
            self._fill()

    def _fill(self) -> None:
        selected = self.selectedSegmentIDs()
        segments = None if self._node is None else self._node.GetSegmentation()
        count = 0 if segments is None else segments.GetNumberOfSegments()
        self._filling = True
        self._ids = [segments.GetNthSegmentID(row) for row in range(count)]
        self._table.setRowCount(count)
        for row in range(count):
            self._fill_row(row, segments.GetNthSegment(row))
        self._filling = False
        self.setSelectedSegmentIDs(selected)

    def _fill_row(self, row: int, segment: Any) -> None:
        flags = QtCore.Qt.ItemFlag
        for column, text in ((2, "1.00"), (3, segment.GetName())):
            self._table.setItem(row, column, QtWidgets.QTableWidgetItem(text))
        eye = QtWidgets.QTableWidgetItem()
        eye.setIcon(_eye())
        eye.setFlags(flags.ItemIsEnabled | flags.ItemIsSelectable)
        self._table.setItem(row, 0, eye)
        swatch = QtGui.QPixmap(14, 14)
        swatch.fill(QtGui.QColor.fromRgbF(*segment.GetColor()))
        color = QtWidgets.QTableWidgetItem()
        color.setIcon(QtGui.QIcon(swatch))
        self._table.setItem(row, 1, color)

    def _on_edited(self, item: Any) -> None:
        if not self._filling and item.column() == 3:
            self._node.GetSegmentation().GetSegment(self._ids[item.row()]).SetName(item.text())


class qMRMLSegmentationShow3DButton(qt.QPushButton):  # type: ignore[misc]
    """Makes and removes the closed surface of a segmentation."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self.setCheckable(True)
        self.setEnabled(False)
        self.toggled.connect(self._on_toggled)

    def segmentationNode(self) -> Any:
        """Return the node."""
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        """Show the segments of a node, or none."""
        if node is not None and not node.IsA("vtkMRMLSegmentationNode"):
            raise TypeError("This is no segmentation.")
        self._node = node
        self.setEnabled(node is not None)

    def _on_toggled(self, shown: bool) -> None:
        if shown:
            self._node.CreateClosedSurfaceRepresentation()
        else:
            self._node.RemoveClosedSurfaceRepresentation()
