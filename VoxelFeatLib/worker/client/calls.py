"""A client for programs without an event loop: scripts, benchmarks, tests."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from time import monotonic
from typing import Any

from VoxelFeatLib.worker.client.client import Client
from VoxelFeatLib.worker.client.requests import Masks, OnMessage, Payload, WorkerError
from VoxelFeatLib.worker.client.transport import SubprocessTransport, Transport
from VoxelFeatLib.worker.protocol import Message

# Seconds to wait at a time.
_STEP = 0.1


class Loop:
    """Runs a client whose worker is a child process: its pipes and its delays.

    Args:
        command: Program and arguments.
        environment: The worker's whole environment; this process's own when None.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = environment
        self._transport: SubprocessTransport | None = None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    @property
    def process_id(self) -> int | None:
        """Of the present worker."""
        return None if self._transport is None else self._transport.process_id

    def make_transport(self) -> Transport:
        """Make the connection to a new worker; the one before is not listened to any more."""
        self._transport = SubprocessTransport(self._command, self._environment)
        return self._transport

    def schedule(self, seconds: float, call: Callable[[], None]) -> None:
        """Call after some seconds, from within ``poll``."""
        heapq.heappush(self._due, (monotonic() + seconds, next(self._numbers), call))

    def poll(self, timeout: float = 0.0) -> None:
        """Wait up to some seconds for anything to happen, and call back for what has."""
        if self._due:
            timeout = max(0.0, min(timeout, self._due[0][0] - monotonic()))
        if self._transport is not None:
            self._transport.poll(timeout)
        while self._due and self._due[0][0] <= monotonic():
            heapq.heappop(self._due)[2]()


def call(
    client: Client,
    kind: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    poll: Callable[[float], object],
    timeout: float | None = None,
    payload: Payload | None = None,
    masks: Masks | None = None,
    on_event: OnMessage | None = None,
) -> Message:
    """Ask for something and wait for its result.

    Args:
        client: The client.
        kind: The request's type.
        arguments: Its arguments.
        poll: Waits up to some seconds for anything to happen, such as ``Loop.poll``.
        timeout: Seconds after which it is cancelled; never when None.
        payload: As in ``Client.request``.
        masks: As in ``Client.request``.
        on_event: Called with every event.

    Raises:
        WorkerError: The request failed.
        TimeoutError: It took too long.
    """
    replies: list[Message] = []
    errors: list[Message] = []
    request = client.request(
        kind,
        arguments,
        payload=payload,
        masks=masks,
        on_event=on_event,
        on_reply=replies.append,
        on_error=errors.append,
    )
    end = None if timeout is None else monotonic() + timeout
    while not request.done:
        if end is not None and monotonic() > end:
            request.cancel()
            raise TimeoutError(f"The worker did not answer “{kind}” within {timeout:g} seconds.")
        poll(_STEP)
    if errors:
        raise WorkerError.of(errors[0])
    return replies[0]
