"""`voxelfeat backbones`, `voxelfeat weights`, and `voxelfeat fit` with weights to download."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from library.weights_server import WeightsServer, listening
from typer.testing import CliRunner, Result

from VoxelFeatLib.backbones import registry
from VoxelFeatLib.backbones.encodings import create_encoding
from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.backbones.weights import availability
from VoxelFeatLib.backbones.weights.catalogue import OfficialWeights
from VoxelFeatLib.cli import weights as weights_commands
from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import write_volume

CONTENT = np.random.default_rng(0).bytes(300_000)
WEIGHTS = OfficialWeights("a-model", "a.pt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def a_server(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = WeightsServer(CONTENT)
    with listening(server.answer) as url:
        server.url = url
        yield server


@pytest.fixture
def a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for weights, of which there is one kind; the packages for it are there."""
    catalogue = MappingProxyType({WEIGHTS.name: WEIGHTS})
    for module in (weights_commands, availability):
        monkeypatch.setattr(module, "CATALOGUE", catalogue)
    monkeypatch.setattr(availability, "missing_packages", tuple)
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(full_program(), arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_backbones_are_listed_with_what_they_need() -> None:
    listed = json.loads(run("backbones", "--json").stdout)
    names = ["filters", "sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large"]
    assert [entry["name"] for entry in listed["backbones"]] == names
    assert listed["backbones"][0] == {"name": "filters", "available": True, "reason": ""}
    assert listed["encodings"] == ["gray", "windows3", "fve1", "fve2", "fve3", "fve4"]
    assert "sam2.1-base-plus" in run("backbones").stdout


def test_weights_are_listed_as_they_come(a_cache, a_server) -> None:
    assert json.loads(run("weights", "list", "--json").stdout) == {
        "folder": str(a_cache),
        "weights": [
            {
                "name": "a-model",
                "file": "a.pt",
                "bytes": 300_000,
                "sha256": WEIGHTS.sha256,
                "url": WEIGHTS.url,
                "state": "missing",
            }
        ],
    }
    done = run("weights", "download", "a-model", "--mirror", a_server.url)
    assert (done.exit_code, done.stdout) == (0, f"{a_cache / 'a.pt'}\n")
    assert (a_cache / "a.pt").read_bytes() == CONTENT
    assert "installed" in run("weights", "list").stdout
    again = run("weights", "download", "a-model", "--mirror", "https://nowhere.invalid")
    assert (again.exit_code, again.stdout) == (0, done.stdout)
    (a_cache / "a.pt").write_bytes(CONTENT[:-1])
    assert "damaged" in run("weights", "list").stdout


def test_the_folder_and_the_files_are_told_before_they_are_there(a_cache) -> None:
    assert run("weights", "path").stdout == f"{a_cache}\n"
    assert run("weights", "path", "a-model").stdout == f"{a_cache / 'a.pt'}\n"


def test_weights_that_nobody_knows(a_cache) -> None:
    result = run("weights", "download", "b-model")
    assert result.exit_code == 2
    assert "no weights named “b-model”; choose one of: a-model." in result.stderr


def test_a_server_without_the_file_is_told_with_what_to_do(a_cache, a_server) -> None:
    a_server.statuses = [404]
    result = run("weights", "download", "a-model", "--mirror", a_server.url)
    assert result.exit_code == 2
    assert f"put a.pt (0 MB, from {WEIGHTS.url}) into {a_cache}" in result.stderr
    assert "HTTPS_PROXY" in result.stderr


@pytest.fixture
def a_backbone(monkeypatch: pytest.MonkeyPatch) -> list[registry.BackboneOptions]:
    """The backbone `a-model`, filters by another name; returns with which options it was made."""
    asked: list[registry.BackboneOptions] = []

    def make(volume: Volume, options: registry.BackboneOptions) -> FilterBackbone:
        asked.append(options)
        create_encoding(options.encoding or "gray", volume)
        return FilterBackbone.for_volume(volume, options.device)

    backbones = MappingProxyType({**registry.BACKBONES, "a-model": make})
    monkeypatch.setattr(registry, "BACKBONES", backbones)
    return asked


@pytest.fixture
def a_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.random.default_rng(0).normal(0, 50, (12, 24, 24)).astype(np.int16)
    geometry = Geometry(voxels.shape, np.diag([1.5, 1.5, 3.0, 1.0]))
    write_volume(tmp_path / "ct.nrrd", Volume(voxels, geometry, "CT"))
    monkeypatch.chdir(tmp_path)


FIT = ("fit", "ct.nrrd", "-o", "ct.voxelfeat", "--device", "cpu", "--preset", "draft")
MODEL = ("--backbone", "a-model")


@pytest.mark.usefixtures("a_volume")
def test_fit_downloads_what_the_backbone_lacks(a_cache, a_server, a_backbone) -> None:
    options = ("--input-size", "64", "--encoding", "fve1", "--mirror", a_server.url)
    result = run(*FIT, *MODEL, *options)
    assert result.exit_code == 0
    assert "Downloading a.pt: done in" in result.stderr
    assert (a_cache / "a.pt").read_bytes() == CONTENT
    (asked,) = a_backbone
    assert (str(asked.device), asked.encoding, asked.input_size) == ("cpu", "fve1", 64)


@pytest.mark.usefixtures("a_volume")
def test_weights_of_ones_own_are_not_downloaded(a_cache) -> None:
    result = run(*FIT, "--backbone", "mine.pt")
    assert result.exit_code == 2
    assert "mine.pt" in result.stderr
    assert not a_cache.exists()


@pytest.mark.usefixtures("a_volume")
def test_missing_packages_are_told_before_anything_is_downloaded(
    a_cache, a_backbone, monkeypatch
) -> None:
    monkeypatch.setattr(availability, "missing_packages", lambda: ("sam2", "hydra"))
    result = run(*FIT, *MODEL)
    assert result.exit_code == 2
    assert "“a-model” cannot be used here: not installed: sam2, hydra." in result.stderr
    assert a_backbone == []
