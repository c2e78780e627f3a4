"""The server in this process: what volume, field, refinement and picture requests are answered."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.worker.server_fixtures import (
    LEFT,
    SHAPE,
    InProcess,
    at,
    ball,
    code,
    opening,
    shown,
)
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.projection import colors_of
from VoxelFeatLib.segmenting.refinement import refine_steps
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.similarity import similarity
from VoxelFeatLib.segmenting.statistics import FeatureStatistics
from VoxelFeatLib.worker.protocol import Plane, pack_mask

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
