"""Fits to SAM 2.1's features: what `hello` says of them, downloads, options, what is missing."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

pytest.importorskip("sam2", reason="SAM2's package is not installed")

from Testing.library.sam2_files import random_sam2, save
from Testing.library.weights_server import WeightsServer, listening
from Testing.worker.server_fixtures import CENTRES, InProcess, at, clicks
from VoxelFeatLib.backbones import registry
from VoxelFeatLib.backbones.sam2 import checkpoints
from VoxelFeatLib.backbones.weights import availability
from VoxelFeatLib.backbones.weights.catalogue import OfficialWeights
from VoxelFeatLib.field.files import read_header
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker.server import backbones, fitting

TINY = "sam2.1-tiny"
SMALL = {"device": "cpu", "input_size": 64}


@pytest.fixture(scope="module")
def a_checkpoint(tmp_path_factory) -> Path:
    """A tiny SAM2 of random weights, in the layout of the official files."""
    weights = random_sam2("tiny").state_dict()
    return save({"model": weights}, tmp_path_factory.mktemp("weights") / "fine-tuned.pt")


@pytest.fixture
def a_web(a_checkpoint: Path, monkeypatch) -> Iterator[WeightsServer]:
    """A server that has that file; it counts as the official one."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    content = a_checkpoint.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    official = OfficialWeights(TINY, "sam2.1_hiera_tiny.pt", len(content), digest)
    for module in (registry, availability, backbones):
        monkeypatch.setattr(module, "CATALOGUE", MappingProxyType({TINY: official}))
    monkeypatch.setattr(
        backbones, "BACKBONES", {name: registry.BACKBONES[name] for name in ("filters", TINY)}
    )
    server = WeightsServer(content)
    server.block = 1 << 20
    with listening(server.answer) as url:
        server.url = url
        yield server


@pytest.fixture
def an_open_server(a_server: InProcess, a_scan: Volume, a_tiny_preset, monkeypatch) -> InProcess:
    monkeypatch.setattr(fitting, "preset_named", lambda _: a_tiny_preset)
    a_server.open(a_scan)
    return a_server


def described(server: InProcess) -> dict:
    (found,) = [b for b in server.call("hello", protocol=1)["backbones"] if b["name"] == TINY]
    return found


def test_a_fit_downloads_what_it_needs(
    a_web: WeightsServer, an_open_server: InProcess, a_cache: Path
) -> None:
    size = len(a_web.content)
    before = described(an_open_server)
    assert (before["label"], before["available"]) == ("SAM 2.1 tiny", True)
    assert (before["download_bytes"], before["options"]) == (size, True)
    a_web.pause = 0.01
    events: list[dict] = []
    reply = an_open_server.call(
        "fit", events=events, backbone=TINY, encoding="fve1", mirror=a_web.url, **SMALL
    )
    assert reply["ok"], reply
    told = [event for event in events if event["stage"].startswith("downloading weights (")]
    assert told
    assert told[-1]["stage"].endswith(f" of {round(size / 1e6)} MB)")
    assert all(0 < event["fraction"] <= 1 and not event["usable"] for event in told)
    assert (a_cache.parent / "weights" / "sam2.1_hiera_tiny.pt").stat().st_size == size
    assert described(an_open_server)["download_bytes"] == 0
    header = read_header(Path(reply["path"]))
    assert (header.record["encoding"], header.record["input_size"]) == ("fve1", 64)
    assert [level.channels for level in header.levels] == [32, 64, 256]

    again: list[dict] = []
    other = an_open_server.call("fit", events=again, backbone=TINY, **SMALL)
    assert other["path"] != reply["path"]  # another encoding is another field
    assert not any("weights" in event["stage"] for event in again)
    assert len(a_web.requests) == 1


