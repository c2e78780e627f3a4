"""The transport that Slicer uses, with real child processes."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path
from time import monotonic

import psutil
import pytest

import VoxelFeatLib
from VoxelFeatLib.errors import InputError

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and shell scripts")

ECHO = """
import sys
while data := sys.stdin.buffer.read1():
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""
# As Slicer's launcher does: the real program inherits the pipes, the launcher waits for it.
LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
"""
DEAF = """
import os, signal, time
print(os.getpid(), flush=True)
time.sleep(100)
"""


class Heard:
    """What a transport told."""

    def __init__(self) -> None:
        self.data = b""
        self.lines: list[str] = []
        self.ends: list[tuple[int | None, str]] = []

    @property
    def callbacks(self):
        return self._add, self.lines.append, lambda code, reason: self.ends.append((code, reason))

    def _add(self, data: bytes) -> None:
        assert not self.ends
        self.data += data


@pytest.fixture
def a_child(a_qprocess_module):
    """Start a Python script as a child; returns its transport and what it told."""
    started = []

    def start(script: str, *arguments: str, environment=None):
        command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
        transport = a_qprocess_module.QProcessTransport(command, environment)
        heard = Heard()
        transport.start(*heard.callbacks)
        started.append(transport)
        return transport, heard

    yield start
    for transport in started:
        transport.stop()


def alive(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_bytes_go_through_unchanged(a_child, until) -> None:
    transport, heard = a_child(ECHO)
    data = bytes(range(256)) * 3
    transport.write(data)
    transport.write(memoryview(data))
    until(lambda: len(heard.data) >= 2 * len(data))
    assert heard.data == data + data
    assert transport.running
    assert heard.ends == []


def test_what_is_not_yet_taken_is_counted_and_told(a_child, until) -> None:
    transport, heard = a_child(ECHO)
    told: list[int] = []
    transport.on_drained = lambda: told.append(transport.pending_bytes)
    transport.write(bytes(8 << 20))
    assert transport.pending_bytes == 8 << 20
    until(lambda: len(heard.data) == 8 << 20)
    assert told[-1] == 0
    assert told == sorted(told, reverse=True)
    assert len(told) > 1


def test_the_log_comes_in_lines(a_child, until) -> None:
    script = r"""
    import sys
    write = sys.stderr.buffer.write
    write("eins\r\nzwei gr\u00fc".encode()[:-1]); sys.stderr.flush()
    write("\u00fc".encode()[1:] + b"n\n" + b"x" * 10000 + b"\nlast"); sys.stderr.flush()
    """
    _, heard = a_child(script)
    until(lambda: heard.ends)
    assert heard.lines[:2] == ["eins", "zwei grün"]
    assert [len(line) for line in heard.lines[2:]] == [4096, 4096, 10000 - 8192, 4]
    assert heard.lines[-1] == "last"


def test_an_end_is_told_once_after_the_last_bytes(a_child, until) -> None:
    transport, heard = a_child("import os; os.write(1, b'z' * 3000000); os._exit(7)")
    until(lambda: heard.ends)
    assert len(heard.data) == 3000000
    assert heard.ends == [(7, "")]
    assert not transport.running
    transport.write(b"too late")
    assert transport.pending_bytes == 0
    transport.stop()
    assert heard.ends == [(7, "")]


@POSIX
def test_a_signal_is_a_negative_code(a_child, until) -> None:
    _, heard = a_child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    until(lambda: heard.ends)
    assert heard.ends == [(-signal.SIGKILL, "")]


def test_a_missing_program_is_told_with_its_name(a_qprocess_module, until) -> None:
    transport = a_qprocess_module.QProcessTransport(["/no/such/program", "x"])
    heard = Heard()
    transport.start(*heard.callbacks)
    assert heard.ends == []  # never from within start
    until(lambda: heard.ends)
    assert heard.ends == [(None, "there is no program /no/such/program")]
    assert not transport.running


def test_stop_closes_stdin_and_tells_nothing(a_child, until, tmp_path) -> None:
    script = ECHO + "\nopen(sys.argv[1], 'w').write('ended by itself')"
    transport, heard = a_child(script, str(tmp_path / "ended"))
    transport.write(b"x")
    until(lambda: heard.data)
    begin = monotonic()
    transport.stop()
    assert monotonic() - begin < 1
    assert (tmp_path / "ended").read_text() == "ended by itself"
    assert heard.ends == []
    assert not transport.running


def test_stop_from_within_a_callback_is_the_last_thing_heard(a_child, until, a_qt) -> None:
    transport, heard = a_child(
        "import os; os.write(1, b'a'); os.write(2, b'1\\n2\\n3\\n'); input()"
    )
    transport._callbacks = (
        transport._callbacks[0],
        lambda line: (heard.lines.append(line), transport.stop()),
        transport._callbacks[2],
    )
    until(lambda: heard.lines)
    for _ in range(10):
        a_qt.application.processEvents()
    assert heard.lines == ["1"]
    assert heard.ends == []


@POSIX
def test_stop_ends_a_deaf_worker_behind_its_launcher(a_child, until) -> None:
    transport, heard = a_child(LAUNCHER, DEAF)
    until(lambda: heard.data.endswith(b"\n"))
    worker = int(heard.data)
    assert alive(worker)
    transport.stop()
    assert not alive(worker)


@POSIX
def test_a_killed_launcher_leaves_no_worker(a_child, until) -> None:
    transport, heard = a_child(LAUNCHER, DEAF)
    until(lambda: heard.data.endswith(b"\n"))
    worker = int(heard.data)
    psutil.Process(worker).parent().kill()
    until(lambda: heard.ends)
    until(lambda: not alive(worker))
    assert heard.ends == [(-signal.SIGKILL, "")]
    assert not transport.running


def test_the_environment_is_the_given_one(a_child, until) -> None:
    script = "import os; os.write(1, ';'.join(sorted(os.environ)).encode())"
    given = {"ONE": "1", "PATH": os.environ["PATH"], "SYSTEMROOT": "C:\\Windows"}
    _, heard = a_child(script, environment=given)
    until(lambda: heard.ends)
    assert {"ONE", "PATH"} <= set(heard.data.decode().split(";"))
    assert "HOME" not in heard.data.decode().split(";")


# ---------------------------------------------------------------------- the worker's command


@POSIX
def test_the_local_worker_runs_in_slicers_python(
    a_qprocess_module, a_slicer, until, monkeypatch
) -> None:
    launcher = Path(a_slicer.app.slicerHome) / "bin" / "PythonSlicer"
    launcher.parent.mkdir(parents=True)
    launcher.write_text('#!/bin/sh\necho "$@"\necho "$PYTHONPATH"\necho "$PYTHONUNBUFFERED"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", "/before")
    transport, heard = a_qprocess_module.worker_transport("  "), Heard()
    transport.start(*heard.callbacks)
    until(lambda: heard.ends)
    library = Path(VoxelFeatLib.__file__).resolve().parents[1]
    assert heard.data.decode().splitlines() == [
        "-m VoxelFeatLib worker",
        f"{library}{os.pathsep}/before",
        "1",
    ]


@POSIX
def test_slicers_python_is_looked_for_on_the_path_too(
    a_qprocess_module, a_slicer, tmp_path, monkeypatch
) -> None:
    assert a_qprocess_module.python_slicer() == f"{a_slicer.app.slicerHome}/bin/PythonSlicer"
    elsewhere = tmp_path / "PythonSlicer"
    elsewhere.write_text("#!/bin/sh\n")
    elsewhere.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert a_qprocess_module.python_slicer() == str(elsewhere)


@POSIX
def test_a_remote_worker_starts_without_slicers_libraries(
    a_qprocess_module, until, monkeypatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/slicer/lib")
    transport = a_qprocess_module.worker_transport(
        'sh -c "echo [$LD_LIBRARY_PATH] \\"two words\\""'
    )
    heard = Heard()
    transport.start(*heard.callbacks)
    until(lambda: heard.ends)
    assert heard.data == b"[] two words\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ssh gpu-box voxelfeat worker", ["ssh", "gpu-box", "voxelfeat", "worker"]),
        ("ssh -i '/my keys/id' box 'a b'", ["ssh", "-i", "/my keys/id", "box", "a b"]),
        ("ssh box # no comment; no shell", ["ssh", "box", "#", "no", "comment;", "no", "shell"]),
    ],
)
def test_a_command_line_is_split_as_a_shell_does(a_qprocess_module, line, words) -> None:
    assert a_qprocess_module.split_command(line) == words


def test_windows_paths_keep_their_backslashes(a_qprocess_module, monkeypatch) -> None:
    monkeypatch.setattr(a_qprocess_module.os, "name", "nt")
    words = a_qprocess_module.split_command(r'C:\Windows\ssh.exe "C:\my keys\id" box')
    assert words == [r"C:\Windows\ssh.exe", r"C:\my keys\id", "box"]


def test_an_open_quotation_mark_is_refused(a_qprocess_module) -> None:
    with pytest.raises(InputError, match="never closed"):
        a_qprocess_module.split_command("ssh 'box")
    with pytest.raises(InputError, match="Enter the command"):
        a_qprocess_module.split_command("''"[2:])


# ---------------------------------------------------------------------- timers


def test_timers_call_once_in_order_unless_cancelled(a_qprocess_module, until) -> None:
    timers = a_qprocess_module.QtTimers()
    called: list[str] = []
    timers.after(0.05, lambda: called.append("later"))
    cancel_soon = timers.after(0.0, lambda: called.append("soon"))
    cancel = timers.after(0.01, lambda: called.append("never"))
    assert called == []
    cancel()
    until(lambda: "later" in called)
    assert called == ["soon", "later"]
    cancel_soon()
    cancel()
