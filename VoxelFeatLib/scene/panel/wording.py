"""How the panel writes states, times and volumes."""

from __future__ import annotations

import html
from typing import Literal

from slicer.i18n import tr as _

Tone = Literal["idle", "busy", "good", "warning", "bad"]

# Readable on light and on dark backgrounds.
_COLORS: dict[Tone, str] = {
    "idle": "#8a94a0",
    "busy": "#2f7fc1",
    "good": "#2e9e5b",
    "warning": "#d08a1e",
    "bad": "#d1495b",
}


def state_line(tone: Tone, text: str) -> str:
    """Return rich text: a coloured dot, then the text."""
    return f'<span style="color:{_COLORS[tone]}">●</span>&nbsp;{html.escape(text)}'


def colored(tone: Tone, text: str) -> str:
    """Return rich text in a tone's colour."""
    return f'<span style="color:{_COLORS[tone]}">{html.escape(text)}</span>'


def time_left(seconds: float | None) -> str:
    """Return how long something will take, roughly; empty when that is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return _("{seconds} s left").format(seconds=max(1, round(seconds)))
    if seconds < 5400:
        return _("{minutes} min left").format(minutes=round(seconds / 60))
    return _("{hours} h left").format(hours=f"{seconds / 3600:.1f}")


def progress_format(seconds_left: float | None) -> str:
    """Return the text inside a progress bar, in Qt's notation."""
    left = time_left(seconds_left)
    return f"%p% · {left}" if left else "%p%"


def milliliters(value: float, *, signed: bool = False) -> str:
    """Return a volume with as many digits as it deserves; a true minus sign."""
    digits = 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return f"{text.replace('-', '−')} ml"


def gained_and_lost(gained_ml: float, lost_ml: float) -> str:
    """Return what a click changed, for example "+1.2 ml, −0.10 ml"; in words where nothing did."""
    parts = [milliliters(part, signed=True) for part in (gained_ml, -lost_ml) if part]
    return ", ".join(parts) or _("no change")
