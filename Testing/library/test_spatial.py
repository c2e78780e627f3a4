import numpy as np
import pytest

from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.spatial import CosineBasis, SpatialTerm


@pytest.fixture
def a_basis():
    turned = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, -3.0, 40], [0, 0, 0, 1]])
    return CosineBasis(Geometry((20, 30, 36), turned))


def test_functions_on_a_box_are_those_at_its_points(a_basis):
    coefficients = np.random.default_rng(0).standard_normal(len(a_basis.scale))
    term = SpatialTerm(a_basis, coefficients)
    lattice = Lattice((-1.0, 3.0, 2.5), (4.0, 2.0, 1.5), (5, 6, 7))
    k, j, i = np.indices(lattice.shape_kji)
    ijk = np.stack([i, j, k], axis=-1) * lattice.step_ijk + lattice.start_ijk
    ras = a_basis.geometry.to_ras(ijk.reshape(-1, 3))
    np.testing.assert_allclose(term.on(lattice).ravel(), term.at(ras), rtol=1e-4, atol=1e-5)


def test_the_basis_is_a_squared_exponential_kernel_in_millimetres(a_basis):
    geometry = a_basis.geometry
    length = 2 * geometry.radius / 8
    middle = a_basis.at(geometry.centre_ras[None])[0]
    for direction in np.eye(3):
        offsets = np.linspace(0, 12, 7)
        values = a_basis.at(geometry.centre_ras + offsets[:, None] * direction) @ middle
        expected = np.exp(-((offsets / length) ** 2) / 2)
        # Neither the constant nor what varies fastest is in the basis.
        np.testing.assert_allclose(values / values[0], expected, atol=0.2)


def test_its_variance_is_one_on_average(a_basis):
    k, j, i = np.indices(a_basis.geometry.shape_kji).reshape(3, -1)
    values = a_basis.at(a_basis.geometry.to_ras(np.stack([i, j, k], axis=-1)))
    assert np.square(values).sum(axis=1).mean() == pytest.approx(1, rel=1e-6)
    # The constant is left out: the probe has an intercept.
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-12)


def test_a_single_slice_and_a_single_voxel_have_a_basis():
    flat = CosineBasis(Geometry((1, 40, 40), np.eye(4)))
    assert not flat.orders_kji[:, 0].any()
    assert len(flat.scale) > 10
    point = CosineBasis(Geometry((1, 1, 1), np.eye(4)))
    assert np.isfinite(point.at([[0, 0, 0]])).all()
