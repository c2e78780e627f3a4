"""A command whose stdin and stdout we hold: how the client reaches a worker, here or far away."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import IO, Any, Protocol

OnBytes = Callable[[bytes], None]
OnLog = Callable[[str], None]
OnExit = Callable[[int | None, str], None]

# Bytes read at once, and most bytes received that nobody has asked for yet: then the worker waits.
_READ = 1 << 20
_MOST_UNREAD = 64 << 20
# Most log lines that nobody has asked for yet (older ones are dropped), and a line's most bytes.
_MOST_LINES = 2000
_MOST_LINE = 4096
# Seconds: for a worker to end by itself, for its pipes to run dry, and for the system to kill it.
_GRACE = 1.0
_DRY = 1.0
_KILLED = 5.0


class Transport(Protocol):
    """One process, from its start to its end; a new one is made for the next worker.

    Nothing here blocks except ``stop``, and that shortly. All callbacks come in the thread that
    owns the transport, never from within ``start`` or ``write``.

    Attributes:
        on_drained: Called when ``pending_bytes`` has fallen.
    """

    on_drained: Callable[[], None] | None

    def start(self, on_bytes: OnBytes, on_log: OnLog, on_exit: OnExit) -> None:
        """Start the process.

        Args:
            on_bytes: Called with what it writes to stdout, in any pieces.
            on_log: Called with each line of its stderr.
            on_exit: Called once, last, with its exit code, negative for a signal; or with None
                and the reason why it could not be started.
        """
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Queue bytes for its stdin; dropped when it has ended."""
        ...

    @property
    def pending_bytes(self) -> int:
        """Bytes written that the process has not taken yet."""
        ...

    def stop(self) -> None:
        """End it and all that it started; nothing is called afterwards."""
        ...

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended yet."""
        ...


class SubprocessTransport:
    """A child process with threads on its pipes; ``poll`` calls back in the caller's thread.

    Args:
        command: Program and arguments; never a shell string.
        environment: The child's whole environment; this process's own when None.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.on_drained: Callable[[], None] | None = None
        self._command = list(command)
        self._environment = None if environment is None else dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._callbacks: tuple[OnBytes, OnLog, OnExit] | None = None
        # All below is shared with the threads and touched only under this condition.
        self._shared = threading.Condition()
        self._received: deque[bytes] = deque()
        self._unread = 0
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._outgoing: deque[bytes | memoryview] = deque()
        self._pending = 0
        self._drained = False
        self._exit: tuple[int | None, str] | None = None
        self._ended = False
        self._closing = False

    def start(self, on_bytes: OnBytes, on_log: OnLog, on_exit: OnExit) -> None:
        """Start the process; where that is impossible the next ``poll`` tells ``on_exit``."""
        self._callbacks = (on_bytes, on_log, on_exit)
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                **_own_group(),
            )
        except (OSError, ValueError) as error:
            self._exit = (None, _reason(error, self._command))
            self._ended = True
            return
        self._process = process
        readers = [
            _thread(self._read_messages, process.stdout),
            _thread(self._read_lines, process.stderr),
        ]
        _thread(self._write_all, process.stdin)
        _thread(self._watch, process, readers)

    @property
    def process_id(self) -> int | None:
        """Of the child, which is also its process group's; None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the child has been started and its end not been seen yet."""
        return self._process is not None and not self._ended

    @property
    def pending_bytes(self) -> int:
        """Bytes written that are not yet in the child's pipe."""
        with self._shared:
            return self._pending

    def write(self, data: bytes | memoryview) -> None:
        """Queue bytes, not copied: leave them as they are until they are sent."""
        with self._shared:
            if self._closing or not self.running:
                return
            self._outgoing.append(data)
            self._pending += memoryview(data).nbytes
            self._shared.notify_all()

    def poll(self, timeout: float = 0.0) -> bool:
        """Wait up to some seconds for anything to happen, and call back for all that has.

        Returns:
            Whether anything was called.
        """
        if self._callbacks is None:
            return False
        on_bytes, on_log, on_exit = self._callbacks
        end = monotonic() + timeout
        with self._shared:
            while not self._anything() and (left := end - monotonic()) > 0:
                self._shared.wait(left)
            calls: list[Callable[[], object]] = []
            calls += [_bound(on_log, line) for line in self._lines]
            calls += [_bound(on_bytes, data) for data in self._received]
            if self._drained and self.on_drained is not None:
                calls.append(self.on_drained)
            if self._exit is not None:
                code, reason = self._exit
                calls.append(lambda: on_exit(code, reason))
            self._forget_received()
        for call in calls:
            if self._closing:  # a callback stopped us
                break
            call()
        return bool(calls)

    def stop(self) -> None:
        """Close the child's stdin, which ends a worker, then kill its group if it lives on."""
        self._callbacks = None
        with self._shared:
            self._closing = True
            self._forget_received()
            self._outgoing.clear()
            self._pending = 0
            self._shared.notify_all()
            if self._process is None or self._shared.wait_for(lambda: self._ended, _GRACE):
                return
        _end_group(self._process.pid)
        with self._shared:
            self._shared.wait_for(lambda: self._ended, _KILLED)

    # ------------------------------------------------------------------ under the condition

    def _anything(self) -> bool:
        return bool(self._received or self._lines or self._drained or self._exit)

    def _forget_received(self) -> None:
        self._received.clear()
        self._lines.clear()
        self._unread, self._drained, self._exit = 0, False, None
        self._shared.notify_all()

    # ------------------------------------------------------------------ the threads

    def _read_messages(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(pipe.fileno(), _READ):
                with self._shared:
                    self._shared.wait_for(lambda: self._unread < _MOST_UNREAD or self._closing)
                    if not self._closing:
                        self._received.append(data)
                        self._unread += len(data)
                        self._shared.notify_all()

    def _read_lines(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            reader = open(pipe.fileno(), "rb", closefd=False)  # noqa: SIM115 - closes nothing
            while line := reader.readline(_MOST_LINE):
                text = line.decode("utf-8", errors="replace").rstrip("\r\n")
                with self._shared:
                    if not self._closing:
                        self._lines.append(text)
                        self._shared.notify_all()

    def _write_all(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (data := self._next_outgoing()) is not None:
                view = memoryview(data).cast("B")
                while len(view) and not self._closing:
                    taken = os.write(pipe.fileno(), view[:_READ])
                    view = view[taken:]
                    with self._shared:
                        self._pending = max(0, self._pending - taken)
                        self._drained = True
                        self._shared.notify_all()
        with contextlib.suppress(OSError):
            pipe.close()

    def _next_outgoing(self) -> bytes | memoryview | None:
        """Wait for bytes to write; None when there will be no more."""
        with self._shared:
            self._shared.wait_for(lambda: self._outgoing or self._closing or self._ended)
            return self._outgoing.popleft() if self._outgoing else None

    def _watch(self, process: subprocess.Popen[bytes], readers: list[threading.Thread]) -> None:
        """See the child end, with what it left behind, and tell so after its last words."""
        code = process.wait()
        _end_group(process.pid)
        # A program outside the group may hold the pipes open: ssh's shared connections do.
        end = monotonic() + _DRY
        for reader in readers:
            reader.join(max(0.0, end - monotonic()))
        with self._shared:
            self._ended = True
            self._outgoing.clear()
            self._pending = 0
            if not self._closing:
                self._exit = (code, "")
            self._shared.notify_all()
        for reader, pipe in zip(readers, (process.stdout, process.stderr), strict=True):
            reader.join()
            if pipe is not None:
                pipe.close()


def _own_group() -> dict[str, Any]:
    """What makes the child the head of its own process group, away from our terminal's keys."""
    if sys.platform == "win32":
        new_group: int = subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": new_group | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _end_group(process_id: int) -> None:
    """Kill a child with all that it started; nothing happens where there is nothing left."""
    if sys.platform == "win32":
        taskkill = Path(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32", "taskkill.exe")
        command = [str(taskkill), "/T", "/F", "/PID", str(process_id)]
        with contextlib.suppress(OSError):
            subprocess.run(command, capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process_id, signal.SIGKILL)


def _reason(error: Exception, command: Sequence[str]) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no program {command[0]}"
    if isinstance(error, OSError) and error.strerror:
        return f"{command[0]}: {error.strerror}"
    return str(error)


def _bound(call: Callable[[Any], None], argument: object) -> Callable[[], None]:
    return lambda: call(argument)


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
