from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume, guess_modality


def test_ct_intensity_spans_air_to_bone(a_geometry):
    voxels = np.zeros((4, 5, 6), dtype=np.int16)
    voxels[0, 0, :5] = (-3000, -1000, 0, 1000, 3000)
    intensity = Volume(voxels, a_geometry, "CT").intensity_window(voxels)
    assert intensity.dtype == np.float32
    np.testing.assert_array_equal(intensity[0, 0], [0, 0, 0.5, 1, 1, 0.5])


def test_other_intensity_spans_the_percentiles(a_geometry):
    voxels = np.arange(120, dtype=np.uint16).reshape(4, 5, 6)
    low, high = np.percentile(voxels, (0.5, 99.5))
    intensity = Volume(voxels, a_geometry, "MR").intensity_window(voxels)
    np.testing.assert_allclose(intensity, np.clip((voxels - low) / (high - low), 0, 1), atol=1e-6)


def test_intensity_at_voxel_centres_is_the_voxel(a_volume):
    kji = np.stack(np.meshgrid(*map(np.arange, a_volume.voxels.shape), indexing="ij"), axis=-1)
    ras = a_volume.geometry.to_ras(kji.reshape(-1, 3)[:, ::-1])
    expected = a_volume.intensity_window(a_volume.voxels).ravel()
    np.testing.assert_array_equal(a_volume.intensity_at(ras), expected)


def test_intensity_between_voxels_agrees_with_scipy(a_volume):
    rng = np.random.default_rng(0)
    ijk = rng.uniform(-2, 8, (200, 3))  # in, beyond the edge voxels and outside
    intensity = a_volume.intensity_window(a_volume.voxels)
    expected = map_coordinates(intensity, ijk[:, ::-1].T, order=1, mode="nearest")
    found = a_volume.intensity_at(a_volume.geometry.to_ras(ijk))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_one_slice_can_be_sampled():
    volume = Volume(np.full((1, 2, 2), 500, dtype=np.int16), Geometry((1, 2, 2), np.eye(4)), "CT")
    np.testing.assert_array_equal(volume.intensity_at([[0.5, 0.5, 3.0]]), [0.75])


def test_sha256_covers_type_shape_and_voxels():
    voxels = np.arange(8, dtype=np.int16)
    cube = Volume(voxels.reshape(2, 2, 2), Geometry((2, 2, 2), np.eye(4)))
    expected = hashlib.sha256(b"<i2 (2, 2, 2) " + voxels.astype("<i2").tobytes()).hexdigest()
    assert cube.sha256() == expected
    flat = Volume(voxels.reshape(1, 2, 4), Geometry((1, 2, 4), np.eye(4)))
    unsigned = Volume(voxels.reshape(2, 2, 2).astype(np.uint16), cube.geometry)
    fortran = Volume(np.asfortranarray(cube.voxels), cube.geometry)
    assert len({cube.sha256(), flat.sha256(), unsigned.sha256()}) == 3
    assert fortran.sha256() == expected


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (np.zeros((4, 5, 6), dtype=np.float64), "must be one of uint8, int16, uint16, float32"),
        (np.zeros((6, 5, 4), dtype=np.int16), "shape"),
    ],
)
def test_voxels_of_another_type_or_shape_are_refused(voxels, words, a_geometry):
    with pytest.raises(InputError, match=words):
        Volume(voxels, a_geometry)


@pytest.mark.parametrize(
    ("values", "hint", "modality"),
    [
        ([-1024, 40, 1200], None, "CT"),
        ([-1000.0, 0.0, 300.0], "", "CT"),
        ([0, 40, 1200], None, "other"),  # CT without its offset, or MR: nothing tells
        ([-3.0, 0.0, 3.0], None, "other"),
        ([-4096, 0, 4094], None, "other"),  # MR phase
        ([0, 40, 1200], "ct ", "CT"),
        ([-1024, 40, 1200], "MR", "MR"),
        ([-1024, 40, 1200], "PT", "other"),
    ],
)
def test_modality_by_header_or_by_range(values, hint, modality):
    assert guess_modality(np.array(values).reshape(1, 1, 3), hint) == modality
