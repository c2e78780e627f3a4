"""``slicer.parameterNodeWrapper``, for the types and widgets that the panel has.

Values are written to the parameter node in the same form as Slicer writes them.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any

import ctk
import qt
import slicer
import vtk

_PROPERTY = "SlicerParameterName"


@dataclass
class WithinRange:
    """Bounds of a number."""

    minimum: float
    maximum: float


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _write(node: Any, name: str, kind: Any, value: Any) -> None:
    bare = _bare(kind)
    if issubclass(bare, slicer.vtkMRMLNode):
        if value is not None and not isinstance(value, bare):
            raise TypeError(f"{name} takes a {bare.__name__}, not {value!r}")
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        return
    allowed = (int, float) if bare is float else bare
    if not isinstance(value, allowed):
        raise TypeError(f"{name} takes a {bare.__name__}, not {value!r}")
    node.SetParameter(name, str(value))


def _read(node: Any, name: str, kind: Any) -> Any:
    bare = _bare(kind)
    if issubclass(bare, slicer.vtkMRMLNode):
        return node.GetNodeReference(name)
    text = node.GetParameter(name)
    return text == "True" if bare is bool else bare(text)


def parameterNodeWrapper(cls: type) -> type:
    """Make a class's annotations properties that live in a parameter node."""
    kinds = typing.get_type_hints(cls, include_extras=True)
    defaults = {
        name: getattr(cls, name, None if issubclass(_bare(kind), vtk.vtkObject) else _bare(kind)())
        for name, kind in kinds.items()
    }

    def initialise(self: Any, node: Any) -> None:
        self.parameterNode = node
        self._tags, self._guis = {}, {}
        for name, kind in kinds.items():
            if not node.HasParameter(name):
                _write(node, name, kind, defaults[name])

    def accessor(name: str) -> property:
        return property(
            lambda self: _read(self.parameterNode, name, kinds[name]),
            lambda self, value: _write(self.parameterNode, name, kinds[name], value),
        )

    members: dict[str, Any] = {name: accessor(name) for name in kinds}
    members |= {
        "__init__": initialise,
        "__doc__": cls.__doc__,
        "_kinds": kinds,
        "connectGui": _connect_gui,
        "disconnectGui": _disconnect_gui,
        "AddObserver": lambda self, *arguments: self.parameterNode.AddObserver(*arguments),
        "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
        "StartModify": lambda self: self.parameterNode.StartModify(),
        "EndModify": lambda self, before: self.parameterNode.EndModify(before),
    }
    return types.new_class(cls.__name__, (), {}, lambda space: space.update(members))


def _connect_gui(self: Any, ui: Any) -> int:
    widgets = {w.property(_PROPERTY): w for w in vars(ui).values() if w.property(_PROPERTY)}
    for name in widgets:
        if name not in self._kinds:
            raise ValueError(f"Cannot find a param with the given name: {name}")
    tag = len(self._tags)
    showing = False

    def show(*_: Any) -> None:
        nonlocal showing
        if showing:
            return
        showing = True
        try:
            for name, widget in widgets.items():
                _show(widget, getattr(self, name))
        finally:
            showing = False

    def taker(name: str, widget: Any) -> Any:
        def take(*_: Any) -> None:
            if not showing:
                setattr(self, name, _value(widget))

        return take

    show()
    connections = [
        (_changed(widget, self._kinds[name]), taker(name, widget))
        for name, widget in widgets.items()
    ]
    for signal, function in connections:
        signal.connect(function)
    self._guis[tag] = connections
    self._tags[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, show)
    return tag


def _disconnect_gui(self: Any, tag: int) -> None:
    for signal, function in self._guis.pop(tag):
        signal.disconnect(function)
    self.RemoveObserver(self._tags.pop(tag))


def _changed(widget: Any, kind: Any) -> Any:
    """Return the signal of a widget that can hold this type; the pairs are Slicer's."""
    if type(widget) is slicer.qMRMLNodeComboBox and issubclass(_bare(kind), slicer.vtkMRMLNode):
        widget.nodeTypes = [_bare(kind)().GetClassName()]
        return widget.currentNodeChanged
    if type(widget) is qt.QCheckBox and _bare(kind) is bool:
        return widget.stateChanged
    if type(widget) is ctk.ctkSliderWidget and _bare(kind) is float:
        bounds = [part for part in typing.get_args(kind) if isinstance(part, WithinRange)]
        if not bounds:
            raise RuntimeError("A slider needs a type with WithinRange.")
        widget.minimum, widget.maximum = bounds[0].minimum, bounds[0].maximum
        return widget.valueChanged
    raise RuntimeError(f"Unable to create GUI connector from {kind} to {type(widget)}")


def _value(widget: Any) -> Any:
    if isinstance(widget, slicer.qMRMLNodeComboBox):
        return widget.currentNode()
    return widget.checked if isinstance(widget, qt.QCheckBox) else widget.value


def _show(widget: Any, value: Any) -> None:
    if isinstance(widget, slicer.qMRMLNodeComboBox):
        widget.setCurrentNode(value)
    elif isinstance(widget, qt.QCheckBox):
        widget.checked = value
    else:
        widget.value = value