def test_a_download_is_cancelled_and_goes_on_later_while_clicks_are_answered(
    a_web: WeightsServer, an_open_server: InProcess, a_scan: Volume, a_field_file: Path
) -> None:
    an_open_server.call("load_field", path=str(a_field_file), device="cpu")
    a_web.pause = 0.05
    number = an_open_server.ask("fit", backbone=TINY, mirror=a_web.url, **SMALL)
    while "downloading" not in an_open_server.next(number).get("stage", ""):
        pass
    segments = [clicks("a", at(a_scan, CENTRES[0]))]
    assert an_open_server.call("segment", segment="a", segments=segments, result="x")["voxels"] > 0
    assert an_open_server.call("cancel", target=number)["found"]
    assert an_open_server.wait(number)["error"]["code"] == "cancelled"
    a_web.pause = 0.0
    assert an_open_server.call("fit", backbone=TINY, mirror=a_web.url, **SMALL)["ok"]
    assert a_web.requests[-1][1].startswith("bytes=")  # not from the start


def test_a_cancelled_fit_reads_no_further(
    an_open_server: InProcess, a_checkpoint: Path, monkeypatch
) -> None:
    reading, go_on, made = threading.Event(), threading.Event(), []
    read = checkpoints.read_weights

    def slowly(path: Path):
        reading.set()
        assert go_on.wait(60)
        return read(path)

    monkeypatch.setattr(checkpoints, "read_weights", slowly)
    monkeypatch.setattr(checkpoints, "Encoder", made.append)
    number = an_open_server.ask("fit", backbone=str(a_checkpoint), **SMALL)
    while not reading.is_set():
        an_open_server.server.step()
    (thread,) = [t for t in threading.enumerate() if isinstance(t, backbones._Making)]
    assert an_open_server.call("cancel", target=number)["found"]
    assert an_open_server.wait(number)["error"]["code"] == "cancelled"
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
    assert made == []


def test_a_download_that_fails_says_what_to_do(
    a_web: WeightsServer, an_open_server: InProcess, a_cache: Path
) -> None:
    a_web.statuses = [404]
    error = an_open_server.call("fit", backbone=TINY, mirror=a_web.url, **SMALL)["error"]
    assert error["code"] == "input"
    assert f"into {a_cache.parent / 'weights'}" in error["message"]
    assert "HTTPS_PROXY" in error["hint"]
    assert an_open_server.call("fit", device="cpu", cache=False)["ok"]


def test_a_checkpoint_of_ones_own(
    an_open_server: InProcess, a_checkpoint: Path, tmp_path: Path
) -> None:
    mine = shutil.copy(a_checkpoint, tmp_path / "my model (1).pt")
    reply = an_open_server.call("fit", backbone=str(mine), **SMALL)
    assert reply["ok"], reply
    assert reply["backbone"] == "my model (1)"
    assert "-my_model_1_-" in Path(reply["path"]).name


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"backbone": "sam2.1-huge"}, "input", "no backbone named"),
        ({"backbone": "/no/such/file.pt"}, "input", "cannot be read"),
        ({"backbone": "filters", "encoding": "fve1"}, "input", "leave these options out"),
        ({"backbone": "filters", "input_size": "512"}, "bad_request", "whole number"),
        ({"backbone": TINY, "mirror": "ftp://old"}, "input", "no address to load weights from"),
    ],
)
def test_what_cannot_be_had_is_a_reply(an_open_server, arguments, code, words) -> None:
    error = an_open_server.call("fit", device="cpu", **arguments)["error"]
    assert (error["code"], words in error["message"]) == (code, True), error
    assert an_open_server.call("fit", device="cpu", cache=False)["ok"]


def test_missing_packages_are_told_before_any_download(an_open_server, monkeypatch) -> None:
    monkeypatch.setattr(availability, "missing_packages", lambda: ("sam2",))
    found = described(an_open_server)
    assert (found["available"], found["reason"]) == (False, "not installed: sam2")
    assert found["download_bytes"] == 0
    error = an_open_server.call("fit", backbone=TINY, device="cpu")["error"]
    assert error["message"] == f"The backbone “{TINY}” cannot be used here: not installed: sam2."
