"""A small volume with its field, a server in this process, and one in its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Testing.worker.client_fixtures import Desk
from Testing.worker.server_fixtures import CENTRES, SHAPE, InProcess, Process, ball
from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field, save_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import Preset, preset_named
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume


@pytest.fixture(scope="session")
def a_scan() -> Volume:
    """A CT of two bright balls in a darker body; R and A flipped, 1.5 x 1.5 x 2 mm."""
    rng = np.random.default_rng(0)
    voxels = rng.normal(0, 10, SHAPE)
    for centre in CENTRES:
        voxels[ball(centre)] += 300
    matrix = np.diag([-1.5, -1.5, 2.0, 1.0])
    matrix[:3, 3] = (20, 30, -40)
    return Volume(voxels.astype(np.int16), Geometry(SHAPE, matrix), "CT", "two balls")


@pytest.fixture(scope="session")
def a_tiny_preset() -> Preset:
    return replace(
        preset_named("fast"),
        name="tiny",
        views=6,
        pool=6,
        first_views=3,
        steps=12,
        windows=2,
        planes=2,
        augmentations=1,
        heldout_views=2,
    )


@pytest.fixture(scope="session")
def a_field_file(tmp_path_factory, a_scan: Volume, a_tiny_preset: Preset) -> Path:
    fitter = Fitter(a_scan, create_backbone("filters", a_scan), a_tiny_preset)
    for _ in fitter:
        pass
    path = tmp_path_factory.mktemp("fields") / "balls.voxelfeat"
    save_field(path, fitter.field, a_scan, fitter.record)
    return path


@pytest.fixture(autouse=True)
def a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of fields, a folder of the test's own."""
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fields"


@pytest.fixture
def a_server() -> InProcess:
    return InProcess()


@pytest.fixture
def a_process() -> Iterator[Process]:
    process = Process()
    try:
        yield process
    finally:
        process.child.kill()
        process.end()
        process.child.stdout.close()
        process.child.stderr.close()


@pytest.fixture
def an_open_server(a_server: InProcess, a_scan: Volume, a_field_file: Path) -> InProcess:
    """With volume and field."""
    a_server.open(a_scan, a_field_file)
    return a_server


@pytest.fixture
def a_field(a_scan: Volume, a_field_file: Path) -> FeatureField:
    return load_field(a_field_file, a_scan)[0]


@pytest.fixture
def a_desk() -> Desk:
    """A client whose workers are scripted."""
    return Desk()
