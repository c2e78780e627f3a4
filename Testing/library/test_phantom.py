from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from VoxelFeatLib.imaging.phantom import Phantom, make_phantom
from VoxelFeatLib.imaging.phantom_shapes import Path, coverage

# The body's centre, 384 x 384 x 294 mm.
SHAPE, SPACING = (42, 64, 64), (6.0, 6.0, 7.0)


@pytest.fixture(scope="module")
def a_phantom() -> Phantom:
    return make_phantom(SHAPE, SPACING, seed=0)


def test_has_the_asked_shape_type_and_geometry(a_phantom):
    volume = a_phantom.volume
    assert volume.voxels.shape == a_phantom.labels.shape == SHAPE
    assert volume.voxels.dtype == np.int16
    assert a_phantom.labels.dtype == np.uint8
    assert volume.modality == "CT"
    np.testing.assert_allclose(volume.geometry.directions, np.diag([-1.0, -1.0, 1.0]))
    np.testing.assert_allclose(volume.geometry.spacing, SPACING)
    np.testing.assert_allclose(volume.geometry.centre_ras, 0, atol=1e-9)


def test_every_named_structure_is_there_and_has_a_color(a_phantom):
    present = set(np.unique(a_phantom.labels).tolist()) - {0}
    assert present == set(a_phantom.names) == set(a_phantom.colors)
    assert len(set(a_phantom.names.values())) == len(a_phantom.names) >= 12
    assert a_phantom.colors[1] == (221, 130, 101)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("liver", 90, 115),
        ("spleen", 90, 115),
        ("right kidney", 130, 180),
        ("gallbladder", 0, 45),
        ("aorta", 110, 160),
        ("vertebrae", 150, 450),
        ("left autochthon", 35, 65),
        ("left lung", -870, -750),
        ("subcutaneous fat", -115, -90),
    ],
)
def test_structures_have_their_hounsfield_units(a_phantom, name, low, high):
    assert low < np.median(a_phantom.volume.voxels[a_phantom.mask(name)]) < high


def test_liver_is_right_spleen_left_spine_behind_and_lungs_above(a_phantom):
    centre = {
        name: a_phantom.volume.geometry.to_ras(
            np.argwhere(a_phantom.mask(name))[:, ::-1].mean(axis=0)
        )
        for name in ("liver", "spleen", "vertebrae", "stomach", "right lung", "right kidney")
    }
    assert centre["liver"][0] > 40
    assert centre["spleen"][0] < -70
    assert centre["vertebrae"][1] < -30 < 0 < centre["stomach"][1]
    assert centre["right kidney"][2] < centre["liver"][2] < centre["right lung"][2]


def test_organs_of_like_density_touch(a_phantom):
    near_stomach = binary_dilation(a_phantom.mask("stomach"))
    for name in ("liver", "spleen", "pancreas"):
        assert (near_stomach & a_phantom.mask(name)).any()


def test_the_same_seed_gives_the_same_phantom_and_another_another(a_phantom):
    again = make_phantom(SHAPE, SPACING, seed=0)
    np.testing.assert_array_equal(again.volume.voxels, a_phantom.volume.voxels)
    np.testing.assert_array_equal(again.labels, a_phantom.labels)
    other = make_phantom(SHAPE, SPACING, seed=1)
    assert (other.labels != a_phantom.labels).mean() > 0.01


def test_another_sampling_shows_the_same_anatomy(a_phantom):
    # Every second voxel centre of the fine lattice is one of the coarse lattice.
    fine = make_phantom((41, 127, 127), (3.0, 3.0, 7.0), seed=0)
    coarse = make_phantom((41, 64, 64), SPACING, seed=0)
    liver = fine.mask("liver")[:, ::2, ::2]
    assert (liver ^ coarse.mask("liver")).sum() < 0.03 * liver.sum()


def test_a_thin_volume_is_the_middle_of_a_thick_one():
    whole = make_phantom((9, 40, 40), (9.0, 9.0, 5.0))
    middle = make_phantom((1, 40, 40), (9.0, 9.0, 5.0))
    np.testing.assert_array_equal(middle.labels[0], whole.labels[4])


def test_noise_is_correlated_and_has_the_level_of_ct():
    phantom = make_phantom((3, 256, 256), (1.0, 1.0, 3.0))
    # In the air in front of the body there is nothing but noise.
    air = phantom.volume.voxels[:, :10, :].astype(float)
    assert 9 < air.std() < 13
    air -= air.mean()
    assert 0.1 < (air[..., 1:] * air[..., :-1]).mean() / air.var() < 0.9


def test_unknown_structure_is_a_key_error(a_phantom):
    with pytest.raises(KeyError, match="femur"):
        a_phantom.mask("femur")


def test_coverage_is_the_part_of_the_voxel_behind_a_plane():
    x = np.arange(-4, 5, dtype=np.float32)[None, None] * 2  # 2 mm voxels
    distance = np.broadcast_to(x - 0.5, (3, 3, 9)).copy()
    part = coverage(distance, (2.0, 2.0, 3.0))
    # The edge is the voxel's 2 mm and 0.7 mm blur wide.
    np.testing.assert_allclose(
        part[1, 1, 3:6], [np.clip(2.5 / 2.7 + 0.5, 0, 1), 0.5 + 0.5 / 2.7, 0]
    )


def test_a_path_passes_its_ends_with_their_radii():
    path = Path.through((0, 0, 0, 5), (10, 0, 0, 4), (20, 10, 0, 3))
    np.testing.assert_allclose(path.points[[0, -1]], [[0, 0, 0], [20, 10, 0]], atol=1e-12)
    np.testing.assert_allclose(path.radii[[0, -1]], [5, 3])
    assert path.bounds[0][0] <= -5
