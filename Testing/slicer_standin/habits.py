"""PythonQt's habits over PySide6's classes.

In PythonQt a Qt property is an attribute, ``name`` is the object's name, ``connect`` is a method
that takes a signal's C++ signature, and an attribute that the C++ class does not have can neither
be read nor written.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from PySide6 import QtCore, QtWidgets

# Qt calls methods of these names itself and would find the property instead.
_VIRTUAL = {"sizeHint", "minimumSizeHint"}
_VIRTUAL_OF = {QtWidgets.QProgressBar: {"text"}}


@cache
def _properties(cls: type) -> frozenset[str]:
    """Names of the properties that PySide6's class has as methods."""
    base = next(c for c in cls.__mro__ if c.__module__.startswith("PySide6"))
    meta = base.staticMetaObject
    names = {meta.property(n).name() for n in range(meta.propertyCount())}
    for widget, virtual in _VIRTUAL_OF.items():
        if issubclass(base, widget):
            names -= virtual
    return frozenset(names - _VIRTUAL)


class Habits:
    """Mixed into a PySide6 class, makes it behave as PythonQt's class of that name.

    Attributes:
        SIGNALS: Signatures, as in C++, of the signals that the class defines itself.
        SLOTS: The same of the slots that a `.ui` file may connect to.
    """

    SIGNALS: tuple[str, ...] = ()
    SLOTS: tuple[str, ...] = ()

    def __getattribute__(self, name: str) -> Any:
        get = super().__getattribute__
        if name == "name":
            return get("objectName")()
        if name in {"connect", "disconnect"}:  # PySide6 would take its own ones first
            return getattr(Habits, name).__get__(self)
        if not name.startswith("_") and name in _properties(type(self)):
            return get("property")(name)
        return get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "name":
            name = "objectName"
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif name in _properties(type(self)):
            if not self.setProperty(name, value):
                raise AttributeError(f"Property {name} does not accept {value!r}")
        elif isinstance(getattr(type(self), name, None), QtCore.Property):
            super().__setattr__(name, value)
        elif getattr(value, "name", None) == name and value.parent() is not None:
            pass  # PySide6's loader makes children attributes of the root; PythonQt's does not
        else:
            raise AttributeError(f"{type(self).__name__} has no property {name!r} to set")

    def connect(self, signature: str, function: Any) -> bool:
        """Connect a signal, named by its C++ signature."""
        self._signal(signature).connect(function)
        return True

    def disconnect(self, signature: str, function: Any = None) -> bool:
        """Disconnect one function, or all."""
        signal = self._signal(signature)
        signal.disconnect(function) if function is not None else signal.disconnect()
        return True

    def _signal(self, signature: str) -> Any:
        normal = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
        base = next(c for c in type(self).__mro__ if c.__module__.startswith("PySide6"))
        if normal not in self.SIGNALS and base.staticMetaObject.indexOfSignal(normal) < 0:
            raise AttributeError(f"{type(self).__name__} has no signal {signature}")
        name = signature.split("(", maxsplit=1)[0]
        # A second signal of the same name has a name of its own in Python.
        if normal in self.SIGNALS and normal.endswith("(bool)"):
            name = {"currentNodeChanged": "_current_node_valid"}.get(name, name)
        return getattr(self, name)


def pythonqt(base: type) -> type:
    """Return PythonQt's class of the same name."""
    return type(base.__name__, (Habits, base), {"__module__": "qt"})
