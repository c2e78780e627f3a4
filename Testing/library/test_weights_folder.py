"""The folder that weights are downloaded into: full, forbidden, shared with other processes."""

from __future__ import annotations

import errno
import multiprocessing
import shutil
import sys
import threading
from pathlib import Path

import pytest
from library.downloads import CONTENT, PART, WEIGHTS, left, obtain

from VoxelFeatLib.backbones.weights import download, locking
from VoxelFeatLib.backbones.weights.catalogue import (
    OfficialWeights,
)
from VoxelFeatLib.backbones.weights.download import DownloadSettings, obtain_weights
from VoxelFeatLib.errors import Cancelled, WeightsError


def test_too_little_space_is_told_before_loading(a_weights_server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WeightsError, match="too little space"):
        obtain(a_weights_server, tmp_path)
    assert a_weights_server.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_disk_that_fills_up_is_told(a_weights_server, tmp_path, monkeypatch):
    def opened(path, mode="r", *arguments, **keywords):
        target = "/dev/full" if path.name == PART else path
        return open(target, mode, *arguments, **keywords)  # noqa: PTH123

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(WeightsError, match=r"cannot be written to .*No space left"):
        obtain(a_weights_server, tmp_path)


def test_a_folder_that_cannot_be_made_is_told(a_weights_server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="cannot be written") as caught:
        obtain(a_weights_server, tmp_path / "file")
    assert "VOXELFEAT_CACHE" in caught.value.hint


def test_a_read_only_folder_is_told(a_weights_server, tmp_path, monkeypatch):
    def refused(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(locking.os, "open", refused)
    with pytest.raises(WeightsError, match=r"cannot be written.*Permission denied"):
        obtain(a_weights_server, tmp_path)


def _obtain_in_process(url, folder, queue):
    weights = OfficialWeights("a-model", WEIGHTS.file, WEIGHTS.bytes, WEIGHTS.sha256)
    settings = DownloadSettings(mirror=url)
    queue.put(str(obtain_weights(weights, settings, folder)))


def test_two_processes_load_it_once(a_weights_server, tmp_path):
    a_weights_server.pause = 0.02
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=_obtain_in_process, args=(a_weights_server.url, tmp_path, queue))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    paths = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert paths == [str(tmp_path / WEIGHTS.file)] * 2
    assert (tmp_path / WEIGHTS.file).read_bytes() == CONTENT
    assert left(tmp_path) == [WEIGHTS.file]
    assert len(a_weights_server.requests) == 1


def test_who_waits_sees_the_other_s_progress_and_can_leave(a_weights_server, tmp_path):
    first_block, go_on = threading.Event(), threading.Event()

    def on_block():
        first_block.set()
        assert go_on.wait(30)

    a_weights_server.on_block = on_block
    loader = threading.Thread(target=obtain, args=(a_weights_server, tmp_path))
    loader.start()
    try:
        assert first_block.wait(30)
        reports = []
        with pytest.raises(Cancelled):
            obtain(
                a_weights_server, tmp_path, progress=reports.append, cancelled=lambda: bool(reports)
            )
        assert reports[0].bytes < len(CONTENT)
    finally:
        go_on.set()
        loader.join()
    assert (tmp_path / WEIGHTS.file).read_bytes() == CONTENT
    assert len(a_weights_server.requests) == 1


def test_without_locks_every_process_loads_its_own(a_weights_server, tmp_path, monkeypatch):
    def refused(_descriptor):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking, "_lock", refused)
    (tmp_path / PART).write_bytes(b"of somebody else")
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert left(tmp_path) == [WEIGHTS.file, PART]
    assert (tmp_path / PART).read_bytes() == b"of somebody else"
