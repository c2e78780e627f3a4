"""The worker as its user sees it: requests with callbacks, which survive the worker's death.

Event driven and without threads: the transport calls in when something has happened, and nothing
here blocks. A worker that ends unexpectedly is started again, is given the volume and the field
that the last one had, and then every request that was not answered yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import monotonic
from typing import Any, Literal

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.client.connection import Connection
from VoxelFeatLib.worker.client.exchange import Exchange
from VoxelFeatLib.worker.client.exits import End
from VoxelFeatLib.worker.client.memory import Memory, Step
from VoxelFeatLib.worker.client.requests import (
    Masks,
    OnMessage,
    Payload,
    Request,
    WorkerError,
    error_of,
    run_all,
)
from VoxelFeatLib.worker.client.transport import Transport
from VoxelFeatLib.worker.protocol import Message

__all__ = ["Client", "Request", "State", "WorkerError"]

State = Literal["stopped", "starting", "ready", "failed"]
OnState = Callable[[State, str], None]
Schedule = Callable[[float, Callable[[], None]], None]

# Lines of the worker's log that are kept.
_LOG_LINES = 2000
# A worker that dies more often than this within so many seconds is not started again.
_MOST_CRASHES, _CRASH_SECONDS = 3, 60.0
# Requests whose events add up to their result: repeated only for who can start anew.
_ADDING_UP = {"save_field"}


class Client:
    """One worker, restarted when it dies.

    Args:
        make_transport: Makes the connection to a new worker.
        schedule: Calls something after some seconds, in the same thread. Without it a worker may
            take as long as it likes to answer, and errors that need no worker come from within
            ``request`` and ``cancel``.
        patience: Seconds that a worker may take to answer for the first time: reading torch from
            a cold disk is slow.

    Attributes:
        state: "stopped", "starting" (until volume and field are there again), "ready", "failed".
        hello: What the worker told of itself; empty before its first answer.
        log: The latest lines of its log.
        on_state: Called with the state and a sentence, often empty.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        schedule: Schedule | None = None,
        patience: float = 120.0,
    ) -> None:
        self.state: State = "stopped"
        self.hello: Message = {}
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self.on_state: list[OnState] = []
        self._make_transport = make_transport
        self._schedule = schedule
        self._patience = patience
        self._memory = Memory()
        self._exchange = Exchange(self._soon, self._memory.note, self.log.append)
        self._answered = False
        self._restoring: Step | None = None
        self._crashes: deque[float] = deque()
        self._failure: Message = {}

    # ------------------------------------------------------------------ what a user does

    def start(self) -> None:
        """Start the worker unless it is running; it goes on with volume and field of the last."""
        if self.state in {"stopped", "failed"}:
            self._crashes.clear()
            self._set_state("starting", "Starting the worker.")
            self._launch()

    def stop(self) -> None:
        """End the worker; what was not answered ends with the error "cancelled"."""
        self._end_worker()
        self._set_state("stopped")
        self._exchange.fail_all(error_of(protocol.CANCELLED, "The worker was stopped."))

    def restart(self) -> None:
        """End the worker, and start one with the same volume and field."""
        self.stop()
        self.start()

    def request(  # noqa: PLR0913 - all but the first two are optional, and named
        self,
        kind: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        payload: Payload | None = None,
        masks: Masks | None = None,
        on_event: OnMessage | None = None,
        on_reply: OnMessage | None = None,
        on_error: OnMessage | None = None,
        on_repeat: Callable[[], None] | None = None,
        repeat: bool = True,
    ) -> Request:
        """Ask the worker for something, starting it when it is stopped.

        Args:
            kind: The request's type.
            arguments: Its arguments.
            payload: Makes the blocks of bytes that follow it, anew whenever it is repeated.
            masks: Returns the wire form of a mask that the worker does not know, or None.
            on_event: Called with every event.
            on_reply: Called with the result, or
            on_error: called with code, message, hint and what else the error carries.
            on_repeat: Called before it is asked again of a new worker: its events start anew.
            repeat: Whether that is wanted.
        """
        request = Request(
            kind,
            dict(arguments or {}),
            self._exchange.cancel,
            payload=payload,
            masks=masks,
            on_event=on_event,
            on_reply=on_reply,
            on_error=on_error,
            on_repeat=on_repeat,
            repeat=repeat and (kind not in _ADDING_UP or on_repeat is not None),
        )
        if self.state == "failed":
            self._soon(partial(request.fail, self._failure | {"code": protocol.NOT_STARTED}))
            return request
        self._exchange.add(request)
        if self.state == "ready":
            self._exchange.send(request)
        else:
            self.start()
        return request

    # ------------------------------------------------------------------ from start to ready

    def _launch(self) -> None:
        if self.state != "starting" or self._exchange.connection is not None:
            return  # whoever was told of the start has ended it
        self._answered = False
        try:
            transport = self._make_transport()
        except (VoxelFeatError, OSError) as error:
            end = End(None, str(error))
            self._fail(error_of(protocol.NOT_STARTED, end.start_failure, end.start_hint))
            return
        connection = Connection(
            transport,
            on_greeted=self._greet,
            on_message=self._exchange.handle,
            on_log=self.log.append,
            on_end=self._ended,
        )
        self._exchange.connection = connection
        if self._schedule is not None:
            self._schedule(self._patience, partial(self._lose_patience, connection))
        connection.open()

    def _lose_patience(self, connection: Connection) -> None:
        if connection is self._exchange.connection and not self._answered:
            message = f"The worker did not answer within {self._patience:g} seconds."
            last = connection.last_line
            hint = f"Its log ends with “{last}”." if last else "Check the worker's command."
            self._fail(error_of(protocol.NOT_STARTED, message, hint))

    def _greet(self) -> None:
        arguments = {"protocol": protocol.VERSION}
        self._exchange.ask("hello", arguments, on_reply=self._greeted, on_error=self._refused)

    def _refused(self, error: Message) -> None:
        """Fail for what the worker says; its log says what it lacks, if that is what is wrong."""
        connection = self._exchange.connection
        if error["code"] == protocol.INTERNAL and connection is not None and connection.last_line:
            end = End(1, "", connection.last_line)
            error = error_of(protocol.NOT_STARTED, end.start_failure, end.start_hint)
        self._fail(error)

    def _greeted(self, reply: Message) -> None:
        theirs = reply.get("protocol")
        if theirs != protocol.VERSION:
            message = (
                f"The worker speaks version {theirs} of the protocol, "
                f"but version {protocol.VERSION} is needed."
            )
            hint = "Install the same VoxelFeat for the worker as here."
            self._fail(error_of(protocol.PROTOCOL, message, hint))
            return
        self._answered = True
        self.hello = {key: value for key, value in reply.items() if key not in {"id", "ok"}}
        # Another volume is about to be opened: no need for the last one.
        starts_anew = self._exchange.first_kind in {"open_volume", "close_volume"}
        steps = self._memory.for_new_worker()
        self._restore(iter(() if starts_anew else steps), [])

    def _restore(self, steps: Iterator[Step], lost: list[str]) -> None:
        """Bring back the next thing that the last worker had; in the end, be ready."""
        self._restoring = step = next(steps, None)
        if step is None:
            self._set_state("ready", " ".join(filter(None, [*lost, self._memory.lost])))
            self._exchange.send_waiting()
            return

        def failed(error: Message) -> None:
            what = self._memory.drop(step)
            sentence = f"The {what} could not be brought back: {error['message']}"
            # Without the volume its field is of no use.
            rest = iter(()) if what == "volume" else steps
            self._restore(rest, [*lost, sentence])

        self._exchange.ask(
            step.kind,
            step.arguments,
            payload=step.payload,
            on_reply=lambda _: self._restore(steps, lost),
            on_error=failed,
        )

    # ------------------------------------------------------------------ ends

    def _ended(self, end: End) -> None:
        if not self._answered and not self._crashes:
            self._fail(error_of(protocol.NOT_STARTED, end.start_failure, end.start_hint))
            return
        self._exchange.disconnect()
        if self._restoring is not None:
            self._memory.died(self._restoring)
            self._restoring = None
        died = f"The worker ended unexpectedly ({end.cause}) while at this."
        given_up = self._exchange.count_deaths(error_of(protocol.WORKER_DIED, died))
        now = monotonic()
        self._crashes.append(now)
        while self._crashes[0] < now - _CRASH_SECONDS:
            self._crashes.popleft()
        if len(self._crashes) > _MOST_CRASHES:
            message = f"The worker keeps ending unexpectedly ({end.cause})."
            self._fail(error_of(protocol.WORKER_DIED, message, "The worker's log tells more."))
        else:
            message = f"The worker ended unexpectedly ({end.cause}); restarting."
            self.log.append(message)
            self._set_state("starting", message)
            self._launch()
        run_all(given_up)

    def _fail(self, error: Message) -> None:
        self._end_worker()
        self._failure = WorkerError.of(error).to_wire()
        sentence = f"{self._failure['message']} {self._failure['hint']}".strip()
        self.log.append(sentence)
        self._set_state("failed", sentence)
        self._exchange.fail_all(self._failure)

    def _end_worker(self) -> None:
        self._restoring = None
        self._exchange.disconnect()

    def _soon(self, call: Callable[[], None]) -> None:
        """Call from outside the caller's own function, where that is possible."""
        if self._schedule is None:
            call()
        else:
            self._schedule(0.0, call)

    def _set_state(self, state: State, message: str = "") -> None:
        self.state = state
        run_all(partial(each, state, message) for each in list(self.on_state))
