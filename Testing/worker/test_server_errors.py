"""The server in this process: every request's errors, and memory that is short."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Testing.worker.server_fixtures import (
    LEFT,
    InProcess,
    at,
    clicks,
    code,
    opening,
)
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.protocol import Plane, pack_mask
from VoxelFeatLib.worker.server import segmenting
from VoxelFeatLib.worker.server.failures import Refused
from VoxelFeatLib.worker.server.masks import Kept, MaskStore

PLANE = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 2, 2).to_wire()
ONE = {"id": "a", "positive": [[0, 0, -30]]}
MASK = pack_mask(np.ones((1, 1, 1), dtype=bool), Extent.whole((1, 1, 1)), (1, 1, 1))
UNIT = np.eye(4).tolist()


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("nonsense", {}, "bad_request"),
        ("open_volume", {}, "bad_request"),
        ("query", {"ras": "here"}, "bad_request"),
        ("query", {"ras": [[0, 0]]}, "bad_request"),
        ("query", {"ras": [[0, 0, float("nan")]]}, "bad_request"),
        ("query", {"ras": [[0, 0, 0]] * 10_000}, "bad_request"),
        ("fit", {"preset": "none"}, "input"),
        ("fit", {"backbone": "none"}, "input"),
        ("fit", {"device": "abacus"}, "input"),
        ("fit", {"seed": -1}, "bad_request"),
        ("load_field", {"path": "missing.voxelfeat", "device": "cpu"}, "field_file"),
        ("load_field", {"path": 1}, "bad_request"),
        ("save_field", {}, "bad_request"),
        ("save_field", {"path": "/no/such/folder/x.voxelfeat"}, "input"),
        ("put_mask", {"key": "a", "mask": {}}, "bad_request"),
        ("put_mask", {"key": "a", "mask": MASK}, "input"),
        ("segment", {}, "bad_request"),
        ("segment", {"segment": "b", "segments": [ONE], "result": "1"}, "bad_request"),
        ("segment", {"segment": "a", "segments": [ONE, ONE], "result": "1"}, "bad_request"),
        ("segment", {"segment": "a", "segments": [ONE]}, "bad_request"),
        (
            "segment",
            {"segment": "a", "segments": [{"id": "a", "positive": [[0, 0, 999]]}], "result": "1"},
            "input",
        ),
        (
            "segment",
            {"segment": "a", "segments": [ONE | {"box": [0, 0, 0, 99, 1, 1]}], "result": "1"},
            "input",
        ),
        (
            "segment",
            {"segment": "a", "segments": [ONE], "result": "1", "current": "unheard of"},
            "unknown_mask",
        ),
        ("refine", {"mask": MASK}, "geometry"),
        ("refine", {"mask": MASK, "ijk_to_ras": UNIT, "mode": "magic"}, "bad_request"),
        ("refine", {"mask": MASK, "ijk_to_ras": np.zeros((4, 4)).tolist()}, "geometry"),
        (
            "refine",
            {"mask": MASK, "ijk_to_ras": [[1, 0, 0, 999], *UNIT[1:]]},
            "input",
        ),
        ("similarity", {"planes": [PLANE]}, "bad_request"),
        ("similarity", {"ras": [0, 0, 999], "planes": [PLANE]}, "input"),
        ("project", {"planes": [PLANE | {"rows": 0}]}, "bad_request"),
        ("project", {"planes": [PLANE | {"rows": 4096, "columns": 4096}]}, "bad_request"),
        ("cancel", {}, "bad_request"),
    ],
)
def test_a_wrong_request_is_answered_and_the_next_one_works(
    an_open_server: InProcess, a_scan: Volume, kind: str, arguments: dict, expected: str
) -> None:
    assert code(an_open_server.call(kind, **arguments)) == expected
    assert an_open_server.call("query", ras=at(a_scan, LEFT))["ok"]


@pytest.mark.parametrize(
    "request_of",
    [("query", {"ras": [[0, 0, 0]]}), ("fit", {}), ("put_mask", {"key": "a", "mask": MASK})],
)
def test_without_a_volume_it_is_asked_for(a_server: InProcess, request_of: tuple) -> None:
    kind, arguments = request_of
    assert code(a_server.call(kind, **arguments)) == "no_volume"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dtype": "<i8"}, "bad_request"),
        ({"shape_kji": [0, 28, 32]}, "bad_request"),
        ({"shape_kji": [1 << 30, 1 << 20, 32]}, "out_of_memory"),
        ({"shape_kji": [11, 28, 32]}, "too_large"),
        ({"shape_kji": [13, 28, 32]}, "bad_request"),
        ({"ijk_to_ras": [[1, 0, 0, 0]] * 4}, "geometry"),
        ({"modality": "US"}, "bad_request"),
    ],
)
def test_a_wrong_volume_is_refused(
    a_server: InProcess, a_scan: Volume, change: dict, expected: str
) -> None:
    voxels = a_scan.voxels.tobytes()
    assert code(a_server.call("open_volume", voxels, **opening(a_scan) | change)) == expected
    assert code(a_server.call("query", ras=[[0, 0, 0]])) == "no_volume"
    a_server.open(a_scan)


def test_voxels_that_are_no_numbers_are_refused(a_server: InProcess, a_scan: Volume) -> None:
    voxels = a_scan.voxels.astype(np.float32)
    voxels[3, 2, 1] = np.nan
    reply = a_server.call("open_volume", voxels.tobytes(), **opening(a_scan) | {"dtype": "<f4"})
    assert code(reply) == "input"


def test_parts_out_of_order_are_refused(a_server: InProcess, a_scan: Volume) -> None:
    a_server.send({"id": 7, "type": "open_volume", "parts": True, **opening(a_scan)})
    a_server.send({"id": 7, "part": 1, "data": b"", "last": False})
    assert code(a_server.wait(7)) == "bad_request"
    a_server.send({"id": 7, "part": 2, "data": b"", "last": True})  # of nothing by now
    assert a_server.sent == []


@pytest.mark.parametrize("message", [{}, {"id": 0, "type": "hello"}, {"id": "1", "type": "hello"}])
def test_a_request_without_an_id_is_refused(a_server: InProcess, message: dict) -> None:
    a_server.send(message)
    assert code(a_server.wait(0)) == "bad_request"


def test_a_defect_is_told_in_a_sentence_and_logged(
    an_open_server: InProcess, a_scan: Volume, monkeypatch, caplog
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("VoxelFeatLib.worker.server.seeing.samples_at", lambda *_: 1 / 0)
        reply = an_open_server.call("query", ras=at(a_scan, LEFT))
    assert code(reply) == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert an_open_server.call("query", ras=at(a_scan, LEFT))["ok"]


def test_a_missing_package_is_named(an_open_server: InProcess, a_scan: Volume, monkeypatch) -> None:
    def missing(*_):
        raise ModuleNotFoundError("No module named 'skimage'")

    monkeypatch.setattr("VoxelFeatLib.worker.server.seeing.samples_at", missing)
    reply = an_open_server.call("query", ras=at(a_scan, LEFT))
    assert code(reply) == "internal"
    assert reply["error"]["message"] == "The worker lacks a package: No module named 'skimage'."


def fails(times: int, error: Exception, work):
    """Work that fails some times, then works."""
    left = iter(range(times))

    def call(*arguments, **named):
        if next(left, None) is not None:
            raise error
        return work(*arguments, **named)

    return call


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_a_segment_is_tried_again_in_smaller_pieces(
    an_open_server: InProcess, a_scan: Volume, monkeypatch, error: Exception
) -> None:
    asked = {"segment": "a", "segments": [clicks("a", at(a_scan, LEFT))]}
    expected = an_open_server.call("segment", **asked, result="1")
    used = []
    failing = fails(2, error, segmenting.answer)

    def answer(task, evidence, inference, visible):
        used.append(inference.frugality)
        return failing(task, evidence, inference, visible)

    monkeypatch.setattr(segmenting, "answer", answer)
    reply = an_open_server.call("segment", **asked, result="2")
    assert used == [1, 4, 16]
    # Its graphs are coarser then.
    assert reply["voxels"] == pytest.approx(expected["voxels"], rel=0.5)


def test_memory_that_stays_short_is_reported(
    an_open_server: InProcess, a_scan: Volume, monkeypatch
) -> None:
    asked = {"segment": "a", "segments": [clicks("a", at(a_scan, LEFT))], "result": "1"}
    with monkeypatch.context() as patch:
        patch.setattr("VoxelFeatLib.worker.server.segmenting.answer", fails(9, MemoryError(), None))
        reply = an_open_server.call("segment", **asked)
    assert code(reply) == "out_of_memory"
    assert "close other programs" in reply["error"]["message"]
    assert an_open_server.call("segment", **asked)["ok"]


def test_masks_beyond_the_bound_are_forgotten_the_oldest_first() -> None:
    store = MaskStore(most_packed=4000, most_unpacked=3 * 1000)
    for key in "abc":
        store.put(key, Kept(PackedMask.of(np.ones((10, 10, 10), dtype=bool))))
    store.get("a")
    store.put("d", Kept(PackedMask.of(np.ones((10, 10, 10), dtype=bool))))
    with pytest.raises(Refused) as caught:
        store.check("abcd")
    assert caught.value.code == protocol.UNKNOWN_MASK
    assert caught.value.details == {"keys": ["b"]}
    assert store.result("a").mask.all()
