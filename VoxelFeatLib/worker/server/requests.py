"""One request while it is being answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from VoxelFeatLib.worker.protocol import Message
from VoxelFeatLib.worker.server.arguments import Arguments

# A handler answers in pieces; what it returns is the reply.
Steps = Generator[None, None, Message]

# Seconds between two progress events.
_PACE = 0.2


@dataclass(frozen=True, eq=False)
class Request:
    """A request and the way back to who asked.

    Attributes:
        number: Its id.
        kind: Its type.
        arguments: What it carries.
        send: Sends a message.
    """

    number: int
    kind: str
    arguments: Arguments
    send: Callable[[Message], None]

    def event(self, name: str, **values: Any) -> None:
        """Send an event."""
        self.send({"id": self.number, "event": name, **values})

    def reply(self, result: Message) -> None:
        """Send the reply."""
        self.send({"id": self.number, "ok": True, **result})

    def fail(self, error: Message) -> None:
        """Send an error reply."""
        self.send({"id": self.number, "ok": False, "error": error})


class Reporter:
    """Sends progress events, but not too many."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._last = -_PACE

    def __call__(self, *, always: bool = False, **values: Any) -> None:
        """Send the values, unless something was sent a moment ago and this need not be seen."""
        now = time.monotonic()
        if always or now - self._last >= _PACE:
            self._last = now
            self._request.event("progress", **values)
