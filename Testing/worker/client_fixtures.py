"""Stand-ins for a worker, for moments that a real one cannot be brought to exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker import framing, protocol
from VoxelFeatLib.worker.client.client import Client


class ScriptedWorker:
    """A transport without a process: the test reads what was written and says the answers."""

    def __init__(self) -> None:
        self.on_drained: Callable[[], None] | None = None
        self.pending_bytes = 0
        self.taken: list[dict] = []
        self.running = False
        self.stopped = False

    def start(self, on_bytes, on_log, on_exit) -> None:
        self.running = True
        self._on_bytes, self.log, self._on_exit = on_bytes, on_log, on_exit
        self._decoder = framing.Decoder()

    def write(self, data) -> None:
        self.pending_bytes += len(data)
        self.taken += self._decoder.feed(data)

    def stop(self) -> None:
        self.running, self.stopped = False, True

    def drain(self) -> None:
        """Take all bytes that were written."""
        self.pending_bytes = 0
        if self.on_drained is not None:
            self.on_drained()

    def print(self, data: bytes) -> None:
        self._on_bytes(data)

    def say(self, *messages: dict) -> None:
        """Several messages in one piece of bytes."""
        self._on_bytes(b"".join(framing.encode(message) for message in messages))

    def exit(self, code: int | None, reason: str = "") -> None:
        self.running = False
        self._on_exit(code, reason)

    @property
    def last(self) -> dict:
        return self.taken[-1]

    @property
    def kinds(self) -> list[str]:
        """Types of the requests taken; "part" for a part of a payload."""
        return [message.get("type", "part") for message in self.taken]

    def greet(self) -> None:
        """Begin to speak and answer `hello`."""
        self.print(protocol.GREETING)
        self.succeed(self.last, protocol=protocol.VERSION, version="0.1")

    def succeed(self, request: dict, **result) -> None:
        self.say({"id": request["id"], "ok": True, **result})

    def fail(self, request: dict, code: str, **more) -> None:
        error = {"code": code, "message": f"It is {code}.", "hint": "", **more}
        self.say({"id": request["id"], "ok": False, "error": error})


class Clock:
    """Delays that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def schedule(self, seconds: float, call: Callable[[], None]) -> None:
        self._due.append((self.now + seconds, next(self._numbers), call))

    def pass_time(self, seconds: float = 0.0) -> None:
        self.now += seconds
        due = sorted(entry for entry in self._due if entry[0] <= self.now)
        self._due = [entry for entry in self._due if entry[0] > self.now]
        for _, _, call in due:
            call()


class Desk:
    """A client with the scripted workers that it started, and what it told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.workers: list[ScriptedWorker] = []
        self.states: list[tuple[str, str]] = []
        self.client = Client(self._make, schedule=self.clock.schedule, patience=120)
        self.client.on_state.append(lambda state, message: self.states.append((state, message)))

    def _make(self) -> ScriptedWorker:
        self.workers.append(ScriptedWorker())
        return self.workers[-1]

    @property
    def worker(self) -> ScriptedWorker:
        return self.workers[-1]

    def ready(self) -> Desk:
        self.client.start()
        self.worker.greet()
        return self

    def ask(self, kind: str, arguments: dict | None = None, **options) -> Answer:
        return Answer(self.client, kind, arguments, **options)


class Answer:
    """What came of a request."""

    def __init__(self, client: Client, kind: str, arguments: dict | None, **options) -> None:
        self.events: list[dict] = []
        self.replies: list[dict] = []
        self.errors: list[dict] = []
        self.request = client.request(
            kind,
            arguments,
            on_event=self.events.append,
            on_reply=self.replies.append,
            on_error=self.errors.append,
            **options,
        )

    @property
    def code(self) -> str:
        (error,) = self.errors
        return error["code"]


def blocks(count: int) -> list[bytes]:
    return [bytes([number]) * protocol.PART_BYTES for number in range(count)]


def a_wire_mask() -> dict:
    mask = np.ones((1, 2, 3), dtype=bool)
    return protocol.pack_mask(mask, Extent.whole((1, 2, 3)), (1, 2, 3))
