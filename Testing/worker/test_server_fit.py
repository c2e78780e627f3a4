"""Fits in a server of this process: clicks in between, cancelling, the cache, checkpoints."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from Testing.worker.server_fixtures import CENTRES, InProcess, at, clicks
from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.errors import NotEnoughMemoryError
from VoxelFeatLib.field.files import load_field, read_header
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.kept import FitKey
from VoxelFeatLib.fitting.presets import Preset
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.worker.server import cache, fitting, workspace

LEFT, RIGHT = CENTRES


@pytest.fixture(autouse=True)
def a_tiny_fit(monkeypatch, a_tiny_preset) -> None:
    """Whatever preset is asked for is the tiny one."""
    monkeypatch.setattr(fitting, "preset_named", lambda _: a_tiny_preset)


@pytest.fixture
def an_open_server(a_server: InProcess, a_scan: Volume) -> InProcess:
    a_server.open(a_scan)
    return a_server


def until_usable(server: InProcess, number: int) -> dict:
    while True:
        event = server.next(number)
        if event.get("usable"):
            return event


def segment_of(volume: Volume, result: str) -> dict:
    return {"segment": "a", "segments": [clicks("a", at(volume, LEFT))], "result": result}


def test_a_fit_tells_how_far_it_is_and_is_kept(
    an_open_server: InProcess, a_scan: Volume, a_cache: Path
) -> None:
    events: list[dict] = []
    reply = an_open_server.call("fit", events=events, device="cpu", preset="tiny")
    assert reply["ok"], reply
    assert {event["event"] for event in events} == {"progress"}
    fractions = [event["fraction"] for event in events]
    assert fractions == sorted(fractions)
    assert sum(event["usable"] for event in events) >= 1
    path = Path(reply["path"])
    assert path.parent == a_cache
    stem = f"{a_scan.sha256()[:16]}-filters-tiny-[0-9a-f]{{12}}"
    assert re.fullmatch(stem + r"\.voxelfeat", path.name)
    assert reply["bytes"] == path.stat().st_size
    assert reply["preset"] == "tiny"
    field, _ = load_field(path, a_scan)
    query = an_open_server.call("query", ras=at(a_scan, LEFT))
    expected = samples_at(field, a_scan, at(a_scan, LEFT))[0, :-1]
    np.testing.assert_array_equal(np.frombuffer(query["features"], "<f4"), expected)

    (cached,) = an_open_server.open(a_scan)["cached"]
    assert cached["path"] == str(path)
    assert cached["mean_cosine"] == reply["mean_cosine"]
    assert (cached["encoding"], cached["input_size"]) == ("windows", 128)
    assert abs(cached["finished"] - time.time()) < 600
    assert an_open_server.call("load_field", path=cached["path"], device="cpu")["ok"]


def test_a_fit_need_not_be_kept(an_open_server: InProcess, a_cache: Path) -> None:
    reply = an_open_server.call("fit", device="cpu", cache=False)
    assert (reply["path"], reply["bytes"]) == ("", 0)
    assert not a_cache.exists()


def test_damaged_and_foreign_fields_are_not_listed(
    an_open_server: InProcess, a_scan: Volume, a_cache: Path, a_field_file: Path
) -> None:
    a_cache.mkdir(parents=True)
    name = a_scan.sha256()[:16]
    whole = a_field_file.read_bytes()
    (a_cache / f"{name}-filters-cut.voxelfeat").write_bytes(whole[:100])
    (a_cache / f"{name}-filters-good.voxelfeat").write_bytes(whole)
    moved = Volume(a_scan.voxels, replace_origin(a_scan), "CT")
    cached = an_open_server.open(a_scan)["cached"]
    assert [Path(entry["path"]).name for entry in cached] == [f"{name}-filters-good.voxelfeat"]
    assert an_open_server.open(moved)["cached"] == []


def replace_origin(volume: Volume):
    matrix = volume.geometry.ijk_to_ras.copy()
    matrix[0, 3] += 5
    return type(volume.geometry)(volume.geometry.shape_kji, matrix)


def test_clicks_are_answered_while_the_fit_runs_on_the_newest_weights(
    an_open_server: InProcess, a_scan: Volume, monkeypatch
) -> None:
    monkeypatch.setattr(workspace, "_RENEW_SECONDS", 0.0)
    number = an_open_server.ask("fit", device="cpu", cache=False)
    early = an_open_server.call("segment", **segment_of(a_scan, "0"))
    assert early["error"]["code"] == "no_field"
    until_usable(an_open_server, number)
    first = an_open_server.call("query", ras=at(a_scan, LEFT))
    assert an_open_server.call("segment", **segment_of(a_scan, "1"))["voxels"] > 0
    assert an_open_server.call("query", ras=at(a_scan, LEFT)) | {"id": 0} == first | {"id": 0}
    reply = an_open_server.wait(number)
    assert reply["ok"]
    after = an_open_server.call("segment", **segment_of(a_scan, "2"))
    query = an_open_server.call("query", ras=at(a_scan, LEFT))
    assert query["features"] != first["features"]

    # The same as that of a worker which never knew the unfinished field.
    path = Path(an_open_server.call("fit", device="cpu")["path"])
    another = InProcess()
    another.open(a_scan, path)
    assert another.call("segment", **segment_of(a_scan, "1"))["voxels"] == after["voxels"]


def test_a_click_during_the_fit_uses_samples_of_the_weights_it_is_evaluated_with(
    an_open_server: InProcess, a_scan: Volume, monkeypatch
) -> None:
    monkeypatch.setattr(workspace, "_RENEW_SECONDS", 0.0)
    place = tuple(at(a_scan, LEFT)[0])
    number = an_open_server.ask("fit", device="cpu", cache=False)
    until_usable(an_open_server, number)
    an_open_server.call("segment", **segment_of(a_scan, "1"))
    before = an_open_server.server._workspace.model().evidence._at([place]).x[0]
    for _ in range(6):  # steps of the fit
        an_open_server.server.step()
    model = an_open_server.server._workspace.model()
    after = model.evidence._at([place]).x[0]
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, samples_at(model.field, a_scan, [place])[0], atol=1e-5)


def test_a_cancelled_fit_leaves_its_field_to_be_used_but_not_saved(
    an_open_server: InProcess, a_scan: Volume, tmp_path: Path
) -> None:
    number = an_open_server.ask("fit", device="cpu")
    until_usable(an_open_server, number)
    assert an_open_server.call("cancel", target=number)["found"]
    assert an_open_server.wait(number)["error"]["code"] == "cancelled"
    assert not an_open_server.server.busy
    assert an_open_server.call("segment", **segment_of(a_scan, "1"))["voxels"] > 0
    saved = an_open_server.call("save_field", path=str(tmp_path / "x.voxelfeat"))
    assert saved["error"]["code"] == "no_field"
    assert an_open_server.call("fit", device="cpu")["ok"]


def test_one_fit_at_a_time(an_open_server: InProcess, a_field_file: Path) -> None:
    number = an_open_server.ask("fit", device="cpu", cache=False)
    an_open_server.server.step()
    assert an_open_server.call("load_field", path=str(a_field_file))["error"]["code"] == "busy"
    second = an_open_server.ask("fit", device="cpu", cache=False)
    assert an_open_server.wait(second)["error"]["code"] == "busy"
    assert an_open_server.wait(number)["ok"]


def test_another_volume_ends_the_fit(an_open_server: InProcess, a_scan: Volume) -> None:
    number = an_open_server.ask("fit", device="cpu")
    until_usable(an_open_server, number)
    an_open_server.open(a_scan)
    while "event" in (message := an_open_server.next(number)):
        pass
    assert message["error"]["code"] == "cancelled"
    assert an_open_server.call("query", ras=at(a_scan, LEFT))["error"]["code"] == "no_field"


def test_a_killed_fit_goes_on_from_its_checkpoint(
    an_open_server: InProcess, a_scan: Volume, a_cache: Path, monkeypatch
) -> None:
    monkeypatch.setattr(fitting, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fitting, "_CHECKPOINT_SHARE", 1e9)
    expected = an_open_server.call("fit", device="cpu", seed=3)
    Path(expected["path"]).unlink()
    assert list(a_cache.glob("*.checkpoint")) == []
    number = an_open_server.ask("fit", device="cpu", seed=3)
    until_usable(an_open_server, number)
    for _ in range(4):
        an_open_server.server.step()
    (checkpoint,) = a_cache.glob("*.checkpoint")
    step = read_header(checkpoint).record["step"]
    assert step > 0

    another = InProcess()
    another.open(a_scan)
    begun = []
    resume = Fitter.resume
    monkeypatch.setattr(
        Fitter, "resume", lambda *a, **n: begun.append(resume(*a, **n)) or begun[-1]
    )
    reply = another.call("fit", device="cpu", seed=3)
    assert len(begun) == 1
    assert reply["heldout"] == expected["heldout"]
    assert list(a_cache.glob("*.checkpoint")) == []


def test_a_damaged_checkpoint_is_no_obstacle(
    an_open_server: InProcess, a_scan: Volume, a_cache: Path, a_tiny_preset: Preset
) -> None:
    a_cache.mkdir(parents=True)
    key = FitKey(a_scan, create_backbone("filters", a_scan), a_tiny_preset, 0)
    path = key.path(a_cache, ".checkpoint")
    path.write_bytes(b"damaged")
    assert an_open_server.call("fit", device="cpu")["ok"]
    assert not path.exists()


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_fit_without_memory_is_tried_again_smaller_then_reported(
    an_open_server: InProcess, a_tiny_preset, monkeypatch, failures: int
) -> None:
    tried = []

    class Short(Fitter):
        def __init__(self, volume, backbone, preset, **named) -> None:
            tried.append((preset.windows, preset.pool))
            if len(tried) <= failures:
                raise NotEnoughMemoryError("This fit needs more than there is.")
            super().__init__(volume, backbone, preset, **named)

    monkeypatch.setattr(fitting, "Fitter", Short)
    reply = an_open_server.call("fit", device="cpu", cache=False)
    windows, pool = a_tiny_preset.windows, a_tiny_preset.pool
    smaller = [(windows, pool), (windows // 2, pool // 2), (1, pool // 4)]
    assert tried == smaller[: failures + 1]
    assert reply["ok"] is (failures < 3)
    if failures == 3:
        assert reply["error"]["code"] == "out_of_memory"


def test_abandoned_checkpoints_are_removed(a_scan: Volume, a_cache: Path) -> None:
    a_cache.mkdir(parents=True)
    old, young = a_cache / "old.checkpoint", a_cache / "young.checkpoint"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    cache.remove_abandoned()
    assert not old.exists()
    assert young.exists()
