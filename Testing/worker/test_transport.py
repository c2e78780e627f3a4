from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from VoxelFeatLib.worker.client.transport import SubprocessTransport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="children here are POSIX scripts")


class Child:
    """A transport to a Python script, and all that it called back with."""

    def __init__(self, script: str, *command: str) -> None:
        self.transport = SubprocessTransport(command or (sys.executable, "-Ic", script))
        self.data = b""
        self.lines: list[str] = []
        self.exits: list[tuple[int | None, str]] = []
        self.threads: set[int] = set()

    def start(self) -> Child:
        self.transport.start(
            self._on_bytes,
            self.lines.append,
            lambda code, reason: self.exits.append((code, reason)),
        )
        return self

    def _on_bytes(self, data: bytes) -> None:
        self.data += data
        self.threads.add(threading.get_ident())

    def _on_exit(self, code: int | None, reason: str) -> None:
        self.exits.append((code, reason))

    def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.data[-200:], self.lines, self.exits)
            self.transport.poll(0.05)


@pytest.fixture
def a_child() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def make(script: str, *command: str) -> Child:
        children.append(Child(script, *command))
        return children[-1].start()

    yield make
    for child in children:
        child.transport.stop()


def gone(process_id: int, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(process_id):
            return True
        if psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_bytes_go_there_and_back_in_the_callers_thread(a_child) -> None:
    child = a_child("", "cat")
    data = bytes(range(256)) * 4096
    child.transport.write(data)
    child.transport.write(memoryview(b"the end"))
    child.until(lambda: len(child.data) == len(data) + 7)
    assert child.data == data + b"the end"
    assert child.threads == {threading.get_ident()}
    assert child.transport.pending_bytes == 0


def test_the_log_comes_in_lines_and_the_exit_comes_last(a_child) -> None:
    script = "import sys; print('out'); sys.stderr.write('one\\ntwo\\r\\nhalf \\xff'); sys.exit(3)"
    child = a_child(script)
    child.until(lambda: child.exits)
    assert child.lines[:2] == ["one", "two"]
    assert child.lines[2].startswith("half ")
    assert child.data == b"out\n"
    assert child.exits == [(3, "")]
    assert not child.transport.running
    assert not child.transport.poll(0)


def test_a_signal_is_a_negative_code(a_child) -> None:
    child = a_child("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    child.until(lambda: child.exits)
    assert child.exits == [(-signal.SIGSEGV, "")]


@pytest.mark.parametrize(
    ("program", "reason"),
    [("/no/such/program", "there is no program"), ("/", "Permission denied"), ("a\0b", "null")],
)
def test_a_program_that_cannot_be_run_is_told_by_poll(program, reason) -> None:
    child = Child("", program).start()
    assert child.exits == []
    assert not child.transport.running
    child.transport.write(b"lost")
    child.until(lambda: child.exits)
    ((code, told),) = child.exits
    assert code is None
    assert reason in told
    child.transport.stop()


def test_what_the_child_does_not_take_is_pending_and_told_when_it_does(a_child) -> None:
    child = a_child("import sys, time; sys.stdin.buffer.read(1); time.sleep(.3); sys.stdin.read()")
    drained: list[int] = []
    child.transport.on_drained = lambda: drained.append(child.transport.pending_bytes)
    child.transport.write(bytes(4 << 20))
    child.transport.poll(0.1)
    assert child.transport.pending_bytes == 4 << 20
    assert drained == []
    child.until(lambda: child.transport.pending_bytes == 0 and drained)
    assert min(drained) < 4 << 20


def test_unread_output_makes_the_child_wait_and_loses_nothing(a_child, monkeypatch) -> None:
    monkeypatch.setattr("VoxelFeatLib.worker.client.transport._MOST_UNREAD", 1 << 20)
    script = "import os\nfor n in range(8): os.write(1, bytes([n]) * (1 << 20))"
    child = a_child(script)
    time.sleep(0.5)
    assert child.transport.running
    assert child.transport._unread <= 2 << 20
    child.until(lambda: child.exits)
    assert child.data == b"".join(bytes([n]) * (1 << 20) for n in range(8))


def test_a_log_that_nobody_reads_is_dropped_from_its_beginning(a_child) -> None:
    script = (
        "import sys\n"
        "for n in range(5000): print(n, file=sys.stderr)\n"
        "print('x' * 9000, file=sys.stderr)"
    )
    child = a_child(script)
    end = time.monotonic() + 20
    while child.transport.running and time.monotonic() < end:
        time.sleep(0.02)
    child.until(lambda: child.exits)
    assert len(child.lines) == 2000
    assert [len(line) for line in child.lines[-3:]] == [4096, 4096, 808]
    assert child.lines[-4] == "4999"


def test_stop_ends_all_that_the_child_started(a_child) -> None:
    # The launcher of a program: its child ignores being asked to end, and its own end.
    stubborn = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)"
    )
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-Ic', {stubborn!r}])"
    child = a_child(launcher)
    child.until(lambda: b"\n" in child.data)
    start = time.monotonic()
    child.transport.stop()
    assert time.monotonic() - start < 4
    assert gone(int(child.data))
    assert gone(child.transport.process_id)
    assert not child.transport.running
    assert child.exits == []


