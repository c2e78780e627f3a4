"""Fixtures for the library's tests: tiny volumes, and the folder of real data where it exists."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from library.downloads import CONTENT
from library.three_materials import LEFT, OTHER, RIGHT, SHAPE
from library.weights_server import WeightsServer, listening

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.backbones.weights import transfer
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.network import FieldNetwork
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.session import Session


@pytest.fixture
def an_oblique_geometry() -> Geometry:
    """4 x 5 x 6 voxels (k, j, i), anisotropic, rotated about two axes, k flipped."""
    a, b = 0.3, -0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    direction = about_z @ about_x @ np.diag([1, 1, -1])
    return Geometry.from_lps((4, 5, 6), (0.7, 0.8, 2.5), (-31.5, 12.25, 100.125), direction.ravel())


@pytest.fixture
def a_geometry() -> Geometry:
    """4 x 5 x 6 voxels (k, j, i) of 0.5 x 1 x 2 mm along R, A, S; voxel (0, 0, 0) at 10, 20, 30."""
    matrix = np.diag([0.5, 1.0, 2.0, 1.0])
    matrix[:3, 3] = (10, 20, 30)
    return Geometry((4, 5, 6), matrix)


@pytest.fixture
def a_volume(an_oblique_geometry: Geometry) -> Volume:
    """A CT of -1000 to 1000 HU, every voxel another value."""
    shape = an_oblique_geometry.shape_kji
    values = np.linspace(-1000, 1000, int(np.prod(shape))).reshape(shape).astype(np.int16)
    return Volume(values, an_oblique_geometry, "CT", "a volume")


@pytest.fixture(scope="session")
def a_data_folder() -> Path:
    """The folder of real images; the test is skipped where it is absent."""
    folder = Path(
        os.environ.get("VOXELFEAT_DATA", Path(__file__).parents[2].parent / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; VOXELFEAT_DATA names their folder")
    return folder


@pytest.fixture
def a_weights_server(monkeypatch):
    """A server of `downloads.CONTENT`, asked without proxies and without long pauses."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "_PAUSES", (0.01, 0.01, 0.01))
    server = WeightsServer(CONTENT)
    with listening(server.answer) as url:
        server.url = url
        yield server


@pytest.fixture
def a_field_of():
    """Make a field that has given features (K, J, I, C) in each voxel, constant within it."""

    def make(geometry: Geometry, features: np.ndarray) -> FeatureField:
        return FeatureField(VoxelwiseNetwork(geometry, features), "voxelwise", "-")

    return make


class VoxelwiseNetwork(FieldNetwork):
    """Looks its features up in an array."""

    name = "voxelwise"

    def __init__(self, geometry: Geometry, features: np.ndarray) -> None:
        super().__init__(geometry, (FeatureLevel("only", 1, features.shape[-1]),))
        self.table = torch.as_tensor(features, dtype=torch.float32)

    def level(self, ras, index):
        assert index == 0
        ijk = np.rint(self.geometry.to_ijk(ras.numpy())).astype(int)
        ijk = np.clip(ijk, 0, np.array(self.geometry.shape_kji[::-1]) - 1)
        return self.table[ijk[:, 2], ijk[:, 1], ijk[:, 0]]

    def project(self, ras, weight):
        return self.level(ras, 0) @ weight.T

    def project_on(self, lattice, weight):
        ras = lattice.ras(self.geometry, weight.device).reshape(-1, 3)
        return self.project(ras, weight).T.reshape(-1, *lattice.shape_kji)

    def stored(self):
        return {}

    def settings(self):
        return {}


@pytest.fixture
def a_session(a_field_of) -> Session:
    """LEFT and RIGHT are of one material, OTHER of another; voxels of 1 mm, RAS = (i, j, k)."""
    geometry = Geometry(SHAPE, np.eye(4))
    features = np.random.default_rng(0).normal(scale=0.01, size=(*SHAPE, 2))
    features[LEFT] += (1, 0)
    features[RIGHT] += (1, 0)
    features[OTHER] += (0, 1)
    voxels = np.zeros(SHAPE, dtype=np.int16)
    voxels[LEFT] = voxels[RIGHT] = voxels[OTHER] = 100
    volume = Volume(voxels, geometry, "CT")
    session = Session(volume, a_field_of(geometry, features))
    session.add_segment("organ")
    return session
