from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.extent import Extent, box_of_ras
from VoxelFeatLib.segmenting.sampling import inside_and_around
from VoxelFeatLib.segmenting.scribbles import along


def test_a_scribble_has_a_point_in_every_voxel_it_crosses(a_geometry):
    # i steps of 0.5 mm, k steps of 2 mm: four steps along i while k moves one
    points = along([(10, 20, 30), (12, 20, 32)], a_geometry)
    expected = [(10, 20, 30), (10.5, 20, 30.5), (11, 20, 31), (11.5, 20, 31.5), (12, 20, 32)]
    np.testing.assert_allclose(points, expected)
    np.testing.assert_allclose(along([(10, 20, 30)], a_geometry), [(10, 20, 30)])
    np.testing.assert_allclose(along([(10, 20, 30)] * 3, a_geometry), [(10, 20, 30)])
    with pytest.raises(InputError, match="at least one point"):
        along([], a_geometry)


def test_a_mask_teaches_well_inside_and_nearby():
    geometry = Geometry((20, 20, 20), np.diag([1.0, 1.0, 2.0, 1.0]))
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[8:13, 6:13, 6:13] = True
    inside, around = inside_and_around(mask, geometry)
    # 2 mm are two voxels along i and j, one along k
    deep = np.zeros_like(mask)
    deep[9:12, 8:11, 8:11] = True
    assert len(inside) == deep.sum()
    assert len(around) == 256
    i, j, k = np.rint(geometry.to_ijk(inside)).astype(int).T
    assert deep[k, j, i].all()
    i, j, k = np.rint(geometry.to_ijk(around)).astype(int).T
    near = np.zeros_like(mask)
    near[7:14, 4:15, 4:15] = True
    assert not near[k, j, i].any()
    np.testing.assert_array_equal(around, inside_and_around(mask, geometry)[1])


def test_a_thin_mask_teaches_with_all_its_voxels():
    geometry = Geometry((3, 9, 9), np.eye(4))
    mask = np.zeros((3, 9, 9), dtype=bool)
    mask[1, 4, 2:5] = True
    inside, _ = inside_and_around(mask, geometry)
    np.testing.assert_allclose(np.sort(inside[:, 0]), [2, 3, 4])


def test_a_box_in_millimetres(a_geometry):
    box = box_of_ras([(11.1, 24.2, 40), (10.5, 21.5, 30)], a_geometry)
    assert box == Extent((0, 2, 1), (4, 5, 3))
    whole = Extent.whole(a_geometry.shape_kji)
    assert box_of_ras([(-1e300,) * 3, (1e300,) * 3], a_geometry) == whole
    with pytest.raises(InputError, match="no voxel"):
        box_of_ras([(0, 0, 0), (1, 1, 1)], a_geometry)
    with pytest.raises(InputError, match="two opposite corners"):
        box_of_ras([(0, 0, 0)], a_geometry)
