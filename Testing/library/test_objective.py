"""The objective's terms, derived by hand on tiny tensors, and the cells it is taken on."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.fitting import objective
from VoxelFeatLib.fitting.heldout import heldout_samples
from VoxelFeatLib.fitting.objective import (
    CellWindows,
    agreement,
    blur,
    draw_windows,
    gather_cells,
    gather_patches,
    magnitude,
    variation,
)
from VoxelFeatLib.fitting.presets import PRESETS, preset_named
from VoxelFeatLib.fitting.views import EncodedView, ViewPool
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.views import ViewSampler

GRIDS = (8, 4)


def encoded(view, geometry, mark):
    """A view whose targets tell view, row and column."""
    targets = []
    for cells in GRIDS:
        row, column = np.indices((cells, cells))
        features = np.stack([np.full((cells, cells), mark), row, column], axis=-1)
        targets.append(torch.tensor(features, dtype=torch.float16))
    steps = np.stack([view.frame.pitch * view.frame.e_v, view.frame.pitch * view.frame.e_u])
    return EncodedView(
        torch.tensor(view.affine(), dtype=torch.float32),
        torch.tensor(steps, dtype=torch.float32),
        targets,
        [torch.tensor(view.valid_cells(cells, 2, geometry)) for cells in GRIDS],
    )


@pytest.fixture
def some_views():
    geometry = Geometry((6, 20, 24), np.diag([1.0, 1.2, 3.0, 1.0]))
    sampler = ViewSampler(geometry, (2,))
    return geometry, [sampler.draw(np.random.default_rng(seed)) for seed in range(3)]


@pytest.fixture
def a_pool(some_views):
    geometry, views = some_views
    pool = ViewPool(5)
    for number, view in enumerate(views):
        pool.add(number, encoded(view, geometry, number))
    return pool


def test_agreement_weighs_squared_errors_by_channel():
    prediction = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    target = torch.tensor([[0.0, 4.0], [3.0, 0.0]])
    # (1 * 1 + 10 * 4 + 1 * 9 + 0) / 2 cells
    assert agreement(prediction, target, torch.tensor([1.0, 10.0])).item() == pytest.approx(25)


def test_magnitude_compares_norms_only():
    prediction = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    target = torch.tensor([[4.0, 3.0], [0.0, 3.0]])
    # (5 - 5)^2 and (1 - 3)^2, over two cells.
    assert magnitude(prediction, target.norm(dim=1)).item() == pytest.approx(2)


def test_magnitude_has_a_gradient_at_zero():
    prediction = torch.zeros(1, 2, requires_grad=True)
    magnitude(prediction, torch.ones(1)).backward()
    assert torch.isfinite(prediction.grad).all()


def ramp(down, right, side=8):
    """A patch (1, P, P, C) rising by `down` a row and `right` a column."""
    n = torch.arange(side, dtype=torch.float64)[:, None]
    rows = n * torch.tensor(down, dtype=torch.float64)
    columns = n * torch.tensor(right, dtype=torch.float64)
    return (rows[:, None] + columns[None, :])[None]


def test_variation_of_a_ramp_is_its_slopes():
    # |1| + |-2| along rows, |0.5| + |4| along columns.
    assert variation(ramp([1, -2], [0.5, 4])).item() == pytest.approx(7.5)


def test_variation_of_a_step():
    patch = torch.zeros(1, 3, 3, 1)
    patch[:, 2] = 6
    # Rows: of 2 x 3 differences three are 6; columns: none.
    assert variation(patch).item() == pytest.approx(3)


def test_blur_of_a_linear_ramp_is_zero():
    assert blur(ramp([1, -2], [0.5, 4])).item() == pytest.approx(0, abs=1e-12)


def test_blur_of_a_single_point_by_hand():
    patch = torch.zeros(1, 5, 5, 2, dtype=torch.float64)
    patch[0, 2, 2] = torch.tensor([1.0, 2.0])
    centre = 1 / sum(math.exp(-0.5 * n * n) for n in range(-2, 3))
    # Only the middle has its whole 5 x 5 neighbourhood.
    assert blur(patch).item() == pytest.approx((1 + 4) * (1 - centre**2) ** 2)


@pytest.mark.parametrize(("level", "samples"), [(0, 1), (0, 2), (1, 4)])
def test_positions_lie_in_their_own_stratum_of_their_own_cell(a_pool, some_views, level, samples):
    geometry, views = some_views
    generator = torch.Generator().manual_seed(0)
    windows = draw_windows(a_pool, 12, 2, generator)

    batch = gather_cells(a_pool, level, windows, samples, generator)

    cells = GRIDS[level]
    assert batch.positions.shape == (len(batch.targets), samples**2, 3)
    assert len(batch.targets) > 10
    strata = np.stack(np.meshgrid(*[np.arange(samples)] * 2, indexing="ij"), -1).reshape(-1, 2)
    for (mark, row, column), positions in zip(
        batch.targets.tolist(), batch.positions.double().numpy(), strict=True
    ):
        origin, down, right = views[int(mark)].affine()
        offset = positions - origin
        s, t = offset @ down / (down @ down), offset @ right / (right @ right)
        # In the view's plane.
        np.testing.assert_allclose(offset, s[:, None] * down + t[:, None] * right, atol=1e-4)
        within = np.stack([s * cells - row, t * cells - column], axis=-1) * samples - strata
        assert within.min() > -1e-4
        assert within.max() < 1 + 1e-4
        assert views[int(mark)].valid_cells(cells, 2, geometry)[int(row), int(column)]


def test_every_valid_cell_of_a_window_is_taken_once_on_every_level(a_pool):
    windows = CellWindows(torch.tensor([2]), torch.tensor([[1, 2]]), 2)
    for level, scale in ((0, 2), (1, 1)):
        batch = gather_cells(a_pool, level, windows, 1, torch.Generator())
        rows, columns = slice(scale, 3 * scale), slice(2 * scale, 4 * scale)
        inside = a_pool.valid[level][2, rows, columns].nonzero() + torch.tensor([scale, 2 * scale])
        assert batch.targets[:, 0].eq(2).all()
        assert batch.targets[:, 1:].long().tolist() == inside.tolist()
        assert len(inside) > 0


def test_jitter_fills_the_cell(a_pool):
    windows = CellWindows(
        torch.zeros(200, dtype=torch.long), torch.ones(200, 2, dtype=torch.long), 1
    )
    batch = gather_cells(a_pool, 1, windows, 1, torch.Generator().manual_seed(0))
    origin, down, _ = a_pool.affine[0]
    s = ((batch.positions[:, 0] - origin) @ down / (down @ down)) * 4 - 1
    assert s.min() < 0.05
    assert s.max() > 0.95
    assert s.mean().item() == pytest.approx(0.5, abs=0.1)


def test_windows_are_drawn_from_filled_places_and_fit_into_the_view(a_pool):
    windows = draw_windows(a_pool, 300, 3, torch.Generator().manual_seed(0))
    assert windows.places.unique().tolist() == [0, 1, 2]
    assert windows.corners.unique().tolist() == [0, 1]
    assert windows.side == 3
    whole = draw_windows(a_pool, 4, 99, torch.Generator())
    assert whole.side == 4
    assert not whole.corners.any()


def test_patches_lie_in_their_planes_at_native_pitch(a_pool, some_views):
    _, views = some_views
    places = torch.tensor([2, 0])
    patches = gather_patches(a_pool, places, torch.Generator().manual_seed(0)).double()
    side = objective._PATCH
    assert patches.shape == (2, side, side, 3)
    for patch, place in zip(patches, places, strict=True):
        frame = views[place].frame
        down = patch[1:] - patch[:-1]
        right = patch[:, 1:] - patch[:, :-1]
        expected = torch.tensor(frame.pitch * np.stack([frame.e_v, frame.e_u]))
        torch.testing.assert_close(down, expected[0].expand_as(down), atol=1e-4, rtol=0)
        torch.testing.assert_close(right, expected[1].expand_as(right), atol=1e-4, rtol=0)
        normal = np.cross(frame.e_u, frame.e_v)
        assert np.abs((patch.numpy() - frame.centre) @ normal).max() < 1e-3


def test_the_pool_replaces_its_oldest_view(some_views):
    geometry, views = some_views
    pool = ViewPool(2)
    counts = []
    for number, view in enumerate(views):
        pool.add(number, encoded(view, geometry, number))
        counts.append(pool.count)
    assert counts == [1, 2, 2]
    assert pool.targets[1][:, 0, 0, 0].tolist() == [2, 1]
    torch.testing.assert_close(pool.affine[0], torch.tensor(views[2].affine()).float())


def test_a_pool_filled_again_from_its_last_views_is_the_same(some_views):
    geometry, views = some_views
    whole, again = ViewPool(2), ViewPool(2)
    for number, view in enumerate(views):
        whole.add(number, encoded(view, geometry, number))
    for number in (1, 2):
        again.add(number, encoded(views[number], geometry, number))
    assert torch.equal(whole.affine, again.affine)
    assert all(map(torch.equal, whole.targets, again.targets))
    assert whole.count == again.count


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_presets_encode_all_their_views_in_time_and_never_fewer(preset):
    counts = [preset.views_at(step) for step in range(preset.steps)]
    assert counts[0] == preset.first_views
    assert counts[-1] == preset.views
    assert all(later >= earlier for earlier, later in pairwise(counts))
    arrived = counts.index(preset.views)
    steps_of_a_batch = preset.batch * preset.fill * preset.steps / preset.views
    assert arrived == pytest.approx(preset.fill * preset.steps, abs=2 + steps_of_a_batch)


def test_the_paper_trains_every_step_on_a_fresh_view():
    paper = preset_named("paper")
    assert (paper.views, paper.pool) == (300 * 200, 1)
    assert all(paper.views_at(step) == step + 1 for step in range(paper.steps))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_learning_rates_rise_and_fall_as_told(preset):
    rates = [preset.rate_at(step) for step in range(preset.steps)]
    assert max(rates) <= preset.learning_rate * (1 + 1e-9)
    assert max(rates) == pytest.approx(preset.learning_rate, rel=1e-3)
    peak = rates.index(max(rates))
    assert peak == pytest.approx(preset.warm_up * preset.steps, abs=1)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    final = preset.learning_rate * preset.final_rate
    assert rates[-1] == pytest.approx(final, abs=1e-3 * preset.learning_rate)


def test_a_warm_up_shorter_than_a_step_does_not_overshoot():

    tiny = dataclasses.replace(preset_named("paper"), steps=20)
    assert max(tiny.rate_at(step) for step in range(20)) <= tiny.learning_rate


def test_the_paper_warms_up_linearly_for_ten_epochs_and_ends_at_zero():
    paper = preset_named("paper")
    assert paper.rate_at(0) == pytest.approx(0.002 / 2000)
    assert paper.rate_at(999) == pytest.approx(0.001)
    assert paper.rate_at(2000) == pytest.approx(0.002)
    assert paper.rate_at(31_000) == pytest.approx(0.001)
    assert paper.rate_at(59_999) < 1e-8


@pytest.mark.parametrize(("stride", "samples"), [(2, 2), (4, 2), (8, 2), (14, 2), (16, 4), (32, 4)])
def test_samples_of_a_stride(stride, samples):
    assert preset_named("paper").samples_at(stride) == samples
    # The measure is the same for every preset.
    assert heldout_samples(stride) == samples
    grids = [preset for preset in PRESETS.values() if preset.network == "grid"]
    assert len(grids) > 2
    assert all(preset.samples_at(stride) == 2 for preset in grids)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="fast, balanced, small-gpu, paper"):
        preset_named("nosuch")
