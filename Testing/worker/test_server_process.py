"""The worker as a process of its own: its pipes, its log, its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Testing.worker.server_fixtures import CENTRES, Process, at, clicks
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker import framing, protocol


def test_a_click_through_the_pipes_and_a_clean_end(
    a_process: Process, a_scan: Volume, a_field_file: Path
) -> None:
    hello = a_process.call("hello", protocol=1)
    assert hello["pid"] == a_process.child.pid
    a_process.open(a_scan, a_field_file)
    events: list[dict] = []
    reply = a_process.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", at(a_scan, CENTRES[0]))],
        result="1",
    )
    chunks = [event for event in events if event["event"] == "chunk"]
    assert reply["voxels"] == sum(protocol.unpack_mask(c["mask"])[1].sum() for c in chunks) > 0
    suggestions = reply["suggestions"]
    assert 0 < len(suggestions) <= 5
    assert all(set(one) == {"ras", "doubt"} and 0 < one["doubt"] <= 1 for one in suggestions)
    voxels = a_scan.geometry.to_ijk([one["ras"] for one in suggestions])
    np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-6)
    wrong = a_process.call("query", ras=[[1, 2]])
    assert wrong["error"]["code"] == "bad_request"
    assert a_process.call("shutdown")["ok"]
    assert a_process.left() == 0


def test_the_end_of_stdin_is_the_workers(a_process: Process) -> None:
    a_process.call("hello", protocol=1)
    assert a_process.end() == 0


def test_rubbish_gets_an_error_and_a_clean_exit(a_process: Process) -> None:
    a_process.call("hello", protocol=1)
    a_process.write(b"GET / HTTP/1.1\r\n\r\n")
    reply = a_process.wait(0)
    assert reply["error"]["code"] == "protocol"
    assert a_process.left() == 2
    assert b"Traceback" not in a_process.log


def test_an_oversized_message_gets_an_error_and_a_clean_exit(a_process: Process) -> None:
    a_process.call("hello", protocol=1)
    a_process.write(b"\x81\xa1a\xc6" + (1 << 31).to_bytes(4, "big"))
    try:
        for _ in range(80):
            a_process.write(bytes(1 << 20))
    except BrokenPipeError:
        pass  # it has gone already
    assert a_process.wait(0)["error"]["code"] == "protocol"
    assert a_process.left() == 2


def test_a_message_cut_off_ends_it_cleanly(a_process: Process) -> None:
    a_process.call("hello", protocol=1)
    a_process.write(framing.encode({"id": 9, "type": "query", "ras": [[0, 0, 0]]})[:-4])
    assert a_process.end() == 0
    assert b"Traceback" not in a_process.log


def answer_and_log(script: str) -> tuple[dict, bytes]:
    """Of a worker that is started by a script: its hello, and what it wrote to stderr."""
    process = Process("-c", script)
    try:
        reply = process.call("hello", protocol=1)
        assert process.call("shutdown")["ok"]
        assert process.left() == 0
    finally:
        process.child.kill()
        process.end()
    return reply, process.log


def test_what_libraries_print_goes_to_the_log() -> None:
    """By print, by the C library's stdout and by a child process; the protocol stays clean."""
    noisy = """
import os, subprocess, sys
from VoxelFeatLib.worker.server import machine, server
plain = machine.hello
def hello(request):
    print("from print")
    os.write(1, b"from C\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    assert sys.stdin.read() == ""
    return plain(request)
machine.hello = hello
sys.exit(server.main())
"""
    reply, log = answer_and_log(noisy)
    assert reply["ok"], log
    for words in (b"from print", b"from C", b"from a child"):
        assert words in log


def test_the_worker_starts_without_what_only_people_need() -> None:
    script = """
import sys, runpy
sys.argv[1:] = ["worker"]
try:
    runpy.run_module("VoxelFeatLib", run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
print(sorted({"typer", "rich", "matplotlib"} & set(sys.modules)), file=sys.stderr)
"""
    _, log = answer_and_log(script)
    assert log.decode().splitlines()[-1] == "[]"


def test_two_workers_do_not_disturb_each_other(
    a_process: Process, a_scan: Volume, a_field_file: Path
) -> None:
    other = Process()
    try:
        a_process.open(a_scan, a_field_file)
        darker = Volume(a_scan.voxels - np.int16(100), a_scan.geometry, "CT")
        other.open(darker)
        number = other.ask("fit", device="cpu")
        while not other.next(number).get("usable"):
            pass
        (ras,) = at(a_scan, CENTRES[0])
        mine = a_process.call("query", ras=[ras])
        assert other.call("query", ras=[ras])["intensity"] != mine["intensity"]
        other.child.kill()
        other.left()
        assert a_process.call("query", ras=[ras])["features"] == mine["features"]
    finally:
        other.child.kill()
        other.end()
