"""The server in this process: every request's answer, and every request's errors."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.worker.server_fixtures import CENTRES, SHAPE, InProcess, at, ball, clicks, opening
from VoxelFeatLib.field.files import load_field
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.segmenting.projection import colors_of
from VoxelFeatLib.segmenting.refinement import refine_steps
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.segmenting.similarity import similarity
from VoxelFeatLib.segmenting.statistics import FeatureStatistics
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.protocol import Plane, pack_mask, unpack_mask
from VoxelFeatLib.worker.server import segmenting
from VoxelFeatLib.worker.server.failures import Refused
from VoxelFeatLib.worker.server.masks import Kept, MaskStore

LEFT, RIGHT = CENTRES
SLICE = [6, 0, 0, 7, *SHAPE[1:]]


@pytest.fixture
def an_open_server(a_server: InProcess, a_scan: Volume, a_field_file: Path) -> InProcess:
    """With volume and field."""
    a_server.open(a_scan, a_field_file)
    return a_server


@pytest.fixture
def a_field(a_scan: Volume, a_field_file: Path):
    return load_field(a_field_file, a_scan)[0]


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


# ---------------------------------------------------------------------- volume and field


def test_hello_says_what_there_is(a_server: InProcess, a_cache: Path) -> None:
    reply = a_server.call("hello", protocol=1)
    assert reply["protocol"] == 1
    assert reply["torch"] == str(torch.__version__)
    assert reply["devices"][-1]["name"] == "cpu"
    assert reply["backbones"][0] == {
        "name": "filters",
        "label": "Filters (built in)",
        "available": True,
        "reason": "",
        "missing": [],
        "download_bytes": 0,
        "options": False,
    }
    assert reply["encodings"][0] == "gray"
    assert {"draft", "fast", "balanced"} < {preset["name"] for preset in reply["presets"]}
    assert reply["default_preset"]["cpu"] == "fast"
    assert reply["cache"] == str(a_cache)


def test_another_version_of_the_protocol_is_refused(a_server: InProcess) -> None:
    assert code(a_server.call("hello", protocol=2)) == "protocol"


def test_a_volume_arrives_whole(a_server: InProcess, a_scan: Volume) -> None:
    reply = a_server.call(
        "open_volume", a_scan.voxels.tobytes(), **opening(a_scan) | {"modality": ""}
    )
    assert reply["sha256"] == a_scan.sha256()
    assert reply["modality"] == "other"  # nothing in it is as dark as air
    assert reply["cached"] == []


def test_a_query_returns_the_features_of_the_clicked_voxel(
    an_open_server: InProcess, a_scan: Volume, a_field
) -> None:
    places = at(a_scan, LEFT, (0, 1, 2))
    reply = an_open_server.call("query", ras=[*places, [0, 0, 1000]])
    expected = samples_at(a_field, a_scan, [*places, [0, 0, 1000]])
    features = np.frombuffer(reply["features"], "<f4").reshape(3, reply["channels"])
    np.testing.assert_array_equal(features, expected[:, :-1])
    np.testing.assert_array_equal(np.float32(reply["intensity"]), expected[:, -1])
    assert reply["inside"] == [True, True, False]
    assert sum(level["channels"] for level in reply["levels"]) == reply["channels"]


def test_a_field_goes_out_in_parts_and_comes_back(
    an_open_server: InProcess, a_scan: Volume, tmp_path: Path
) -> None:
    events: list[dict] = []
    saved = an_open_server.call("save_field", events=events, to_client=True)
    data = b"".join(event["data"] for event in events)
    assert len(data) == saved["bytes"]
    assert [event["last"] for event in events] == [False] * (len(events) - 1) + [True]
    before = an_open_server.call("query", ras=at(a_scan, LEFT))
    path = tmp_path / "here.voxelfeat"
    assert an_open_server.call("save_field", path=str(path))["bytes"] == len(data)
    assert path.read_bytes() == data
    an_open_server.open(a_scan)
    assert code(an_open_server.call("query", ras=at(a_scan, LEFT))) == "no_field"
    loaded = an_open_server.call("load_field", data, device="cpu")
    assert loaded["preset"] == "tiny"
    assert loaded["path"] == ""
    assert 0 < loaded["mean_cosine"] <= 1
    after = an_open_server.call("query", ras=at(a_scan, LEFT))
    assert after["features"] == before["features"]


def test_the_field_of_another_volume_is_refused(
    a_server: InProcess, a_scan: Volume, a_field_file: Path
) -> None:
    other = Volume(a_scan.voxels + np.int16(1), a_scan.geometry, "CT")
    a_server.open(other)
    reply = a_server.call("load_field", path=str(a_field_file), device="cpu")
    assert code(reply) == "field_file"
    assert "other voxel values" in reply["error"]["message"]


# ---------------------------------------------------------------------- segments


def test_a_click_gives_the_librarys_own_answer(
    an_open_server: InProcess, a_scan: Volume, a_field
) -> None:
    session = Session(a_scan, a_field)
    session.set_segment("a", [Click(tuple(at(a_scan, LEFT)[0]), positive=True)])
    session.set_segment("b", [Click(tuple(at(a_scan, RIGHT)[0]), positive=True)])
    *_, expected = session.update("a")
    events: list[dict] = []
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", at(a_scan, LEFT)), clicks("b", at(a_scan, RIGHT))],
        result="first",
        visible=[SLICE],
    )
    assert reply["ok"], reply
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    np.testing.assert_array_equal(scene, expected.mask)
    assert scene[LEFT]
    assert not scene[RIGHT]
    assert reply["voxels"] == reply["change"]["added"] == scene.sum()
    chunks = [event for event in events if event["event"] == "chunk"]
    assert [chunk["preview"] for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert chunks[0]["mask"]["extent"] == SLICE


def test_what_previews_told_already_is_told_again_at_the_end(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    events: list[dict] = []
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", at(a_scan, LEFT))],
        result="first",
        visible=[[0, 0, 0, *SHAPE]],
    )
    final = [event for event in events if event.get("preview") is False]
    accepted = shown(np.zeros(SHAPE, dtype=bool), final)
    assert accepted[LEFT]
    assert accepted.sum() == reply["voxels"] == reply["change"]["added"]


def test_the_next_click_corrects_what_is_shown(
    an_open_server: InProcess, a_scan: Volume, a_field
) -> None:
    session = Session(a_scan, a_field)
    one, two = at(a_scan, LEFT, RIGHT)
    session.set_segment("a", [Click(tuple(one), positive=True)])
    *_, first = session.update("a")
    session.add_click("a", Click(tuple(two), positive=True))
    *_, second = session.update("a")
    events: list[dict] = []
    an_open_server.call(
        "segment", events=events, segment="a", segments=[clicks("a", [one])], result="m1"
    )
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    np.testing.assert_array_equal(scene, first.mask)
    events.clear()
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", [one, two])],
        current="m1",
        answered={"positive": [one], "negative": []},
        result="m2",
        visible=[SLICE],
    )
    np.testing.assert_array_equal(shown(scene, events), second.mask)
    assert reply["change"]["added"] == (second.mask & ~first.mask).sum()
    assert reply["change"]["removed"] == (first.mask & ~second.mask).sum()


def test_a_worker_that_has_forgotten_everything_asks_for_the_mask_and_answers_the_same(
    an_open_server: InProcess, a_scan: Volume, a_field_file: Path
) -> None:
    one, two = at(a_scan, LEFT, RIGHT)
    events: list[dict] = []
    an_open_server.call(
        "segment", events=events, segment="a", segments=[clicks("a", [one])], result="m1"
    )
    first = shown(np.zeros(SHAPE, dtype=bool), events)
    asked = {
        "segment": "a",
        "segments": [clicks("a", [one, two])],
        "current": "m1",
        "answered": {"positive": [one], "negative": []},
        "result": "m2",
    }
    events.clear()
    an_open_server.call("segment", events=events, **asked)
    expected = shown(first, events)
    assert (expected != first).any()

    another = InProcess()
    another.open(a_scan, a_field_file)
    reply = another.call("segment", **asked)
    assert code(reply) == "unknown_mask"
    assert reply["error"]["keys"] == ["m1"]
    wire = pack_mask(first, Extent.whole(SHAPE), SHAPE)
    assert another.call("put_mask", key="m1", mask=wire)["ok"]
    events.clear()
    another.call("segment", events=events, **asked)
    np.testing.assert_array_equal(shown(first, events), expected)


def test_a_newer_request_replaces_the_one_of_its_segment_alone(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    one, two = at(a_scan, LEFT, RIGHT)
    states = [clicks("a", [one]), clicks("b", [two])]
    first = an_open_server.ask("segment", segment="a", segments=states, result="1", visible=[SLICE])
    other = an_open_server.ask("segment", segment="b", segments=states, result="2")
    an_open_server.server.step()
    newer = an_open_server.ask("segment", segment="a", segments=states, result="3")
    assert code(an_open_server.wait(first)) == "superseded"
    assert an_open_server.wait(newer)["ok"]
    assert an_open_server.wait(other)["ok"]


def test_what_a_superseded_request_had_shown_is_put_right(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    one, two = at(a_scan, LEFT, RIGHT)
    events: list[dict] = []
    first = an_open_server.ask(
        "segment", segment="a", segments=[clicks("a", [one])], result="1", visible=[SLICE]
    )
    while not any(message.get("preview") for message in an_open_server.sent):
        an_open_server.server.step()
    second = an_open_server.ask("segment", segment="a", segments=[clicks("a", [two])], result="2")
    assert code(an_open_server.wait(first, events)) == "superseded"
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    assert scene[LEFT]
    events.clear()
    reply = an_open_server.wait(second, events)
    scene = shown(scene, events)
    assert not scene[LEFT]
    assert scene[RIGHT]
    assert scene.sum() == reply["voxels"]


def test_a_cancelled_request_says_so(an_open_server: InProcess, a_scan: Volume) -> None:
    number = an_open_server.ask(
        "segment", segment="a", segments=[clicks("a", at(a_scan, LEFT))], result="1"
    )
    assert an_open_server.call("cancel", target=number)["found"] is True
    assert code(an_open_server.wait(number)) == "cancelled"
    assert an_open_server.call("cancel", target=number)["found"] is False


def test_outside_its_box_nothing_changes(an_open_server: InProcess, a_scan: Volume) -> None:
    state = clicks("a", at(a_scan, LEFT), box=[0, 0, 0, 12, 28, 8])
    events: list[dict] = []
    an_open_server.call("segment", events=events, segment="a", segments=[state], result="1")
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    assert scene[6, 14, 7]
    assert not scene[:, :, 8:].any()


def test_a_segment_starts_from_an_existing_mask(an_open_server: InProcess, a_scan: Volume) -> None:
    base = ball(RIGHT, 3.0)
    part = Extent((3, 10, 20), (10, 19, 29))
    an_open_server.call("put_mask", key="base", mask=pack_mask(base[part.slices], part, SHAPE))
    events: list[dict] = []
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", [], base="base", locality=False)],
        result="1",
    )
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    assert reply["voxels"] == scene.sum()
    assert scene[RIGHT]
    assert not scene[LEFT]


# ---------------------------------------------------------------------- refinement and pictures


def test_a_refined_mask_is_the_librarys(an_open_server: InProcess, a_scan: Volume, a_field) -> None:
    geometry = a_scan.geometry.subgrid((0.5, 0.5, 0.5), (2, 2, 2), (6, 14, 16))
    coarse = ball(LEFT)[::2, ::2, ::2]
    *_, expected = refine_steps(a_scan, a_field, coarse, geometry)
    events: list[dict] = []
    reply = an_open_server.call(
        "refine",
        events=events,
        mask=pack_mask(coarse, Extent.whole(coarse.shape), coarse.shape),
        ijk_to_ras=geometry.ijk_to_ras.tolist(),
    )
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    np.testing.assert_array_equal(scene, expected.mask)
    assert reply["voxels"] == scene.sum()
    assert reply["trust"] == expected.trust
    assert reply["coarse_ml"] == pytest.approx(coarse.sum() * 3 * 3 * 4 / 1000)
    assert reply["refined_ml"] == pytest.approx(scene.sum() * 1.5 * 1.5 * 2 / 1000)


def plane_of_slice(volume: Volume, k: int) -> Plane:
    """The pixels of a slice, and one more row outside of the volume before it."""
    matrix = volume.geometry.ijk_to_ras
    right, down = (tuple(matrix[:3, axis].tolist()) for axis in (0, 1))
    origin = volume.geometry.to_ras((0, -1, k)).tolist()
    return Plane(tuple(origin), right, down, SHAPE[1] + 1, SHAPE[2])


def test_likeness_is_the_librarys_and_black_outside(
    an_open_server: InProcess, a_scan: Volume, a_field
) -> None:
    (ras,) = at(a_scan, LEFT)
    plane = plane_of_slice(a_scan, 6)
    reply = an_open_server.call("similarity", ras=ras, planes=[plane.to_wire()])
    (picture,) = (np.frombuffer(zlib.decompress(data), np.uint8) for data in reply["maps"])
    picture = picture.reshape(plane.rows, plane.columns)
    lattice = Lattice.of_voxels((6, 0, 0), (7, *SHAPE[1:]))
    statistics = FeatureStatistics.of(a_field, a_scan)
    expected = similarity(a_scan, a_field, ras, lattice, statistics)[0]
    assert not picture[0].any()
    assert picture[1:][LEFT[1:]] == 255
    difference = picture[1:] - 255.0 * np.clip(expected, 0, 1)
    assert np.abs(difference).max() < 1.5


def test_colours_are_the_librarys_and_black_outside(
    an_open_server: InProcess, a_scan: Volume, a_field
) -> None:
    plane = plane_of_slice(a_scan, 6)
    reply = an_open_server.call("project", planes=[plane.to_wire(), plane.to_wire()])
    first, second = (np.frombuffer(zlib.decompress(data), np.uint8) for data in reply["images"])
    picture = first.reshape(plane.rows, plane.columns, 3)
    expected = np.concatenate([colors for _, colors in colors_of(a_field)])[6]
    assert not picture[0].any()
    assert np.abs(picture[1:].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(first, second)


# ---------------------------------------------------------------------- errors

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


# ---------------------------------------------------------------------- memory


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
