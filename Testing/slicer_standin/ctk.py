"""Module ``ctk``: CTK's widgets that the panel uses."""

from __future__ import annotations

from typing import Any, ClassVar

import qt
from PySide6 import QtCore, QtGui, QtWidgets

from slicer_standin.habits import Habits

_HEAD = 26  # pixels of a collapsible button's title


class ctkCollapsibleButton(Habits, QtWidgets.QAbstractButton):
    """A titled section; its direct children are hidden while it is collapsed."""

    contentsCollapsed = QtCore.Signal(bool)
    SIGNALS = ("contentsCollapsed(bool)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self.setContentsMargins(0, _HEAD, 0, 0)
        self.clicked.connect(self._toggle)

    def _toggle(self, _checked: bool) -> None:
        self.collapsed = not self._collapsed

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        for child in self._direct():
            child.setVisible(not collapsed)
        self.updateGeometry()
        self.update()
        self.contentsCollapsed.emit(collapsed)

    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)

    def _direct(self) -> list[Any]:
        return [c for c in self.children() if isinstance(c, QtWidgets.QWidget)]

    def childEvent(self, event: Any) -> None:
        """Hide what is put into a collapsed section."""
        super().childEvent(event)
        if event.added() and self._collapsed and isinstance(event.child(), QtWidgets.QWidget):
            event.child().setVisible(False)

    def hitButton(self, position: Any) -> bool:
        """Only the title is a button."""
        return bool(position.y() <= _HEAD)

    def sizeHint(self) -> Any:
        """Return the title's size, and the contents'."""
        head = QtCore.QSize(160, _HEAD)
        layout = self.layout()
        return layout.totalSizeHint().expandedTo(head) if layout and not self._collapsed else head

    def minimumSizeHint(self) -> Any:
        """Return the least of the same."""
        head = QtCore.QSize(160, _HEAD)
        layout = self.layout()
        return (
            layout.totalMinimumSize().expandedTo(head) if layout and not self._collapsed else head
        )

    def paintEvent(self, _event: Any) -> None:
        """Paint the title as CTK does: a flat button with an arrow at its left."""
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), _HEAD)
        option.state |= QtWidgets.QStyle.StateFlag.State_Raised
        style = QtWidgets.QStyle
        painter.drawControl(style.ControlElement.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, (_HEAD - 12) // 2, 12, 12)
        shape = style.PrimitiveElement
        painter.drawPrimitive(
            shape.PE_IndicatorArrowRight if self._collapsed else shape.PE_IndicatorArrowDown, arrow
        )
        painter.drawText(
            QtCore.QRect(28, 0, QtWidgets.QWidget.width(self) - 30, _HEAD),
            QtCore.Qt.AlignmentFlag.AlignVCenter,
            self.text,
        )


class ctkCollapsibleGroupBox(Habits, QtWidgets.QGroupBox):
    """A group box whose check mark shows and hides its children."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(self._expand)

    def _get_collapsed(self) -> bool:
        return not self.isChecked()

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)

    def _expand(self, expanded: bool) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(expanded)
        self.setMaximumHeight(16777215 if expanded else 22)

    def childEvent(self, event: Any) -> None:
        """Hide what is put into a collapsed group."""
        super().childEvent(event)
        child = event.child()
        if event.added() and isinstance(child, QtWidgets.QWidget) and not self.isChecked():
            child.setVisible(False)

    def paintEvent(self, event: Any) -> None:
        """Paint the title with an arrow in place of the check mark, as CTK does."""
        if self.isChecked():
            super().paintEvent(event)
        painter = QtWidgets.QStylePainter(self)
        style = QtWidgets.QStyle
        background = self.palette
        painter.fillRect(0, 0, 20, 20, background.color(QtGui.QPalette.ColorRole.Window))
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(4, 4, 12, 12)
        shape = style.PrimitiveElement
        painter.drawPrimitive(
            shape.PE_IndicatorArrowDown if self.isChecked() else shape.PE_IndicatorArrowRight,
            arrow,
        )
        if not self.isChecked():
            painter.drawText(
                QtCore.QRect(22, 0, QtWidgets.QWidget.width(self), 20),
                QtCore.Qt.AlignmentFlag.AlignVCenter,
                self.title,
            )


class ctkSliderWidget(Habits, QtWidgets.QWidget):
    """A slider beside a spin box."""

    valueChanged = QtCore.Signal(float)
    SIGNALS = ("valueChanged(double)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, 1000)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spin)
        self._spin.valueChanged.connect(self._on_spin)
        self._slider.valueChanged.connect(self._on_slider)

    def _on_spin(self, value: float) -> None:
        low, high = self._spin.minimum(), self._spin.maximum()
        self._slider.blockSignals(True)
        self._slider.setValue(round(1000 * (value - low) / (high - low)) if high > low else 0)
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _on_slider(self, position: int) -> None:
        low, high = self._spin.minimum(), self._spin.maximum()
        self._spin.setValue(low + position / 1000 * (high - low))

    def _float(name: str) -> Any:  # noqa: N805
        setter = f"set{name[0].upper()}{name[1:]}"
        return QtCore.Property(
            float,
            lambda self: getattr(self._spin, name)(),
            lambda self, value: getattr(self._spin, setter)(value),
        )

    minimum, maximum, value = _float("minimum"), _float("maximum"), _float("value")
    singleStep = _float("singleStep")
    decimals = QtCore.Property(
        int, lambda self: self._spin.decimals(), lambda self, n: self._spin.setDecimals(n)
    )
    del _float


class ctkMessageBox(qt.QMessageBox):  # type: ignore[misc]
    """A message box: what it would show is kept for the test, nobody can press its buttons."""

    shown: ClassVar[list[str]] = []

    def exec_(self) -> int:
        """Note the text instead of waiting."""
        ctkMessageBox.shown.append(self.text)
        return int(QtWidgets.QMessageBox.StandardButton.Ok.value)