def test_a_child_that_died_leaves_nothing_behind(a_child) -> None:
    child = a_child(
        "import os, subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-Ic', 'import time; time.sleep(60)']).pid)\n"
        "sys.stdout.flush()\n"
        "os.kill(os.getpid(), 9)"
    )
    child.until(lambda: child.exits)
    assert gone(int(child.data))


def test_stop_lets_a_child_end_by_itself(a_child, tmp_path) -> None:
    file = tmp_path / "ended"
    child = a_child(f"import sys; print(1, flush=True); sys.stdin.read(); open({str(file)!r}, 'w')")
    child.until(lambda: child.data)
    child.transport.stop()
    assert file.exists()


def test_stop_is_quick_with_much_to_write_and_twice(a_child) -> None:
    child = a_child("import time; time.sleep(60)")
    child.transport.write(bytes(32 << 20))
    child.transport.stop()
    child.transport.stop()
    assert gone(child.transport.process_id)
    assert child.transport.pending_bytes == 0


def test_nothing_is_called_after_stop_from_a_callback() -> None:
    child = Child("print('a' * 100, flush=True); import sys; print('b', file=sys.stderr); input()")
    transport = child.transport
    calls: list[object] = []

    def stop(line: object) -> None:
        calls.append(line)
        transport.stop()

    transport.start(stop, stop, lambda *_: calls.append("exit"))
    time.sleep(0.5)
    transport.poll(5)
    transport.poll(0.1)
    assert len(calls) == 1


def test_one_childs_pipe_is_not_held_open_by_another(a_child) -> None:
    first = a_child("", "cat")
    second = a_child("", "cat")
    first.transport._process.stdin.close()  # as the end of the parent would
    first.until(lambda: first.exits)
    assert first.exits == [(0, "")]
    assert second.transport.running


def test_the_child_is_away_from_our_terminals_keys(a_child) -> None:
    child = a_child("import os; print(os.getpgid(0), os.getsid(0))")
    child.until(lambda: child.exits)
    group, session = map(int, child.data.split())
    assert group == session == child.transport.process_id
    assert group != os.getpgid(0)


def test_the_environment_is_the_one_given() -> None:
    script = "import os, sys; sys.stdout.write(os.environ['COLOUR'])"
    transport = SubprocessTransport(
        [sys.executable, "-c", script], {**os.environ, "COLOUR": "green"}
    )
    received: list[bytes] = []
    exits: list[object] = []
    transport.start(received.append, print, lambda *end: exits.append(end))
    while not exits:
        transport.poll(1)
    assert b"".join(received) == b"green"
