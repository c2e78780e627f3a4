"""View encodings: which planes a backbone sees, on which channels and pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.encodings import ENCODINGS, FractalEncoding, create_encoding
from VoxelFeatLib.backbones.slicing import SliceRenderer
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.views import axis_view
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import CT_WINDOWS, Window

CPU = torch.device("cpu")
# Slice k has the value k everywhere; slices are 3 mm apart.
SLICES = 20


@pytest.fixture
def a_staircase():
    voxels = np.broadcast_to(np.arange(SLICES, dtype=np.float32)[:, None, None], (SLICES, 16, 16))
    return Volume(voxels.copy(), Geometry(voxels.shape, np.diag([1.0, 1.0, 3.0, 1.0])), "other")


def rendered(volume, order, k, size=16):
    """The slices seen on the three channels of an axial slice, as whole numbers."""
    encoding = FractalEncoding(Window.between(0, SLICES), order, 3.0)
    image = SliceRenderer(volume, encoding, size, CPU).image(axis_view(volume.geometry, 2, k))
    values = image.numpy() * SLICES
    np.testing.assert_allclose(values, np.rint(values), atol=1e-4)
    return np.rint(values).astype(int)


def test_fve1_shows_the_slice_and_its_two_neighbours(a_staircase):
    red, green, blue = rendered(a_staircase, 1, 10.0)
    assert (np.unique(red), np.unique(green), np.unique(blue)) == (10, 9, 11)


def test_fve2_packs_four_slices_a_side(a_staircase):
    red, green, blue = rendered(a_staircase, 2, 10.0)
    assert np.unique(red) == 10
    np.testing.assert_array_equal(10 - green, np.tile([[1, 2], [3, 4]], (8, 8)))
    np.testing.assert_array_equal(blue - 10, np.tile([[1, 2], [3, 4]], (8, 8)))


def test_fve3_packs_seven_slices_a_side(a_staircase):
    _, green, blue = rendered(a_staircase, 3, 10.0)
    block = [[1, 2, 1, 2], [3, 4, 3, 5], [1, 2, 1, 2], [3, 6, 3, 7]]
    np.testing.assert_array_equal(10 - green, np.tile(block, (4, 4)))
    np.testing.assert_array_equal(blue - 10, np.tile(block, (4, 4)))


def test_missing_slices_repeat_the_last(a_staircase):
    _, green, blue = rendered(a_staircase, 2, 18.0)
    np.testing.assert_array_equal(blue, np.full((16, 16), 19))
    np.testing.assert_array_equal(18 - green, np.tile([[1, 2], [3, 4]], (8, 8)))


def test_the_step_is_the_distance_of_slices(a_staircase):
    assert create_encoding("fve2", a_staircase).step == 3.0


def test_gray_repeats_one_window(a_staircase):
    encoding = create_encoding("gray", a_staircase)
    image = SliceRenderer(a_staircase, encoding, 16, CPU).image(
        axis_view(a_staircase.geometry, 2, 10.0)
    )
    assert image.shape == (3, 16, 16)
    torch.testing.assert_close(image[0], image[1])
    torch.testing.assert_close(image[0], image[2])


def test_windows3_shows_soft_tissue_lung_and_bone():
    voxels = np.full((1, 16, 16), 100, np.int16)
    volume = Volume(voxels, Geometry((1, 16, 16), np.eye(4)), "CT")
    encoding = create_encoding("windows3", volume)
    image = SliceRenderer(volume, encoding, 16, CPU).image(axis_view(volume.geometry, 2, 0.0))
    expected = [float(CT_WINDOWS[name](100)) for name in ("soft", "lung", "bone")]
    np.testing.assert_allclose(image.mean((1, 2)), expected, atol=1e-6)


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_three_channels_in_the_unit_range(a_staircase, name):
    encoding = create_encoding(name, a_staircase)
    image = SliceRenderer(a_staircase, encoding, 32, CPU).image(
        axis_view(a_staircase.geometry, 2, 3.0)
    )
    assert (encoding.name, encoding.channels, image.shape) == (name, 3, (3, 32, 32))
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0 or name in {"gray", "windows3"}


def test_fingerprints_differ(a_staircase):
    prints = [create_encoding(name, a_staircase).fingerprint for name in ENCODINGS]
    assert len(set(prints)) == len(ENCODINGS)


def test_an_unknown_name_lists_the_known_ones(a_staircase):
    with pytest.raises(InputError, match="gray, windows3, fve1"):
        create_encoding("sepia", a_staircase)
