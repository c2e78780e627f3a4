"""A client with a real worker, which may be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from Testing.worker.client_fixtures import Answer
from VoxelFeatLib.imaging.phantom import Phantom
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.client.calls import Loop, call
from VoxelFeatLib.worker.client.client import Client

COMMAND = (sys.executable, "-m", "VoxelFeatLib", "worker")
ROOT = Path(__file__).parents[2]
SHAPE = (16, 32, 32)


class Bench:
    """A client with a real worker."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str]) -> None:
        self.loop = Loop(command, environment)
        self.client = Client(self.loop.make_transport, schedule=self.loop.schedule)
        self.states: list[tuple[str, str]] = []
        self.client.on_state.append(lambda state, message: self.states.append((state, message)))

    @property
    def process_id(self) -> int:
        assert self.loop.process_id is not None
        return self.loop.process_id

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.states, list(self.client.log)[-20:])
            self.loop.poll(0.02)

    def call(self, kind: str, arguments: dict | None = None, **options) -> dict:
        return call(
            self.client, kind, arguments, poll=self.loop.poll, **({"timeout": 60} | options)
        )

    def ask(self, kind: str, arguments: dict | None = None, **options) -> Answer:
        return Answer(self.client, kind, arguments, **options)

    def open(self, phantom: Phantom, field: Path) -> Bench:
        """Open the volume and its field, anew."""
        voxels = phantom.volume.voxels
        geometry = phantom.volume.geometry
        arguments = {
            "name": "phantom",
            "modality": "CT",
            "dtype": voxels.dtype.newbyteorder("<").str,
            "shape_kji": list(voxels.shape),
            "ijk_to_ras": geometry.ijk_to_ras.tolist(),
        }
        self.call("open_volume", arguments, payload=lambda: [voxels.tobytes()])
        self.call("load_field", {"path": str(field), "device": "cpu"})
        self.client._crashes.clear()  # each test may kill as many as it likes
        self.states.clear()
        return self

    def kill(self) -> None:
        os.kill(self.process_id, signal.SIGKILL)

    def killed(self) -> None:
        """Kill the worker and wait for the next one to be ready."""
        before = self.process_id
        self.kill()
        self.until(lambda: self.process_id != before and self.client.state == "ready")


class Segmenting:
    """A `segment` request, and the mask that its chunks make of the one before."""

    def __init__(
        self, bench: Bench, phantom: Phantom, positive: int, current: np.ndarray | None = None
    ) -> None:
        voxels = np.argwhere(phantom.mask("liver"))
        geometry = phantom.volume.geometry
        inside = geometry.to_ras(voxels[:: len(voxels) // 4, ::-1]).tolist()
        outside = [geometry.to_ras([0, 0, 0]).tolist()]
        segment = {"id": "liver", "positive": inside[:positive], "negative": outside}
        answered = ([], []) if current is None else (inside[:1], outside)
        self.before = np.zeros(SHAPE, dtype=bool) if current is None else current
        self.mask = self.before.copy()
        self.repeats = 0
        self.asked_for: list[str] = []
        self.answer: dict = {}
        self.request = bench.client.request(
            "segment",
            {
                "segment": "liver",
                "segments": [segment],
                "current": None if current is None else "before",
                "answered": dict(zip(("positive", "negative"), answered, strict=True)),
                "result": "before" if current is None else "after",
                "visible": [[8, 0, 0, 9, 32, 32], [0, 16, 0, 16, 17, 32]],
            },
            masks=self._give,
            on_event=self._take,
            on_repeat=self._start_again,
            on_reply=self.answer.update,
            on_error=self.answer.update,
        )

    def _give(self, key: str) -> dict:
        self.asked_for.append(key)
        return protocol.pack_mask(self.before, Extent.whole(SHAPE), SHAPE)

    def _take(self, event: dict) -> None:
        if event["event"] == "chunk":
            extent, part = protocol.unpack_mask(event["mask"])
            self.mask[extent.slices] = part

    def _start_again(self) -> None:
        self.repeats += 1
        self.mask = self.before.copy()


def gone(process_id: int, seconds: float = 6.0) -> bool:
    end = time.monotonic() + seconds
    while psutil.pid_exists(process_id):
        if psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
