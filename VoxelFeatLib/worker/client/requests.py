"""What a client asks for: a request with its callbacks, and the error that it may end with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.protocol import Message

Payload = Callable[[], Iterable[bytes | memoryview]]
Masks = Callable[[str], Message | None]
OnMessage = Callable[[Message], None]


class WorkerError(VoxelFeatError):
    """A request that failed.

    Args:
        code: One of the protocol's error codes, such as "no_field".
        message: One sentence.
        hint: What to try next; often empty.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code

    @classmethod
    def of(cls, error: Mapping[str, Any]) -> WorkerError:
        """Make it from the error of a reply, whatever that contains."""
        code, message = error.get("code") or protocol.INTERNAL, error.get("message")
        return cls(str(code), str(message or "The worker failed."), str(error.get("hint") or ""))

    def to_wire(self) -> Message:
        """Return it as a reply carries it."""
        return error_of(self.code, self.message, self.hint)


@dataclass(eq=False)
class Request:
    """Something asked of the worker.

    Attributes:
        kind: Its type.
        arguments: Its arguments.
        id: Its present number; it has another one when it is repeated.
        done: Whether it has been answered; nothing is called afterwards.
    """

    kind: str
    arguments: Message
    ask_to_cancel: Callable[[Request], None] = field(repr=False)
    payload: Payload | None = field(default=None, repr=False)
    masks: Masks | None = field(default=None, repr=False)
    on_event: OnMessage | None = field(default=None, repr=False)
    on_reply: OnMessage | None = field(default=None, repr=False)
    on_error: OnMessage | None = field(default=None, repr=False)
    on_repeat: Callable[[], None] | None = field(default=None, repr=False)
    repeat: bool = True
    id: int = 0
    done: bool = False
    sent: bool = field(default=False, init=False)
    cancelled: bool = field(default=False, init=False)
    deaths: int = field(default=0, init=False)
    masks_given: set[str] = field(default_factory=set, init=False, repr=False)

    def cancel(self) -> None:
        """Ask for it to be given up; it ends with the error "cancelled" unless it was done."""
        if not self.done:
            self.ask_to_cancel(self)

    @property
    def message(self) -> Message:
        """What is sent."""
        parts = {} if self.payload is None else {"parts": True}
        return {**self.arguments, **parts, "id": self.id, "type": self.kind}

    def parts(self) -> Iterator[tuple[bytes, bool]]:
        """Make the payload's parts, from its beginning."""
        if self.payload is not None:
            yield from protocol.in_parts(self.payload())

    def succeed(self, reply: Message) -> None:
        """End it with its result."""
        if not self.done:
            self.done = True
            if self.on_reply is not None:
                self.on_reply(reply)

    def fail(self, error: Message) -> None:
        """End it with an error."""
        if not self.done:
            self.done = True
            if self.on_error is not None:
                self.on_error(error)


def error_of(code: str, message: str, hint: str = "") -> Message:
    """Return an error of the client's own as a reply would carry it."""
    return {"code": code, "message": message, "hint": hint}


def run_all(calls: Iterable[Callable[[], object]]) -> None:
    """Call one after the other, all of them even if one raises; then its error goes on."""
    with ExitStack() as stack:
        for call in reversed(list(calls)):
            stack.callback(call)
