"""Requests and their answers, over one worker's connection after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.client.connection import Connection
from VoxelFeatLib.worker.client.requests import (
    OnMessage,
    Payload,
    Request,
    WorkerError,
    error_of,
    run_all,
)
from VoxelFeatLib.worker.protocol import Message, ProtocolError

# A request during which this many workers died is not repeated.
_MOST_DEATHS = 2


class Exchange:
    """Knows what was asked and not answered: by the user, and by the client for itself.

    What the user asked for outlives a worker, what the client asked for does not.

    Args:
        soon: Calls something a moment later.
        on_answer: Called with each message about a request of the user's, before its user.
        on_odd: Called with a line about an answer that belongs to nothing.

    Attributes:
        connection: To the present worker; None when there is none.
    """

    def __init__(
        self,
        soon: Callable[[Callable[[], None]], None],
        on_answer: Callable[[Request, Message], None],
        on_odd: Callable[[str], None],
    ) -> None:
        self.connection: Connection | None = None
        self._soon = soon
        self._on_answer = on_answer
        self._on_odd = on_odd
        self._numbers = count(1)
        self._users: dict[int, Request] = {}
        self._own: dict[int, Request] = {}

    @property
    def first_kind(self) -> str:
        """The type of the user's oldest request that is not answered; empty when there is none."""
        return next((request.kind for request in self._users.values()), "")

    # ------------------------------------------------------------------ asking

    def add(self, request: Request) -> None:
        """Take a request of the user's; it is not sent yet."""
        request.id = next(self._numbers)
        self._users[request.id] = request

    def ask(
        self,
        kind: str,
        arguments: Message,
        *,
        payload: Payload | None = None,
        on_reply: OnMessage | None = None,
        on_error: OnMessage | None = None,
    ) -> None:
        """Ask the present worker for something of the client's own."""
        request = Request(kind, arguments, self.cancel, payload=payload)
        request.on_reply, request.on_error = on_reply, on_error
        request.id = next(self._numbers)
        self._own[request.id] = request
        self.send(request)

    def send_waiting(self) -> None:
        """Send all that the user asked for and this worker has not been told."""
        waiting = [request for request in self._users.values() if not request.sent]
        run_all(partial(self._send_first_or_again, request) for request in waiting)

    def _send_first_or_again(self, request: Request) -> None:
        if request.deaths and not request.done and request.on_repeat is not None:
            request.on_repeat()
        self.send(request)

    def send(self, request: Request) -> None:
        """Send a request, unless it has been answered or sent in the meantime."""
        connection = self.connection
        if connection is None or request.done or request.sent:
            return
        try:
            connection.send(request.message)
        except ProtocolError as error:
            self._forget(request)
            too_large = error_of(protocol.TOO_LARGE, error.message, error.hint)
            self._soon(partial(request.fail, too_large))
            return
        request.sent = True
        if request.payload is not None:
            connection.upload(request.id, request.parts(), partial(self._cannot_read, request))

    def cancel(self, request: Request) -> None:
        """Ask the worker to give a request up, or give it up here if it was not sent."""
        request.cancelled = True
        if not request.sent or self.connection is None:
            self._forget(request)
            self._soon(partial(request.fail, error_of(protocol.CANCELLED, "Cancelled.")))
            return
        self.connection.drop_upload(request.id)
        number = request.id

        def answered(reply: Message) -> None:
            # What the worker does not know, because it was cut off before its end, has no answer.
            if not reply.get("found") and self._users.pop(number, None) is not None:
                request.fail(error_of(protocol.CANCELLED, "Cancelled."))

        self.ask("cancel", {"target": number}, on_reply=answered)

    def _cannot_read(self, request: Request, error: VoxelFeatError) -> None:
        """End a request whose payload cannot be read any more."""
        self._forget(request)
        self.ask("cancel", {"target": request.id})
        unreadable = error_of(protocol.INPUT, error.message, error.hint)
        self._soon(partial(request.fail, unreadable))

    # ------------------------------------------------------------------ answers

    def handle(self, message: Message) -> None:
        """Bring a message of the worker to whom it belongs."""
        number = message.get("id")
        number = number if isinstance(number, int) else 0
        own = self._own.get(number)
        request = own or self._users.get(number)
        if request is None:
            # The answer to something given up, or to a message that the worker could not read.
            if not message.get("ok", True):
                self._on_odd(f"The worker says: {message.get('error')}")
            return
        if own is None:
            self._on_answer(request, message)
        if "event" in message:
            if request.on_event is not None:
                request.on_event(message)
        elif message.get("ok"):
            self._forget(request)
            request.succeed(message)
        else:
            error = message.get("error")
            self._failed(request, error if isinstance(error, dict) else {})

    def _failed(self, request: Request, error: Message) -> None:
        self._forget(request)
        if error.get("code") == protocol.UNKNOWN_MASK and self._give_masks(request, error):
            return
        request.fail(error | WorkerError.of(error).to_wire())

    def _give_masks(self, request: Request, error: Message) -> bool:
        """Send masks that a new worker cannot know, and the request again; whether there are."""
        keys = error.get("keys")
        keys = {str(key) for key in keys} if isinstance(keys, list) else set()
        keys -= request.masks_given
        if request.masks is None or not keys or request.cancelled:
            return False
        found = {key: request.masks(key) for key in sorted(keys)}
        if None in found.values():
            return False
        request.masks_given |= keys
        for key, mask in found.items():
            self.ask("put_mask", {"key": key, "mask": mask})
        self.add(request)
        request.sent = False
        self.send(request)
        return True

    def _forget(self, request: Request) -> None:
        self._own.pop(request.id, None)
        self._users.pop(request.id, None)
        if request.payload is not None and self.connection is not None:
            self.connection.drop_upload(request.id)

    # ------------------------------------------------------------------ ends

    def disconnect(self) -> None:
        """End the worker, if there is one, and what the client asked it for."""
        connection, self.connection = self.connection, None
        self._own.clear()
        if connection is not None:
            connection.close()

    def count_deaths(self, error: Message) -> list[Callable[[], None]]:
        """Prepare for the next worker what the last one was told.

        Args:
            error: What ends a request that is not repeated.

        Returns:
            How to end these.
        """
        ends: list[Callable[[], None]] = []
        for request in [request for request in self._users.values() if request.sent]:
            request.sent = False
            request.deaths += 1
            request.masks_given.clear()
            if request.cancelled:
                ends.append(partial(request.fail, error_of(protocol.CANCELLED, "Cancelled.")))
            elif not request.repeat or request.deaths >= _MOST_DEATHS:
                ends.append(partial(request.fail, error))
            else:
                continue
            del self._users[request.id]
        return ends

    def fail_all(self, error: Message) -> None:
        """End all that the user asked for."""
        requests: Iterable[Request] = list(self._users.values())
        self._users.clear()
        run_all(partial(request.fail, error) for request in requests)
