"""A list of functions that are called when something has happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Listener = Callable[..., object]


class Signal:
    """Calls its listeners, in the order they were connected.

    A listener may connect and disconnect while it is called: one connected then hears of the next
    time, one disconnected then is not called any more.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def connect(self, listener: Listener) -> None:
        """Have a function called with what is emitted; a second time has no effect."""
        if listener not in self._listeners:
            self._listeners.append(listener)

    def disconnect(self, listener: Listener) -> None:
        """Do not call a function any more; no effect where it was not connected."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def clear(self) -> None:
        """Disconnect all."""
        self._listeners.clear()

    def emit(self, *arguments: Any) -> None:
        """Call every listener with the arguments."""
        for listener in tuple(self._listeners):
            if listener in self._listeners:
                listener(*arguments)
