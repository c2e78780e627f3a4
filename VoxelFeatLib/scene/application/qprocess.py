"""The worker as a child process of Slicer, held by Qt; and Qt's timers.

Checked against PythonQt itself: ``write`` takes ``bytes`` as they are, but turns any other buffer
into its printed text; ``data()`` of a ``QByteArray`` is ``bytes``; a signal with several arguments
passes only some of them to a Python method, so that every slot here takes what comes and asks the
process.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer

import VoxelFeatLib
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.application.child import python_slicer

if TYPE_CHECKING:
    from VoxelFeatLib.worker.client.transport import OnBytes, OnExit, OnLog

# Milliseconds: for a worker to end by itself when its stdin is closed, and for a kill to be seen.
_GRACE = 1000
_KILLED = 2000
# Seconds for the launcher's children to be gone once they are killed.
_DEAD = 0.5
# A log line's most bytes.
_MOST_LINE = 4096


class QtTimers:
    """``Timers`` of Qt's event loop."""

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call once after a delay; returns what cancels it, harmless when it has been called."""
        waiting = [call]

        def fire() -> None:
            if waiting:
                waiting.pop()()

        qt.QTimer.singleShot(max(0, round(seconds * 1000)), fire)
        return waiting.clear


class QProcessTransport:
    """``worker.transport.Transport`` over a ``qt.QProcess``; everything happens in Qt's event loop.

    Slicer's Python is a launcher that starts the real one. Both have our pipe as their stdin, so
    closing it reaches the worker, and ends it; what does not end is killed, each process of the
    launcher's family by itself.

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
        self._process: Any = None
        self._callbacks: tuple[OnBytes, OnLog, OnExit] | None = None
        self._unfinished_line = b""
        self._family: dict[int, Any] = {}

    def start(self, on_bytes: OnBytes, on_log: OnLog, on_exit: OnExit) -> None:
        """Start the process; where that is impossible ``on_exit`` is told the reason."""
        self._callbacks = (on_bytes, on_log, on_exit)
        # With a parent, Qt and not Python's reference counting decides when it is deleted: never
        # while one of its own signals is being handled.
        process = qt.QProcess(qt.QCoreApplication.instance())
        if self._environment is not None:
            variables = qt.QProcessEnvironment()
            for name, value in self._environment.items():
                variables.insert(name, value)
            process.setProcessEnvironment(variables)
        process.readyReadStandardOutput.connect(self._read_bytes)
        process.readyReadStandardError.connect(self._read_lines)
        process.bytesWritten.connect(self._tell_drained)
        process.errorOccurred.connect(self._see_error)
        process.finished.connect(self._see_end)
        self._process = process
        process.start(self._command[0], self._command[1:])

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended yet."""
        return self._process is not None and self._process.state() != qt.QProcess.NotRunning

    @property
    def pending_bytes(self) -> int:
        """Bytes written that are not yet in the process's pipe."""
        return int(self._process.bytesToWrite()) if self.running else 0

    def write(self, data: bytes | memoryview) -> None:
        """Queue bytes for its stdin; dropped when it has ended."""
        if self.running:
            self._process.write(bytes(data))

    def stop(self) -> None:
        """Close its stdin, then kill what has not ended a second later; nothing is called back."""
        self._callbacks = None
        process, self._process = self._process, None
        if process is None:
            return
        if process.state() != qt.QProcess.NotRunning:
            self._note_family(process)
            process.closeWriteChannel()
            if not process.waitForFinished(_GRACE):
                process.kill()
                process.waitForFinished(_KILLED)
        self._kill_family()
        process.deleteLater()

    # ------------------------------------------------------------------ slots

    def _read_bytes(self, *_: object) -> None:
        if self._process is None or self._callbacks is None:
            return
        if not self._family:
            self._note_family(self._process)  # it speaks, so the launcher has started it
        data = self._process.readAllStandardOutput().data()
        if data:
            self._callbacks[0](data)

    def _read_lines(self, *_: object) -> None:
        if self._process is None:
            return
        text = self._unfinished_line + self._process.readAllStandardError().data()
        *lines, self._unfinished_line = text.split(b"\n")
        if len(self._unfinished_line) > _MOST_LINE:
            lines.append(self._unfinished_line)
            self._unfinished_line = b""
        for line in lines:
            self._tell_line(line)

    def _tell_line(self, line: bytes) -> None:
        for first in range(0, max(1, len(line)), _MOST_LINE):
            if self._callbacks is not None:
                piece = line[first : first + _MOST_LINE]
                self._callbacks[1](piece.decode("utf-8", errors="replace").rstrip("\r"))

    def _tell_drained(self, *_: object) -> None:
        if self._callbacks is not None and self.on_drained is not None:
            self.on_drained()

    def _see_error(self, *_: object) -> None:
        # All other errors are followed by `finished`. Qt may tell this one from within `start`.
        if self._process is not None and self._process.error() == qt.QProcess.FailedToStart:
            program = self._command[0]
            reason = f"{program}: {self._process.errorString()}"
            if shutil.which(program) is None:
                reason = f"there is no program {program}"
            qt.QTimer.singleShot(0, lambda: self._end(None, reason))

    def _see_end(self, *_: object) -> None:
        if self._process is None:
            return
        code = int(self._process.exitCode())
        crashed = self._process.exitStatus() == qt.QProcess.CrashExit
        self._read_bytes()
        self._read_lines()
        if self._unfinished_line:
            self._tell_line(self._unfinished_line)
        self._end(-code if crashed and os.name != "nt" else code, "")

    def _end(self, code: int | None, reason: str) -> None:
        """Tell the end, once; a worker may have outlived its launcher."""
        callbacks, self._callbacks = self._callbacks, None
        process, self._process = self._process, None
        self._kill_family()
        if process is not None:
            process.deleteLater()
        if callbacks is not None:
            callbacks[2](code, reason)

    # ------------------------------------------------------------------ the launcher's children

    def _note_family(self, process: Any) -> None:
        """Remember what the process has started, as long as it can be asked."""
        with contextlib.suppress(ImportError):  # whoever lacks psutil has no worker here either
            import psutil  # noqa: PLC0415 - it may have been installed a moment ago

            with contextlib.suppress(psutil.Error):
                launcher = psutil.Process(int(process.processId()))
                for child in launcher.children(recursive=True):
                    self._family[child.pid] = child

    def _kill_family(self) -> None:
        """Kill what still lives of it: psutil never takes another process of the same number."""
        family, self._family = list(self._family.values()), {}
        if family:
            import psutil  # noqa: PLC0415

            for child in family:
                with contextlib.suppress(psutil.Error):
                    child.kill()
            psutil.wait_procs(family, timeout=_DEAD)


