"""Fits kept in a folder are found again, and only those that truly match."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.field.files import save_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.kept import CHECKPOINT, FitKey, fields_of
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume

SHORT = replace(
    preset_named("draft"),
    views=2,
    pool=2,
    first_views=2,
    steps=2,
    planes=1,
    augmentations=1,
    heldout_views=1,
)


@pytest.fixture(scope="module")
def a_volume() -> Volume:
    grey = np.random.default_rng(0).normal(0, 100, (8, 16, 16)).astype(np.int16)
    return Volume(grey, Geometry(grey.shape, np.eye(4)), "CT", "a / b")


@pytest.fixture(scope="module")
def a_fit(a_volume) -> Fitter:
    fitter = Fitter(a_volume, backbone_of(a_volume), SHORT)
    list(fitter)
    return fitter


@pytest.fixture
def a_key(a_fit) -> FitKey:
    return a_fit.key


def backbone_of(volume: Volume, size: int = 128) -> FilterBackbone:
    return FilterBackbone(FilterBackbone.for_volume(volume).encoding.windows, size)


def keep(fit: Fitter, path: Path) -> Path:
    save_field(path, fit.field, fit.volume, fit.record)
    return path


def others(key: FitKey) -> dict[str, FitKey]:
    """Fits that differ in one thing each."""
    voxels = key.volume.voxels.copy()
    voxels[0, 0, 0] += 1
    newer = backbone_of(key.volume)
    newer.fingerprint = newer.fingerprint.replace("filters-v", "filters-v9")
    windows = FilterBackbone.for_volume(key.volume).encoding.windows[:2]
    return {
        "volume": replace(key, volume=Volume(voxels, key.volume.geometry, "CT")),
        "version": replace(key, backbone=newer),
        "input size": replace(key, backbone=backbone_of(key.volume, 64)),
        "encoding": replace(key, backbone=FilterBackbone(windows, 128)),
        "preset": replace(key, preset=replace(SHORT, name="draught")),
        "number": replace(key, preset=replace(SHORT, steps=3)),
        "seed": replace(key, seed=1),
    }


def test_every_fit_has_files_of_its_own(a_key, tmp_path):
    keys = [a_key, *others(a_key).values()]
    assert len({key.path(tmp_path) for key in keys}) == len(keys)
    assert len({key.path(tmp_path, CHECKPOINT) for key in keys}) == len(keys)
    same = replace(a_key, backbone=backbone_of(a_key.volume))
    assert same.path(tmp_path) == a_key.path(tmp_path)


def test_names_begin_with_the_volumes_checksum_and_say_what_it_is(a_key, tmp_path):
    beginning = a_key.volume.sha256()[:16]
    assert a_key.path(tmp_path).name.startswith(f"{beginning}-filters-draft-")
    titled = a_key.path(tmp_path, title="a / b").name
    assert titled == a_key.path(tmp_path).name.replace("-filters", "-a_b-filters")
    backbone = backbone_of(a_key.volume)
    backbone.name = "my / " + 300 * "x"
    assert len(replace(a_key, backbone=backbone).path(tmp_path).name) < 150


def test_a_field_is_found_by_its_own_fit_only(a_fit, a_key, tmp_path):
    path = keep(a_fit, a_key.path(tmp_path, title="some title"))
    assert a_key.fields(tmp_path) == [path]
    for what, key in others(a_key).items():
        assert key.fields(tmp_path) == [], what


@pytest.mark.parametrize("name", ["{}-filters-0123abcd-draft", "a_b-filters-draft-0-{:.12}"])
def test_names_of_earlier_versions_are_found_where_they_match(a_fit, a_key, tmp_path, name):
    path = keep(a_fit, tmp_path / (name.format(a_key.volume.sha256()[:16]) + ".voxelfeat"))
    assert a_key.fields(tmp_path) == [path]
    assert others(a_key)["seed"].fields(tmp_path) == []
    assert others(a_key)["input size"].fields(tmp_path) == []


def test_what_is_no_field_of_the_volume_is_passed_over(a_fit, a_key, tmp_path, caplog):
    path = keep(a_fit, a_key.path(tmp_path))
    volume, digest = a_key.volume, a_key.volume.sha256()[:16]
    (tmp_path / f"{digest}-damaged.voxelfeat").write_bytes(b"damaged")
    a_fit.checkpoint(tmp_path / f"{digest}-unfinished.voxelfeat")
    moved = Volume(volume.voxels, Geometry(volume.voxels.shape, np.diag([2.0, 1, 1, 1])), "CT")
    assert [found for found, _ in fields_of(tmp_path, volume)] == [path]
    assert list(fields_of(tmp_path, moved)) == []
    assert "damaged" in caplog.text
    assert list(fields_of(tmp_path / "missing", volume)) == []
