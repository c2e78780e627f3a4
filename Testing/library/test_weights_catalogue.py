"""Official weights: the catalogue, the folder, what a backbone still lacks."""

from __future__ import annotations

import re

import pytest
from library.downloads import CONTENT, WEIGHTS, left

from VoxelFeatLib.backbones.weights import availability as availability_module
from VoxelFeatLib.backbones.weights.availability import availability
from VoxelFeatLib.backbones.weights.catalogue import (
    CATALOGUE,
    find_weights,
    is_checkpoint_path,
    sha256_of,
    weights_folder,
)
from VoxelFeatLib.backbones.weights.download import DownloadSettings, obtain_weights
from VoxelFeatLib.errors import Cancelled, WeightsError


def test_the_catalogue_names_the_official_files():
    assert [weights.file for weights in CATALOGUE.values()] == [
        "sam2.1_hiera_tiny.pt",
        "sam2.1_hiera_small.pt",
        "sam2.1_hiera_base_plus.pt",
        "sam2.1_hiera_large.pt",
    ]
    for name, weights in CATALOGUE.items():
        assert weights.name == name
        assert re.fullmatch("[0-9a-f]{64}", weights.sha256)
        assert weights.url.startswith("https://")
        assert weights.url.endswith("/" + weights.file)
    assert len({weights.sha256 for weights in CATALOGUE.values()}) == 4
    assert [weights.megabytes for weights in CATALOGUE.values()] == [156, 184, 324, 898]


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path))
    assert weights_folder() == tmp_path / "weights"


def test_paths_of_checkpoints_are_told_from_names():
    assert is_checkpoint_path("C:/models/MedSAM2.PT")
    assert is_checkpoint_path("a.safetensors")
    assert not is_checkpoint_path("sam2.1-tiny")
    assert not is_checkpoint_path("filters")


def test_a_file_in_the_folder_is_found_without_a_server(tmp_path):
    assert find_weights(WEIGHTS, tmp_path) is None
    (tmp_path / WEIGHTS.file).write_bytes(CONTENT)
    settings = DownloadSettings(mirror="https://nowhere.invalid")
    assert obtain_weights(WEIGHTS, settings, tmp_path) == tmp_path / WEIGHTS.file
    assert left(tmp_path) == [WEIGHTS.file]


def test_a_file_of_another_size_is_not_taken_for_it(tmp_path):
    path = tmp_path / WEIGHTS.file
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="299999 bytes instead of 300000") as caught:
        obtain_weights(WEIGHTS, None, tmp_path)
    assert str(path) in caught.value.message
    assert path.exists()  # a user may have put it there


def test_hashes_are_those_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(Cancelled):
        sha256_of(path, lambda: True)


def test_availability_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path))
    monkeypatch.setattr(availability_module, "find_spec", lambda name: name)
    assert availability("filters") == (True, "")
    assert availability("sam2.1-tiny") == (True, "156 MB are downloaded at the first use")
    assert availability("/models/own.pt") == (True, "")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "sam2.1_hiera_tiny.pt").write_bytes(b"half")
    available, reason = availability("sam2.1-tiny")
    assert not available
    assert "4 bytes instead of 156008466" in reason


def test_availability_names_missing_packages(monkeypatch):
    monkeypatch.setattr(
        availability_module, "find_spec", lambda name: None if name in {"sam2", "tqdm"} else name
    )
    assert availability("sam2.1-large") == (False, "not installed: sam2, tqdm")
    assert availability("own.pth") == (False, "not installed: sam2, tqdm")
    assert availability("filters") == (True, "")