def worker_transport(remote_command: str = "") -> QProcessTransport:
    """Return the connection to a new worker.

    Args:
        remote_command: What starts it elsewhere, for example "ssh gpu-box voxelfeat worker"; when
            empty it runs in Slicer's own Python.

    Raises:
        InputError: The command cannot be split into words.
    """
    if remote_command.strip():
        # Without Slicer's own libraries, which the system's ssh cannot use.
        return QProcessTransport(split_command(remote_command), slicer.util.startupEnvironment())
    library = str(Path(VoxelFeatLib.__file__).resolve().parents[1])
    environment = dict(os.environ)
    others = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join([library, others] if others else [library])
    environment["PYTHONUNBUFFERED"] = "1"
    return QProcessTransport([python_slicer(), "-m", "VoxelFeatLib", "worker"], environment)


def split_command(line: str) -> list[str]:
    """Split a command line as a shell does, without running one; Windows keeps its backslashes.

    Raises:
        InputError: A quotation mark is never closed, or there is no command.
    """
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = ""
    if os.name == "nt":
        words.escape = ""
    try:
        command = list(words)
    except ValueError as error:
        raise InputError(
            f"The command {line!r} has a quotation mark that is never closed.",
            "For example: ssh gpu-box voxelfeat worker",
        ) from error
    if not command:
        raise InputError("Enter the command that starts the worker.")
    return command
