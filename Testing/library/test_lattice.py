"""Lattices: where their points are, and how they are cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.field.lattice import Lattice

CPU = torch.device("cpu")


def test_a_lattice_of_voxels_has_their_centres(an_oblique_geometry):
    lattice = Lattice.of_voxels((1, 2, 3), (3, 5, 6))
    assert lattice.shape_kji == (2, 3, 3)
    assert lattice.size == 18
    ras = lattice.ras(an_oblique_geometry, CPU)
    assert ras.dtype == torch.float32
    for k, j, i in np.ndindex(*lattice.shape_kji):
        expected = an_oblique_geometry.to_ras((3 + i, 2 + j, 1 + k))
        np.testing.assert_allclose(ras[k, j, i], expected, atol=1e-4)


def test_steps_may_be_fractions_of_a_voxel_or_negative(a_geometry):
    lattice = Lattice((5.0, 0.25, -0.5), (-1.0, 0.5, 0.125), (2, 3, 4))
    np.testing.assert_array_equal(lattice.axis(0, CPU), (5, 4, 3, 2))
    np.testing.assert_array_equal(lattice.axis(1, CPU), (0.25, 0.75, 1.25))
    np.testing.assert_array_equal(lattice.axis(2, CPU), (-0.5, -0.375))
    # 0.5 x 1 x 2 mm voxels, the first at (10, 20, 30).
    np.testing.assert_allclose(lattice.ras(a_geometry, CPU)[1, 2, 3], (11, 21.25, 29.25))


@pytest.mark.parametrize(("most", "planes"), [(1, 1), (6, 1), (11, 1), (12, 2), (18, 3), (999, 5)])
def test_slabs_cover_every_plane_once_and_keep_their_size(most, planes):
    lattice = Lattice((1.0, 2.0, 3.5), (1.0, 1.0, 0.5), (5, 2, 3))
    parts = list(lattice.slabs(most))
    covered = [n for planes_of, _ in parts for n in range(planes_of.start, planes_of.stop)]
    assert covered == list(range(5))
    for planes_of, slab in parts:
        assert slab.shape_kji == (planes_of.stop - planes_of.start, 2, 3)
        assert slab.shape_kji[0] <= planes
        assert slab.start_ijk == (1.0, 2.0, 3.5 + 0.5 * planes_of.start)
        assert slab.step_ijk == lattice.step_ijk
    assert len(parts) == -(-5 // planes)


def test_an_empty_lattice_has_no_points_and_no_slabs():
    lattice = Lattice.of_voxels((2, 0, 0), (2, 4, 4))
    assert lattice.size == 0
    assert list(lattice.slabs(10)) == []
