"""Views: the cell map against the operations it stands for, done on images of coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.views import (
    Augmentation,
    Frame,
    View,
    ViewLimits,
    ViewSampler,
    axis_frame,
    axis_view,
    slicing_axes,
)

GRID = 16


def boxes(shape_kji, spacing_ijk):
    return Geometry(shape_kji, np.diag([*spacing_ijk, 1.0]))


def random_view(seed):
    """A random slice of 1 mm pixels with random padding, zoom and crop."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(20, 70, size=2))
    frame = Frame(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), shape, 1.0)
    return ViewSampler(boxes((1, *shape), (1, 1, 1)), (2,)).augment(frame, rng)


def coordinates_seen(view, input_size, grid):
    """What a (row, column) coordinate image becomes by padding, zoom, crop, resize and pooling."""
    height, width = view.frame.shape
    r, q = torch.arange(height).double(), torch.arange(width).double()
    image = torch.stack(torch.meshgrid(r, q, indexing="ij"))[None]
    pad = view.augmentation.pad
    image = functional.pad(image, [pad] * 4, mode="reflect")
    image = functional.interpolate(image, view.augmentation.zoomed, mode="bilinear")
    top, left = view.augmentation.offset
    image = image[..., top : top + height, left : left + width]
    image = functional.interpolate(image, (input_size, input_size), mode="bilinear")
    return functional.avg_pool2d(image, input_size // grid)[0].numpy()


@pytest.mark.parametrize("seed", range(25))
def test_the_cell_map_is_the_map_of_the_real_operations(seed):
    view = random_view(seed)
    shape = np.array(view.frame.shape)
    # A cell of 16 pixels; the input is larger than any slice, and the resize a plain one.
    seen = coordinates_seen(view, 256, GRID)
    centres = (np.arange(GRID) + 0.5) / GRID
    told = np.stack(np.meshgrid(*view.slice_coordinates(centres, centres), indexing="ij"))

    difference = np.abs(seen - told).max(axis=0)
    # Where neither mirrored pixels nor the bilinear kernel's reach beyond an image's border count.
    reach = np.array([(0.5 / GRID * n) / z + 1.5 for n, z in zip(shape, view.zoom, strict=True)])
    whole = np.all(
        (told > reach[:, None, None] - 0.5) & (told < (shape - 0.5 - reach)[:, None, None]), axis=0
    )
    inner = np.zeros_like(whole)
    inner[1:-1, 1:-1] = True
    assert (whole & inner).sum() > GRID
    np.testing.assert_allclose(difference[whole & inner], 0, atol=1e-9)

    # The outermost cells see the input's clamped border, and the slice mirrored about its end.
    geometry = boxes((1, *view.frame.shape), (1, 1, 1))
    view = View(axis_frame(geometry, 2, 0.0), view.augmentation)
    assert difference[view.valid_cells(GRID, 64, geometry)].max() < 0.25
    # Four sub-samples let a cell reach an eighth of its length over the edge.
    cell = (shape / GRID / view.zoom).max()
    bound = max(0.25, (0.5 + cell / 8) ** 2 / cell + 0.05)
    assert difference[view.valid_cells(GRID, 4, geometry)].max() < bound


def test_cell_positions_are_the_sub_samples_of_every_cell_in_millimetres():
    frame = Frame(np.array([5.0, 6, 7]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0]), (4, 8), 0.5)
    view = View(frame, Augmentation.none((4, 8)))

    positions = view.cell_positions(2, 2)

    assert positions.shape == (2, 2, 2, 2, 3)
    # Cells are 2 x 4 pixels of 0.5 mm; the slice spans y 4 to 8 and z 6 to 8.
    np.testing.assert_allclose(positions[0, 0, 0, 0], (5, 4.5, 6.25))
    np.testing.assert_allclose(positions[0, 0, 0, 1], (5, 5.5, 6.25))
    np.testing.assert_allclose(positions[0, 0, 1, 0], (5, 4.5, 6.75))
    np.testing.assert_allclose(positions[1, 1, 1, 1], (5, 7.5, 7.75))


@pytest.mark.parametrize("seed", range(5))
def test_the_affine_map_gives_the_cell_positions(seed, an_oblique_geometry):
    view = ViewSampler(an_oblique_geometry, (0, 1, 2)).draw(np.random.default_rng(seed))
    origin, down, right = view.affine()
    centres = (np.arange(6) + 0.5) / 6
    expected = origin + centres[:, None, None] * down + centres[:, None] * right
    np.testing.assert_allclose(view.cell_positions(6)[:, :, 0, 0], expected, atol=1e-9)


def test_valid_cells_exclude_mirrored_pixels():
    geometry = boxes((1, 16, 16), (1, 1, 1))
    # Padded to 24, no zoom, cropped at the padding's corner: the first four pixels are mirrored.
    view = View(axis_frame(geometry, 2, 0.0), Augmentation(4, (24, 24), (0, 0)))

    valid = view.valid_cells(8, 2, geometry)

    expected = np.zeros((8, 8), dtype=bool)
    expected[2:, 2:] = True
    np.testing.assert_array_equal(valid, expected)


