"""Keyboard shortcuts, there only while the module is open."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

Action = tuple[str, str, Callable[[], None]]


class Shortcuts:
    """Installs shortcuts on the main window and lists them in the panel.

    The keys leave alone those of the Segment Editor (digits, Escape, Space, Z, Y, Q, W, I, Ctrl+Z,
    Ctrl+Y, comma and the like), of the slice views (arrows, B, F, G, R, T, V, brackets) and of the
    main window (Ctrl with letters and digits).

    Args:
        label: Where they are listed.
        actions: Key, text and function of each.
    """

    def __init__(self, label: Any, actions: tuple[Action, ...]) -> None:
        self._actions = actions
        self._installed: list[Any] = []
        rows = "".join(
            f"<tr><td><b>{html.escape(key)}</b>&nbsp;&nbsp;</td><td>{html.escape(text)}</td></tr>"
            for key, text, _function in actions
        )
        label.text = f"<table>{rows}</table>"

    def install(self) -> None:
        """Make the keys work; a second time has no effect."""
        window = slicer.util.mainWindow()
        if self._installed or window is None:
            return
        for key, _text, function in self._actions:
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.connect("activated()", function)
            self._installed.append(shortcut)

    def remove(self) -> None:
        """Give the keys back."""
        for shortcut in self._installed:
            shortcut.disconnect("activated()")
            # Deleted later, it must not hold its key until then.
            shortcut.enabled = False
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()


def segment_actions(section: Any) -> tuple[Action, ...]:
    """Return what keys do in the section "Segment"."""
    actions: tuple[Action, ...] = (
        ("A", _("click inside"), lambda: section.toggle_place(positive=True)),
        ("D", _("click outside"), lambda: section.toggle_place(positive=False)),
        ("S", _("scribble inside"), lambda: section.toggle_scribble(positive=True)),
        ("X", _("scribble outside"), lambda: section.toggle_scribble(positive=False)),
        ("O", _("box on or off"), section.toggle_box),
        ("U", _("undo"), section.undo),
        ("Shift+U", _("redo"), section.redo),
        ("C", _("recompute"), section.recompute),
        ("P", _("next place to click at"), section.next_place),
        ("N", _("new segment"), section.add_segment),
    )
    return tuple((key, text, section.said(function)) for key, text, function in actions)
