"""Real workers that are killed, fed rubbish and left alone by their parent."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from Testing.worker.bench import COMMAND, ROOT, SHAPE, Bench, Segmenting, gone
from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.field.files import save_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import GridSettings, preset_named
from VoxelFeatLib.imaging.phantom import Phantom, make_phantom
from VoxelFeatLib.worker.client.client import WorkerError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's"),
]


@pytest.fixture(scope="module")
def an_environment(tmp_path_factory) -> dict[str, str]:
    cache = str(tmp_path_factory.mktemp("cache"))
    return {**os.environ, "VOXELFEAT_CACHE": cache, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def a_phantom() -> Phantom:
    return make_phantom(SHAPE, (10.0, 10.0, 20.0))


@pytest.fixture(scope="module")
def a_field_file(a_phantom, tmp_path_factory) -> Path:
    preset = replace(
        preset_named("fast"),
        views=2,
        pool=2,
        first_views=2,
        steps=6,
        windows=4,
        window=4,
        planes=2,
        augmentations=1,
        heldout_views=1,
        grid=GridSettings(slices=4),
    )
    fitter = Fitter(a_phantom.volume, create_backbone("filters", a_phantom.volume), preset)
    for _ in fitter:
        pass
    path = tmp_path_factory.mktemp("field") / "tiny.voxelfeat"
    save_field(path, fitter.field, a_phantom.volume, fitter.record)
    return path


@pytest.fixture(scope="module")
def a_running_bench(an_environment) -> Iterator[Bench]:
    bench = Bench(COMMAND, an_environment)
    yield bench
    bench.client.stop()


@pytest.fixture
def a_bench(a_running_bench, a_phantom, a_field_file) -> Bench:
    return a_running_bench.open(a_phantom, a_field_file)


@pytest.fixture
def a_query(a_phantom) -> dict:
    return {"ras": [a_phantom.volume.geometry.centre_ras.tolist()]}


# ---------------------------------------------------------------------- killed


def test_killed_at_any_moment_of_an_update_the_answer_is_the_same(a_bench, a_phantom) -> None:
    undisturbed = Segmenting(a_bench, a_phantom, 1)
    start = time.monotonic()
    a_bench.until(lambda: undisturbed.answer)
    seconds = time.monotonic() - start
    assert undisturbed.answer["ok"]
    assert undisturbed.mask.any()
    moments = random.Random(0)  # noqa: S311 - no secret
    repeats = 0
    for fraction in (0.0, moments.random(), moments.random()):
        a_bench.client._crashes.clear()
        before = a_bench.process_id
        again = Segmenting(a_bench, a_phantom, 1)
        kill_at = time.monotonic() + fraction * seconds
        a_bench.until(lambda end=kill_at: time.monotonic() >= end)
        a_bench.kill()
        a_bench.until(lambda run=again: run.answer)
        a_bench.until(lambda old=before: a_bench.process_id != old)
        assert again.answer["ok"]
        np.testing.assert_array_equal(again.mask, undisturbed.mask)
        a_bench.until(lambda: a_bench.client.state == "ready")
        repeats += again.repeats
    assert repeats >= 1  # a later moment may come after the answer


def test_killed_in_the_middle_of_a_reply_it_is_sent_again_whole(a_bench, monkeypatch) -> None:
    parts: list[bytes] = []
    repeats: list[int] = []
    replies: list[dict] = []

    def save(on_repeat: Callable[[], None]) -> bytes:
        parts.clear()
        replies.clear()
        a_bench.client.request(
            "save_field",
            {"to_client": True},
            on_event=lambda event: parts.append(event["data"]),
            on_repeat=on_repeat,
            on_reply=replies.append,
        )
        if not repeats:
            stop_half_way()
        a_bench.until(lambda: replies)
        return b"".join(parts)

    def stop_half_way() -> None:
        # We take no more than the first piece, and the pipe holds less than the rest.
        transport = a_bench.loop._transport
        with monkeypatch.context() as patch:
            patch.setattr("VoxelFeatLib.worker.client.transport._MOST_UNREAD", 1)
            end = time.monotonic() + 20
            while not transport._unread:
                assert time.monotonic() < end
                time.sleep(0.01)
            a_bench.kill()

    def again() -> None:
        assert parts == []  # nothing of half a message was passed on
        repeats.append(1)

    disturbed = save(again)
    assert repeats == [1]
    assert len(disturbed) > 1 << 18
    assert save(again) == disturbed
    assert repeats == [1]


def test_a_mask_of_a_dead_worker_is_given_to_the_next(a_bench, a_phantom) -> None:
    first = Segmenting(a_bench, a_phantom, 1)
    a_bench.until(lambda: first.answer)
    second = Segmenting(a_bench, a_phantom, 3, current=first.mask)
    a_bench.until(lambda: second.answer)
    assert second.answer["ok"]
    assert second.asked_for == []
    a_bench.killed()
    again = Segmenting(a_bench, a_phantom, 3, current=first.mask)
    a_bench.until(lambda: again.answer)
    assert again.asked_for == ["before"]
    assert again.answer["ok"]
    np.testing.assert_array_equal(again.mask, second.mask)


def test_killed_while_it_fits_it_fits_again_and_the_old_field_answers(a_bench, a_query) -> None:
    fit = a_bench.ask(
        "fit", {"backbone": "filters", "preset": "fast", "device": "cpu", "cache": False}
    )
    a_bench.until(lambda: fit.events)
    first = a_bench.process_id
    a_bench.kill()
    a_bench.until(lambda: a_bench.process_id != first)
    assert a_bench.states[0] == (
        "starting",
        "The worker ended unexpectedly (killed by SIGKILL); restarting.",
    )
    before = len(fit.events)
    a_bench.until(lambda: len(fit.events) > before)
    assert a_bench.call("query", a_query)["inside"] == [True]
    fit.request.cancel()
    a_bench.until(lambda: fit.request.done)
    assert fit.code == "cancelled"
    assert a_bench.call("query", a_query)["inside"] == [True]


def test_rubbish_ends_the_worker_cleanly_and_the_next_one_goes_on(a_bench, a_query) -> None:
    before = a_bench.process_id
    a_bench.loop._transport.write(b"\xc1\xc1 GET / HTTP/1.1")
    a_bench.until(lambda: a_bench.process_id != before)
    assert "exit code 2" in a_bench.states[0][1]
    assert a_bench.call("query", a_query)["inside"] == [True]


# ---------------------------------------------------------------------- cancel and stop


def test_an_upload_is_cancelled_half_way(a_bench) -> None:
    pulled: list[int] = []

    def payload() -> Iterator[bytes]:
        for number in range(16):
            pulled.append(number)
            yield bytes(4 << 20)

    upload = a_bench.ask(
        "open_volume",
        {"dtype": "<i2", "shape_kji": [32, 1024, 1024], "ijk_to_ras": np.eye(4).tolist()},
        payload=payload,
    )
    upload.request.cancel()
    a_bench.until(lambda: upload.request.done)
    assert upload.code == "cancelled"
    assert len(pulled) < 16
    with pytest.raises(WorkerError) as caught:
        a_bench.call("query", {"ras": [[0.0, 0.0, 0.0]]})
    assert caught.value.code == "no_volume"


def test_two_workers_do_not_disturb_each_other_and_stop_leaves_nothing(
    a_bench, an_environment, a_phantom, a_field_file, a_query
) -> None:
    # As over a remote shell: it says hello on the same pipe.
    script = 'echo "Welcome to the cluster"; exec "$@"'
    other = Bench(("/bin/sh", "-c", script, "sh", *COMMAND), an_environment)
    try:
        other.open(a_phantom, a_field_file)
        assert "Welcome to the cluster" in other.client.log
        assert other.client.hello["pid"] != a_bench.client.hello["pid"]
        expected = other.call("query", a_query)["features"]
        fit = a_bench.ask("fit", {"backbone": "filters", "preset": "fast", "cache": False})
        a_bench.until(lambda: fit.events)
        a_bench.kill()
        assert other.call("query", a_query)["features"] == expected
        assert other.states == []
        fit.request.cancel()
        a_bench.until(lambda: fit.request.done and a_bench.client.state == "ready")
        assert a_bench.call("query", a_query)["features"] == expected
    finally:
        tree = [other.process_id, *psutil.Process(other.process_id).children(recursive=True)]
        other.client.stop()
    assert all(gone(getattr(process, "pid", process)) for process in tree)


def test_the_death_of_the_parent_ends_a_busy_worker(an_environment, tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time\n"
        "from VoxelFeatLib.worker.client.client import Client\n"
        "from VoxelFeatLib.worker.client.calls import Loop, call\n"
        "from VoxelFeatLib.imaging.phantom import make_phantom\n"
        "loop = Loop([sys.executable, '-m', 'VoxelFeatLib', 'worker'])\n"
        "client = Client(loop.make_transport, schedule=loop.schedule)\n"
        f"volume = make_phantom({SHAPE}, (10.0, 10.0, 20.0)).volume\n"
        "call(client, 'open_volume', {'dtype': '<i2', 'shape_kji': list(volume.voxels.shape),\n"
        "    'ijk_to_ras': volume.geometry.ijk_to_ras.tolist()},\n"
        "    payload=lambda: [volume.voxels.tobytes()], poll=loop.poll)\n"
        "events = []\n"
        "client.request('fit', {'preset': 'fast', 'cache': False}, on_event=events.append)\n"
        "while not events: loop.poll(0.1)\n"
        "print(loop.process_id, flush=True)\n"
        "while True: loop.poll(0.1)\n"
    )
    environment = {**an_environment, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert psutil.pid_exists(worker)
        parent.kill()
    assert gone(worker)


# ---------------------------------------------------------------------- never started


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("/no/such/ssh", "gpu-box", "voxelfeat", "worker"), "there is no program /no/such/ssh"),
        ((sys.executable, "-m", "VoxelFeatMissing", "worker"), "No module named VoxelFeatMissing"),
        (
            ("/bin/sh", "-c", "echo 'ssh: Could not resolve hostname gpu-box' >&2; exit 255"),
            "ssh: Could not resolve hostname gpu-box. Check that the host",
        ),
    ],
)
def test_a_command_that_cannot_be_started_is_told_in_a_sentence(
    an_environment, command, said
) -> None:
    bench = Bench(command, an_environment)
    answer = bench.ask("query")
    bench.until(lambda: bench.client.state == "failed")
    assert said in bench.states[-1][1]
    assert answer.code == "not_started"


def test_a_worker_without_torch_says_so(an_environment, tmp_path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    bench = Bench(COMMAND, {**an_environment, "PYTHONPATH": path})
    bench.client.start()
    bench.until(lambda: bench.client.state == "failed")
    assert "No module named 'torch'. Install what is missing" in bench.states[-1][1]
