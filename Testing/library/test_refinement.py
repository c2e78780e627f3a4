from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.resampling import resample_labels_nearest
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting import refinement
from VoxelFeatLib.segmenting.coarse import anti_alias, coarsen, smoothed, underlying_grid
from VoxelFeatLib.segmenting.refinement import refine_steps
from VoxelFeatLib.segmenting.samples import samples_at

SHAPE = (24, 32, 32)
FACTOR = 4


def refine(*arguments, **options):
    """The mask of the last step."""
    *_, last = refine_steps(*arguments, **options)
    return last.mask


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture
def a_grid():
    return Geometry(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0]))


@pytest.fixture
def a_ball(a_grid):
    """A ball with a bump, so that no Gaussian can guess its border."""
    k, j, i = np.indices(SHAPE)
    ball = (k - 12) ** 2 + (j - 16) ** 2 + (i - 14) ** 2 < 80
    return ball | ((abs(k - 12) < 3) & (abs(j - 16) < 3) & (i > 14) & (i < 28))


@pytest.fixture
def an_empty_volume(a_grid):
    return Volume(np.zeros(SHAPE, dtype=np.int16), a_grid, "CT")


@pytest.fixture
def a_telling_field(a_grid, a_ball, a_field_of):
    """One feature shows the target, another is noise."""
    noise = np.random.default_rng(0).normal(size=(*SHAPE, 2))
    return a_field_of(a_grid, noise * (0.2, 1) + a_ball[..., None] * (1, 0))


@pytest.fixture
def a_silent_field(a_grid, a_field_of):
    """Noise without relation to the target."""
    return a_field_of(a_grid, np.random.default_rng(0).normal(size=(*SHAPE, 2)))


@pytest.fixture
def a_coarse_ball(a_ball, a_grid):
    coarse, grid = coarsen(a_ball, a_grid, factor=FACTOR)
    return resample_labels_nearest(coarse, grid, a_grid)


def smooth(mask):
    """Anti-aliasing by half a coarse voxel."""
    return anti_alias(mask, Geometry(SHAPE, np.eye(4)), sigma_mm=FACTOR / 2)


# ---------------------------------------------------------------------------- coarse masks


def test_coarsening_looks_at_the_centre_of_each_coarse_voxel():
    mask = np.zeros((3, 3, 9), dtype=bool)
    mask[1, 1, 4:8] = True  # of the coarse voxels' middles 1, 4, 7
    coarse, grid = coarsen(mask, Geometry((3, 3, 9), np.diag([1.0, 2.0, 3.0, 1.0])), factor=3)
    np.testing.assert_array_equal(coarse, [[[False, True, True]]])
    np.testing.assert_allclose(grid.spacing, [3, 6, 9])
    np.testing.assert_allclose(grid.origin_ras, [1, 2, 3])


def test_coarsening_to_millimetres_refines_no_axis_and_keeps_the_centre():
    geometry = Geometry((5, 10, 10), np.diag([1.0, 1.0, 5.0, 1.0]))
    coarse, grid = coarsen(np.ones((5, 10, 10), dtype=bool), geometry, mm=3)
    assert coarse.shape == (5, 4, 4)
    np.testing.assert_allclose(grid.spacing, [3, 3, 5])
    np.testing.assert_allclose(grid.centre_ras, geometry.centre_ras)
    with pytest.raises(InputError, match="either"):
        coarsen(coarse, grid)
    with pytest.raises(InputError, match="positive, finite size"):
        coarsen(coarse, grid, factor=0)
    with pytest.raises(InputError, match="positive, finite size"):
        coarsen(coarse, grid, mm=np.inf)
    with pytest.raises(InputError, match="larger than the whole mask"):
        coarsen(coarse, grid, mm=1e6)


