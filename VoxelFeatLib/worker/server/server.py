"""The worker's one loop: requests are taken as they come, long ones are worked on in pieces.

A reader thread queues what arrives. Between two pieces of work the loop takes everything that has
arrived: short requests are answered at once; of the long ones the newest `segment` comes first,
then pictures, refinement and files, and a fit gets the time that is left. One thread does all the
work, so nothing needs a lock. No request ends the loop but `shutdown`.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from VoxelFeatLib.errors import Cancelled, is_out_of_memory
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.framing import encode
from VoxelFeatLib.worker.protocol import BadMessageError, Message
from VoxelFeatLib.worker.server.arguments import Arguments
from VoxelFeatLib.worker.server.channel import Ended, Inbox, start_reader, write_to
from VoxelFeatLib.worker.server.failures import Refused, error_of, free_caches
from VoxelFeatLib.worker.server.requests import Request, Steps

if TYPE_CHECKING:
    from VoxelFeatLib.worker.server.workspace import Workspace

_log = logging.getLogger(__name__)

# Handlers by request: (module in this package, function); loaded after `hello`, so that this is
# answered soon. They return the reply, or are generators of pieces of work.
_HANDLERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "close_volume": ("volumes", "close_volume"),
        "fit": ("fitting", "fit"),
        "load_field": ("fields", "load"),
        "save_field": ("fields", "save"),
        "query": ("seeing", "query"),
        "put_mask": ("segmenting", "put_mask"),
        "segment": ("segmenting", "segment"),
        "refine": ("refining", "refine"),
        "similarity": ("seeing", "similarity"),
        "project": ("seeing", "project"),
    }
)
# Likewise what takes the parts of a request that says "parts".
_SINKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"open_volume": ("volumes", "VolumeSink"), "load_field": ("fields", "FieldSink")}
)
_HELLO = ("machine", "hello")
# What makes work on the old volume pointless.
_ANOTHER_VOLUME = {"open_volume", "close_volume"}
# The parent is gone when stdin ends; so long a last piece of work may take.
_LAST_SECONDS = 3.0


class Sink(Protocol):
    """Takes a request's payload."""

    def add(self, data: bytes) -> None:
        """Take the next part."""

    def finish(self) -> Message:
        """Return the reply; all parts are there."""

    def close(self) -> None:
        """Clean up; called in any case."""


class Task:
    """A long request: steps that are taken while nothing else is urgent."""

    def __init__(self, request: Request, steps: Steps) -> None:
        self.request = request
        self.steps = steps
        self.segment = request.arguments.raw("segment") if request.kind == "segment" else None

    @property
    def urgency(self) -> tuple[int, int]:
        """Larger is more urgent; among equals the newer."""
        rank = {"segment": 2, "fit": 0}.get(self.request.kind, 1)
        return rank, self.request.number


