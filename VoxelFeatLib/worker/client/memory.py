"""What a new worker has to be told, so that it goes on where the last one ended."""

from __future__ import annotations

from dataclasses import dataclass

from VoxelFeatLib.worker.client.requests import Payload, Request
from VoxelFeatLib.worker.protocol import Message

# A step that was under way when this many workers died is left out.
_MOST_DEATHS = 2


@dataclass(eq=False)
class Step:
    """A request that brings something back.

    Attributes:
        kind: Its type.
        arguments: Its arguments.
        payload: Makes its payload, where it has one.
        deaths: Workers that ended while they were at it.
    """

    kind: str
    arguments: Message
    payload: Payload | None = None
    deaths: int = 0

    @classmethod
    def of(cls, request: Request) -> Step:
        """The same request once more."""
        return cls(request.kind, request.arguments, request.payload)


class Memory:
    """The volume and the field that the worker holds, as far as they can be brought back."""

    def __init__(self) -> None:
        self._volume: Step | None = None
        self._field: Step | None = None
        self._field_lost = False
        self._unfinished = False

    def for_new_worker(self) -> tuple[Step, ...]:
        """What to ask a new worker for, in this order."""
        self._unfinished = False
        return tuple(step for step in (self._volume, self._field) if step is not None)

    @property
    def lost(self) -> str:
        """What cannot be brought back, as a sentence; empty when nothing."""
        if self._volume is None or self._field is not None or not self._field_lost:
            return ""
        return "The field is lost: it was not kept in a file."

    def note(self, request: Request, message: Message) -> None:
        """See what an event, or the end, of a request says of volume and field."""
        if "event" in message:
            # From here on the worker uses the unfinished field.
            self._unfinished |= request.kind == "fit" and message.get("usable") is True
        elif message.get("ok"):
            self._succeeded(request, message)
        elif request.kind == "open_volume":
            self._set_volume(None)  # the old one went first, to make room
        elif request.kind == "fit" and self._unfinished:
            self._set_field(None, lost=True)

    def _succeeded(self, request: Request, reply: Message) -> None:
        path, device = request.arguments.get("path"), request.arguments.get("device")
        match request.kind:
            case "open_volume":
                self._set_volume(Step.of(request))
            case "close_volume":
                self._set_volume(None)
            case "fit":
                path = reply.get("path")
                self._set_field(_load(path, device) if path else None, lost=not path)
            case "load_field":
                self._set_field(Step.of(request))
            case "save_field" if self._field_lost and path:
                self._set_field(_load(path, None))

    def drop(self, step: Step) -> str:
        """Give something up that could not be brought back; returns what it is."""
        if step is self._volume:
            self._set_volume(None)
            return "volume"
        self._set_field(None)
        return "field"

    def died(self, step: Step) -> None:
        """See a worker end during a step; one that ends every worker is given up."""
        step.deaths += 1
        if step.deaths >= _MOST_DEATHS:
            self.drop(step)

    def _set_volume(self, step: Step | None) -> None:
        self._volume = step
        self._set_field(None)

    def _set_field(self, step: Step | None, *, lost: bool = False) -> None:
        self._field, self._field_lost, self._unfinished = step, lost, False


def _load(path: object, device: object) -> Step:
    return Step("load_field", {"path": path, "device": device or "auto"})