def test_valid_cells_exclude_what_lies_outside_the_volume():
    geometry = boxes((4, 8, 8), (1, 1, 1))
    across = axis_view(geometry, 2, 3.4)
    beyond = axis_view(geometry, 2, 3.6)
    assert across.valid_cells(4, 2, geometry).all()
    assert not beyond.valid_cells(4, 2, geometry).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_frame_runs_through_its_voxels(axis, an_oblique_geometry):
    geometry = an_oblique_geometry
    frame = axis_frame(geometry, axis, 1.0)
    columns, rows = (a for a in range(3) if a != axis)

    assert frame.pitch == pytest.approx(min(geometry.spacing[[columns, rows]]))
    middle = (np.array(frame.shape) - 1) / 2
    index = geometry.to_ijk(frame.points(middle[0], middle[1]))
    expected = (np.array(geometry.shape_kji[::-1]) - 1) / 2
    expected[axis] = 1.0
    np.testing.assert_allclose(index, expected, atol=1e-9)
    one_right = geometry.to_ijk(frame.points(middle[0], middle[1] + 1)) - expected
    assert one_right[columns] == pytest.approx(frame.pitch / geometry.spacing[columns])
    one_down = geometry.to_ijk(frame.points(middle[0] + 1, middle[1])) - expected
    assert one_down[rows] == pytest.approx(frame.pitch / geometry.spacing[rows])


@pytest.mark.parametrize("seed", range(20))
def test_drawn_views_respect_their_limits(seed, an_oblique_geometry):
    geometry = an_oblique_geometry
    limits = ViewLimits(pad=2, zoom=0.2, in_plane=7, through_plane=7)
    view = ViewSampler(geometry, (2,), limits).draw(np.random.default_rng(seed))
    frame, augmentation = view.frame, view.augmentation

    np.testing.assert_allclose(
        [frame.e_u @ frame.e_u, frame.e_v @ frame.e_v, frame.e_u @ frame.e_v], (1, 1, 0), atol=1e-12
    )
    i, j, k = geometry.directions.T
    normal = np.cross(frame.e_u, frame.e_v)
    assert abs(normal @ k) >= np.cos(np.deg2rad(7.0001))
    # Both turns together.
    assert min(frame.e_u @ i, frame.e_v @ j) >= np.cos(np.deg2rad(14.0001))
    assert 0 <= augmentation.pad <= 2
    for zoom, zoomed, offset, side in zip(
        view.zoom, augmentation.zoomed, augmentation.offset, frame.shape, strict=True
    ):
        assert 1 - 1e-9 <= zoom <= 1.2 + 0.5 / side
        assert 0 <= offset <= zoomed - side
    assert -0.5 <= geometry.to_ijk(frame.centre)[2] <= geometry.shape_kji[0] - 0.5


def test_the_same_generator_draws_the_same_view_and_another_one_another(a_geometry):
    sampler = ViewSampler(a_geometry, (2,))
    one, same, other = (sampler.draw(np.random.default_rng(seed)).affine() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_the_limits_are_used_up():
    geometry = boxes((8, 64, 64), (1, 1, 1))
    views = [ViewSampler(geometry, (2,)).draw(np.random.default_rng(s)) for s in range(300)]
    tilts = [np.rad2deg(np.arccos(np.cross(v.frame.e_u, v.frame.e_v)[2])) for v in views]
    assert 6.5 < max(tilts) <= 7 + 1e-6
    assert {v.augmentation.pad for v in views} == set(range(16))
    zooms = [v.zoom[0] for v in views]
    assert min(zooms) < 1.01
    assert max(zooms) > 1.19


@pytest.mark.parametrize(
    ("shape_kji", "spacing_ijk", "axes"),
    [
        ((100, 512, 512), (0.75, 0.75, 3.0), (2,)),  # CT of thick slices
        ((400, 400, 400), (1, 1, 1), (2, 1, 0)),
        ((300, 300, 100), (1, 1, 1), (0,)),  # elongated axial slices; sagittal ones are square
        ((100, 300, 300), (1, 1, 1), (2,)),  # near-isotropic, but other slices are elongated
        ((200, 200, 20), (1, 1, 5.0), (0,)),
        ((1, 64, 64), (1, 1, 1), (2,)),
        ((64, 64, 1), (1, 1, 1), (0,)),
        ((64, 1, 64), (1, 1, 1), (1,)),
        ((200, 250, 200), (1, 1, 1.4), (2, 1, 0)),
        ((200, 250, 200), (1, 1, 1.6), (2,)),
    ],
)
def test_slicing_axes(shape_kji, spacing_ijk, axes):
    assert slicing_axes(boxes(shape_kji, spacing_ijk)) == axes