class Server:
    """Answers messages; knows nothing of pipes and processes.

    Args:
        send: Sends a message to the client.

    Attributes:
        stopping: Whether `shutdown` was asked for.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._tasks: list[Task] = []
        self._unloaded: list[str] = []
        self._incoming: dict[int, tuple[Request, Sink, int]] = {}
        self.stopping = False

    @property
    def busy(self) -> bool:
        """Whether there is work for ``step``."""
        return bool(self._tasks or self._unloaded)

    def receive(self, message: Message) -> None:
        """Take one message; whatever is wrong with it becomes an error reply."""
        number = message.get("id")
        if type(number) is not int or number <= 0:
            error = BadMessageError("A request needs an id, a whole number above 0.")
            self._send({"id": 0, "ok": False, "error": error_of(error)})
        elif "part" in message:
            self._take_part(number, message)
        else:
            kind = message.get("type")
            request = Request(number, str(kind), Arguments(message), self._send)
            self._attempt(request, lambda: self._start(request))

    def step(self) -> None:
        """Do one piece of the most urgent work; where there is none, load what will be needed."""
        if not self._tasks:
            self._load_one()
            return
        task = max(self._tasks, key=lambda task: task.urgency)
        try:
            next(task.steps)
        except StopIteration as end:
            self._tasks.remove(task)
            task.request.reply(end.value)
        except BrokenPipeError:
            raise  # nobody listens any more
        except Exception as error:  # noqa: BLE001 - no request ends the worker
            self._tasks.remove(task)
            self._failed(task.request, error)

    def close(self) -> None:
        """Give up all work, without replies."""
        for task in self._tasks:
            task.steps.close()
        for _, sink, _ in self._incoming.values():
            sink.close()
        self._tasks.clear()
        self._incoming.clear()

    def _load_one(self) -> None:
        if not self._unloaded:
            return
        try:
            importlib.import_module(self._unloaded.pop(0))
        except Exception:  # noqa: BLE001 - whatever an import may raise
            _log.exception("Something is missing; the requests that need it will say so.")

    @cached_property
    def _workspace(self) -> Workspace:
        module = importlib.import_module("VoxelFeatLib.worker.server.workspace")
        workspace: Workspace = module.Workspace()
        return workspace

    # ------------------------------------------------------------------ requests

    def _start(self, request: Request) -> None:
        answering = {task.request.number for task in self._tasks} | self._incoming.keys()
        if request.number in answering:
            raise BadMessageError("A request of that id is being answered.")
        if request.kind == "cancel":
            target = request.arguments.whole("target")
            request.reply({"found": self._cancel(lambda other: other.number == target)})
        elif request.kind == "shutdown":
            self.close()
            request.reply({})
            self.stopping = True
        elif request.kind == "hello":
            request.reply(_function(*_HELLO)(request))
            modules = dict.fromkeys(module for module, _ in _HANDLERS.values())
            self._unloaded = [_full_name(module) for module in modules]
        else:
            self._begin(request)

    def _begin(self, request: Request) -> None:
        if request.kind in _ANOTHER_VOLUME:
            self._cancel(lambda _: True)
        if request.arguments.flag("parts", default=False):
            sink = _loaded(_SINKS, request.kind)(self._workspace, request)
            self._incoming[request.number] = (request, sink, 0)
            return
        if request.kind == "segment":
            self._supersede(request.arguments.raw("segment"))
        answer = _loaded(_HANDLERS, request.kind)(self._workspace, request)
        if isinstance(answer, Generator):
            self._tasks.append(Task(request, answer))
        else:
            request.reply(answer)

    def _take_part(self, number: int, message: Message) -> None:
        if number not in self._incoming:
            return  # of a request that has failed, or was cancelled
        request, sink, expected = self._incoming[number]

        def take() -> None:
            data = message.get("data")
            if message["part"] != expected or not isinstance(data, bytes):
                raise BadMessageError("The parts of a request come in order, as bytes.")
            if len(data) > protocol.PART_BYTES:
                raise Refused(protocol.TOO_LARGE, "A part is larger than 4 MiB.")
            sink.add(data)
            self._incoming[number] = (request, sink, expected + 1)
            if message.get("last") is True:
                result = sink.finish()
                self._end_parts(number)
                request.reply(result)

        if not self._attempt(request, take):
            self._end_parts(number)

    def _end_parts(self, number: int) -> None:
        _, sink, _ = self._incoming.pop(number)
        sink.close()

    # ------------------------------------------------------------------ ends

    def _cancel(self, chosen: Callable[[Request], bool]) -> bool:
        """Give up work and say so; tell whether there was any."""
        tasks = [task for task in self._tasks if chosen(task.request)]
        parts = [request for request, _, _ in self._incoming.values() if chosen(request)]
        for task in tasks:
            self._drop(task, Cancelled())
        for request in parts:
            self._end_parts(request.number)
            request.fail(error_of(Cancelled()))
        return bool(tasks or parts)

    def _supersede(self, segment: Any) -> None:
        for task in [task for task in self._tasks if task.request.kind == "segment"]:
            if task.segment == segment:
                self._drop(task, Refused(protocol.SUPERSEDED, "A newer request replaced this one."))

    def _drop(self, task: Task, reason: Exception) -> None:
        self._tasks.remove(task)
        task.steps.close()
        task.request.fail(error_of(reason))

    def _attempt(self, request: Request, work: Callable[[], None]) -> bool:
        try:
            work()
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - no request ends the worker
            self._failed(request, error)
            return False
        return True

    def _failed(self, request: Request, error: Exception) -> None:
        request.fail(error_of(error))
        if is_out_of_memory(error):
            error.__traceback__ = None  # it holds what there was no memory for
            self._workspace.drop_caches()
            free_caches()


def _loaded(table: Mapping[str, tuple[str, str]], kind: str) -> Any:
    if kind not in table:
        raise BadMessageError(f"There is no request “{kind}” of this form.")
    return _function(*table[kind])


def _function(module: str, name: str) -> Any:
    return getattr(importlib.import_module(_full_name(module)), name)


def _full_name(module: str) -> str:
    return f"VoxelFeatLib.worker.server.{module}"


def serve(server: Server, inbox: Inbox, send: Callable[[Message], None]) -> int:
    """Run the loop until the stream ends; return the process' exit code."""
    while not server.stopping:
        item = inbox.get(wait=not server.busy)
        if item is None:
            server.step()
        elif not isinstance(item, Ended):
            server.receive(item)
        else:
            server.close()
            if item.error is None:
                return 0
            _log.error("%s", item.error)
            send({"id": 0, "ok": False, "error": error_of(item.error)})
            return 2
    return 0


def main() -> int:
    """Be the worker: messages come from stdin and go to stdout, all else to stderr."""
    # Ctrl-C in the parent's terminal is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s")
    descriptor_in, descriptor_out = _own_pipes()
    write_to(descriptor_out, protocol.GREETING)

    def send(message: Message) -> None:
        write_to(descriptor_out, encode(message))

    inbox = Inbox()
    start_reader(inbox, descriptor_in, after=_exit_soon)
    try:
        return serve(Server(send), inbox, send)
    except OSError:
        return 0  # stdout is closed: the parent is gone


def _own_pipes() -> tuple[int, int]:
    """Take stdin and stdout for messages; what libraries print goes to stderr instead."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - there only

        for descriptor in (0, 1):
            msvcrt.setmode(descriptor, os.O_BINARY)
    descriptor_in, descriptor_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return descriptor_in, descriptor_out


def _exit_soon() -> None:
    """End the process even if the loop does not come back from its piece of work."""

    def end() -> None:
        time.sleep(_LAST_SECONDS)
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
