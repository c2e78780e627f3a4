"""A server without a process, a worker process without a client, and what both are asked."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker import framing, protocol
from VoxelFeatLib.worker.protocol import unpack_mask
from VoxelFeatLib.worker.server.server import Server

SHAPE = (12, 28, 32)
# Of two balls, k, j, i.
CENTRES = ((6, 14, 8), (6, 14, 24))
LEFT, RIGHT = CENTRES
SLICE = [6, 0, 0, 7, *SHAPE[1:]]


def ball(centre: tuple[int, int, int], radius: float = 5.0) -> np.ndarray:
    distance = np.linalg.norm(np.moveaxis(np.indices(SHAPE), 0, -1) - centre, axis=-1)
    return distance < radius


def opening(volume: Volume) -> dict:
    """Arguments of open_volume."""
    return {
        "name": volume.name,
        "modality": volume.modality,
        "dtype": volume.voxels.dtype.newbyteorder("<").str,
        "shape_kji": list(volume.voxels.shape),
        "ijk_to_ras": volume.geometry.ijk_to_ras.tolist(),
    }


def at(volume: Volume, *voxels_kji: tuple[int, int, int]) -> list[list[float]]:
    """RAS of voxel centres, as a message carries them."""
    return [volume.geometry.to_ras(voxel[::-1]).tolist() for voxel in voxels_kji]


def clicks(name: str, positive: list, negative: list = (), **more) -> dict:
    return {"id": name, "positive": positive, "negative": list(negative), **more}


class Talk:
    """What both kinds of worker under test are asked; ``send`` and ``next`` differ."""

    def __init__(self) -> None:
        self.number = 0

    def ask(self, kind: str, payload: bytes | None = None, **arguments) -> int:
        """Send a request, in parts where it has a payload; return its id."""
        self.number += 1
        number = self.number
        parts = {} if payload is None else {"parts": True}
        self.send({"id": number, "type": kind, **arguments, **parts})
        if payload is not None:
            for part, (data, last) in enumerate(protocol.in_parts([payload])):
                self.send({"id": number, "part": part, "data": data, "last": last})
        return number

    def wait(self, number: int, events: list | None = None) -> dict:
        """Return a request's reply; its events are added to a list."""
        while True:
            message = self.next(number)
            if "event" not in message:
                return message
            if events is not None:
                events.append(message)

    def call(self, kind: str, payload: bytes | None = None, events=None, **arguments) -> dict:
        return self.wait(self.ask(kind, payload, **arguments), events)

    def open(self, volume: Volume, field: Path | None = None) -> dict:
        """Open a volume, and its field."""
        reply = self.call("open_volume", volume.voxels.tobytes(), **opening(volume))
        assert reply["ok"], reply
        if field is not None:
            loaded = self.call("load_field", path=str(field), device="cpu")
            assert loaded["ok"], loaded
        return reply


class InProcess(Talk):
    """A server without pipes and process: it works when the test waits for a reply."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict] = []
        self.server = Server(self.sent.append)

    def send(self, message: dict) -> None:
        self.server.receive(message)

    def next(self, number: int) -> dict:
        while True:
            for place, message in enumerate(self.sent):
                if message["id"] == number:
                    return self.sent.pop(place)
            assert self.server.busy, f"no reply to {number}: {self.sent}"
            self.server.step()


class Process(Talk):
    """A worker process, its stdin and stdout."""

    def __init__(self, *python: str) -> None:
        super().__init__()
        command = [sys.executable, *(python or ("-m", "VoxelFeatLib", "worker"))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
        )
        self.messages: queue.Queue = queue.Queue()
        self.log = b""
        self.threads = [threading.Thread(target=work) for work in (self._read, self._read_log)]
        for thread in self.threads:
            thread.start()

    def _read(self) -> None:
        decoder = framing.Decoder()
        banner = self.child.stdout.read(len(protocol.GREETING))
        assert banner == protocol.GREETING
        while data := os.read(self.child.stdout.fileno(), 1 << 20):
            for message in decoder.feed(data):
                self.messages.put(message)
        assert decoder.pending_bytes == 0
        self.messages.put(None)

    def _read_log(self) -> None:
        self.log = self.child.stderr.read()

    def send(self, message: dict) -> None:
        self.write(framing.encode(message))

    def write(self, data: bytes) -> None:
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def next(self, number: int) -> dict:
        while True:
            message = self.messages.get(timeout=120)
            assert message is not None, f"no reply to {number}: {self.log.decode()}"
            if message["id"] == number:
                return message

    def end(self, seconds: float = 30) -> int:
        """Close its stdin and wait for its end; return the exit code."""
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        return self.left(seconds)

    def left(self, seconds: float = 30) -> int:
        """Wait for its end; return the exit code."""
        code = self.child.wait(seconds)
        for thread in self.threads:
            thread.join(seconds)
        return code


def shown(scene: np.ndarray, events: list[dict]) -> np.ndarray:
    """The scene after the chunks of a request."""
    scene = scene.copy()
    for event in events:
        if event["event"] == "chunk":
            extent, mask = unpack_mask(event["mask"])
            scene[extent.slices] = mask
    return scene


def code(reply: dict) -> str:
    assert reply["ok"] is False
    assert reply["error"]["message"].endswith(".")
    return reply["error"]["code"]