def test_a_gaussian_keeps_a_plane_border_where_it_is():
    mask = np.zeros((1, 1, 40), dtype=bool)
    mask[:, :, :20] = True
    geometry = Geometry(mask.shape, np.diag([2.0, 1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(anti_alias(mask, geometry, 3.0), mask)
    soft = smoothed(mask, geometry.spacing, np.full(3, 3.0))[0, 0]
    np.testing.assert_allclose(soft[19] + soft[20], 1, atol=1e-6)
    # erf: the border lies 1 mm beyond the centre of voxel 19, a third of sigma
    assert soft[19] == pytest.approx(0.6306, abs=0.01)


@pytest.mark.parametrize("factor", [2, 3, 4, (5, 4, 2), 2.5])
def test_blocks_of_an_up_sampled_mask_are_found(a_ball, a_grid, factor):
    coarse, grid = coarsen(a_ball, a_grid, factor=factor)
    up = resample_labels_nearest(coarse, grid, a_grid)
    labels, found = underlying_grid(up, a_grid)
    np.testing.assert_allclose(found.spacing, grid.spacing, rtol=0.03)
    np.testing.assert_array_equal(resample_labels_nearest(labels, found, a_grid), up)


def test_an_edited_mask_of_blocks_is_its_own_grid(a_coarse_ball, a_grid):
    edited = a_coarse_ball.copy()
    edited[9:15, 5:11, 22:27] = True
    _, found = underlying_grid(edited, a_grid)
    np.testing.assert_allclose(found.spacing, 1)


def test_a_mask_without_blocks_is_its_own_grid(a_ball, a_grid):
    labels, found = underlying_grid(a_ball, a_grid)
    np.testing.assert_allclose(found.ijk_to_ras, a_grid.ijk_to_ras)
    np.testing.assert_array_equal(labels, a_ball)


# ---------------------------------------------------------------------------- refinement


def test_prior_mode_finds_the_border_that_the_field_shows(
    an_empty_volume, a_telling_field, a_coarse_ball, a_ball
):
    refined = refine(an_empty_volume, a_telling_field, a_coarse_ball)
    assert refined.dtype == bool
    assert dice(smooth(a_coarse_ball), a_ball) < 0.93
    assert dice(refined, a_ball) > 0.97


def test_prior_mode_with_a_silent_field_is_anti_aliasing(
    an_empty_volume, a_silent_field, a_coarse_ball
):
    *_, last = refine_steps(an_empty_volume, a_silent_field, a_coarse_ball)
    assert last.trust == 0
    assert dice(last.mask, smooth(a_coarse_ball)) > 0.99


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_one_coarse_voxel_thick_stays(an_empty_volume, a_silent_field, inside):
    line = np.zeros(SHAPE, dtype=bool)
    line[8:12, 4:28, 16:20] = True
    block = np.zeros(SHAPE, dtype=bool)
    block[4:20, 4:28, 4:28] = True
    mask = line if inside else block & ~line
    lost = smooth(mask)[9:11, 8:24, 17:19]
    assert (lost != inside).all()
    refined = refine(an_empty_volume, a_silent_field, mask, coarse_mm=4.0)
    assert (refined[9:11, 8:24, 17:19] == inside).all()
    assert not (refined & ~(line if inside else block)).any()


def test_far_from_the_surface_the_prior_stands_alone(
    an_empty_volume, a_grid, a_field_of, a_coarse_ball, a_ball
):
    """A field that shows the target, and its twin far away."""
    twin = a_ball.copy()
    twin[:4] = True
    refined = refine(an_empty_volume, a_field_of(a_grid, twin[..., None] * 1.0), a_coarse_ball)
    assert not refined[:2].any()


def test_a_low_resolution_mask_of_another_geometry(an_empty_volume, a_telling_field, a_ball):
    grid = an_empty_volume.geometry
    coarse, low = coarsen(a_ball, grid, factor=FACTOR)
    # the same labels with k and i reversed: other numbers, same places
    shape = np.array(low.shape_kji)
    matrix = low.ijk_to_ras @ np.diag([-1.0, 1.0, -1.0, 1.0])
    matrix[:3, 3] = low.to_ras([shape[2] - 1, 0, shape[0] - 1])
    flipped = Geometry(low.shape_kji, matrix)
    refined = refine(an_empty_volume, a_telling_field, coarse[::-1, :, ::-1], flipped)
    assert refined.shape == SHAPE
    assert dice(refined, a_ball) > 0.97


def test_paper_mode_follows_the_probe_inside_the_box_only(
    an_empty_volume, a_grid, a_field_of, a_coarse_ball, a_ball
):
    shown = a_ball.copy()
    shown[:, :2, :2] = True  # beyond the box of the mask and five voxels
    noise = np.random.default_rng(0).normal(scale=0.05, size=(*SHAPE, 3))
    field = a_field_of(a_grid, noise + shown[..., None] * (1, -1, 0))
    refined = refine(an_empty_volume, field, a_coarse_ball, mode="paper")
    assert not refined[:, :2, :2].any()
    assert dice(refined, a_ball) > 0.99


def test_paper_mode_learns_from_the_whole_box_and_from_thin_masks(
    an_empty_volume, a_grid, a_field_of, monkeypatch
):
    monkeypatch.setattr(refinement, "_PAPER_VOXELS", 400)
    monkeypatch.setattr(refinement, "_PAPER_FEWEST", 4)
    thin = np.zeros(SHAPE, dtype=bool)
    thin[2:22, 16, 16] = True
    seen = []

    def recorded(field, volume, ras):
        seen.append(np.rint(a_grid.to_ijk(ras))[:, ::-1].astype(int))
        return samples_at(field, volume, ras)

    monkeypatch.setattr(refinement, "samples_at", recorded)
    noise = np.random.default_rng(0).normal(scale=0.05, size=(*SHAPE, 3))
    field = a_field_of(a_grid, noise + thin[..., None] * (1, -1, 0))
    refine(an_empty_volume, field, thin, mode="paper")
    (voxels,) = seen
    assert thin[tuple(voxels.T)].sum() >= 4
    assert 400 <= len(np.unique(voxels, axis=0)) == len(voxels) <= 408
    assert set(voxels[:, 0]) == set(range(24))
    assert (voxels[:, 1:].min(), voxels[:, 1:].max()) == (11, 21)


@pytest.mark.parametrize("mode", ["prior", "paper"])
def test_same_seed_same_mask(an_empty_volume, a_telling_field, a_coarse_ball, mode):
    masks = [
        refine(an_empty_volume, a_telling_field, a_coarse_ball, mode=mode, seed=5) for _ in range(2)
    ]
    np.testing.assert_array_equal(*masks)


def test_steps_grow_and_only_the_last_has_the_mask(an_empty_volume, a_telling_field, a_coarse_ball):
    steps = list(refine_steps(an_empty_volume, a_telling_field, a_coarse_ball))
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert [step.mask is None for step in steps] == [True] * (len(steps) - 1) + [False]


def test_a_speck_is_only_rounded(an_empty_volume, a_telling_field):
    speck = np.zeros(SHAPE, dtype=bool)
    speck[8:12, 8:12, 8:12] = True
    *_, last = refine_steps(an_empty_volume, a_telling_field, speck, coarse_mm=4.0)
    assert last.trust == 0
    assert last.mask[9:11, 9:11, 9:11].all()
    assert not (last.mask & ~speck).any()
    assert not smooth(speck).any()


def test_bad_input(an_empty_volume, a_telling_field, a_coarse_ball):
    with pytest.raises(InputError, match="empty"):
        refine_steps(an_empty_volume, a_telling_field, np.zeros(SHAPE, dtype=bool))
    with pytest.raises(InputError, match="has shape"):
        refine_steps(an_empty_volume, a_telling_field, np.ones((2, 2, 2), dtype=bool))
    elsewhere = an_empty_volume.geometry.subgrid((100, 0, 0), (1, 1, 1), SHAPE)
    for mode in ("prior", "paper"):
        with pytest.raises(InputError, match="outside the volume"):
            refine(an_empty_volume, a_telling_field, a_coarse_ball, elsewhere, mode=mode)
