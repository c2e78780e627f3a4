"""The real worker behind a launcher, over Qt's process, as Slicer runs it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

import VoxelFeatLib
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker.client.client import Client

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell script")


@pytest.fixture
def a_client(a_qprocess_module, a_slicer, monkeypatch, tmp_path):
    """A client whose worker is started by a launcher that waits for it, as PythonSlicer does."""
    launcher = Path(a_slicer.app.slicerHome) / "bin" / "PythonSlicer"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f'#!/bin/sh\n{shlex.quote(sys.executable)} "$@"\nexit $?\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(VoxelFeatLib.__file__).parents[1]))
    schedule = a_qprocess_module.QtTimers().after
    client = Client(a_qprocess_module.worker_transport, schedule=schedule)
    yield client
    client.stop()


def is_alive(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_the_worker_takes_a_volume_survives_its_death_and_ends_with_us(a_client, until) -> None:
    # 32 MB: more than the client keeps in the pipe at once.
    voxels = np.random.default_rng(0).integers(-1000, 1000, (64, 512, 512), dtype=np.int16)
    volume = Volume(voxels, Geometry(voxels.shape, np.diag([0.7, 0.7, 2.0, 1.0])), "CT", "a volume")
    arguments = {
        "name": "a volume",
        "modality": "CT",
        "dtype": "<i2",
        "shape_kji": list(voxels.shape),
        "ijk_to_ras": volume.geometry.ijk_to_ras.tolist(),
        "parts": True,
    }
    replies: list[dict] = []
    errors: list[dict] = []
    a_client.request(
        "open_volume",
        arguments,
        payload=lambda: (slab.data for slab in voxels),
        on_reply=replies.append,
        on_error=errors.append,
    )
    until(lambda: replies or errors, seconds=120)
    assert errors == []
    assert replies[0]["sha256"] == volume.sha256()
    worker = a_client.hello["pid"]
    assert is_alive(worker)

    psutil.Process(worker).kill()
    until(lambda: a_client.state == "starting", seconds=20)
    until(lambda: a_client.state == "ready", seconds=120)
    second = a_client.hello["pid"]
    assert second != worker
    assert is_alive(second)

    a_client.stop()
    assert not is_alive(second)
