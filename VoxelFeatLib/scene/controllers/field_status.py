"""How it stands with a volume's field, in words and numbers for the panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "no_volume", "unsuitable", "uploading", "no_field", "fitting", "ready", "stale", "error"
]


@dataclass(frozen=True)
class FieldStatus:
    """What the panel shows of the field.

    Attributes:
        kind: The state.
        text: One line for the user.
        fraction: Of the running work, 0 to 1; None when there is none.
        seconds_left: Expected; None when not known.
        agreement: Mean held-out cosine of the field; None before it has been measured.
        usable: Whether clicks can be answered.
    """

    kind: Kind
    text: str
    fraction: float | None = None
    seconds_left: float | None = None
    agreement: float | None = None
    usable: bool = False

    @property
    def busy(self) -> bool:
        """Whether there is something to cancel."""
        return self.kind in {"uploading", "fitting"}


NO_VOLUME = FieldStatus("no_volume", "Choose a volume.")
NO_FIELD = FieldStatus("no_field", "No field yet: press Fit.")


def fitting(event: dict[str, Any]) -> FieldStatus:
    """Return the status that a progress event of a fit tells."""
    usable = bool(event.get("usable"))
    stage = str(event.get("stage") or "fitting")
    stage = stage[0].upper() + stage[1:]
    text = f"{stage}. You can click already." if usable else f"{stage}…"
    return FieldStatus(
        "fitting",
        text,
        fraction=event.get("fraction"),
        seconds_left=event.get("seconds_left"),
        agreement=event.get("mean_cosine"),
        usable=usable,
    )


def ready(field: dict[str, Any], text: str = "Ready: click in a slice.") -> FieldStatus:
    """Return the status of a finished or opened field."""
    return FieldStatus("ready", text, agreement=field.get("mean_cosine"), usable=True)


def failed(error: dict[str, Any]) -> FieldStatus:
    """Return the status after an error reply."""
    return FieldStatus("error", sentence(error))


def sentence(error: dict[str, Any]) -> str:
    """Return an error's message with its hint."""
    return " ".join(str(error[key]) for key in ("message", "hint") if error.get(key))
