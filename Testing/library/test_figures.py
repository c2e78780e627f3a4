from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from VoxelFeatLib.demo.figures import (
    LevelColors,
    Outlined,
    feature_maps,
    slices_with_outlines,
)
from VoxelFeatLib.demo.slices import Plane
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click

SHAPE = (5, 6, 7)
BLUE = (0.0, 0.0, 1.0)


@pytest.fixture
def a_geometry() -> Geometry:
    """As a CT lies: i to the left, j to the back, k up; 2 x 3 x 4 mm."""
    matrix = np.diag([-2.0, -3.0, 4.0, 1.0])
    matrix[:3, 3] = (10, 20, 30)
    return Geometry(SHAPE, matrix)


@pytest.fixture
def a_volume(a_geometry) -> Volume:
    voxels = np.full(SHAPE, -1000, dtype=np.int16)
    voxels[1:4, 1:5, 1:6] = 40
    return Volume(voxels, a_geometry, "CT")


@pytest.fixture
def a_segment(a_volume) -> Outlined:
    return Outlined("block", BLUE, a_volume.voxels > 0)


def _pixels_of(path, color):
    picture = imread(path)[..., :3]
    return (np.abs(picture - color) < 0.1).all(axis=-1).sum()


@pytest.mark.parametrize(
    ("view", "size", "expected"),
    [
        # Rows run from the front to the back, from the head down; columns from right to left,
        # and from the front to the back. Values are 100 k + 10 j + i.
        ("axial", (14, 18), [[200, 206], [250, 256]]),
        ("coronal", (14, 20), [[430, 436], [30, 36]]),
        ("sagittal", (18, 20), [[404, 454], [4, 54]]),
    ],
)
def test_slices_hang_as_in_slicer(a_geometry, view, size, expected):
    k, j, i = np.indices(SHAPE)
    plane = Plane.through(a_geometry, view, (4, 3, 2))
    image = plane.cut(100 * k + 10 * j + i)
    assert image[[[0], [-1]], [0, -1]].tolist() == expected
    assert plane.size_mm == size


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_another_storage_order_hangs_the_same(a_geometry, view, order):
    """The same voxels stored with other axes, the second of them backwards."""
    voxels = np.random.default_rng(0).integers(0, 99, SHAPE)
    stored = voxels.transpose(order)[:, ::-1]
    # Columns of the new matrix are those of the axes stored along k, j, i, backwards.
    old_columns = [2 - axis for axis in order][::-1]
    matrix = a_geometry.ijk_to_ras.copy()
    matrix[:3, :3] = a_geometry.ijk_to_ras[:3, old_columns]
    matrix[:3, 3] += matrix[:3, 1] * (stored.shape[1] - 1)
    matrix[:3, 1] *= -1
    other = Geometry(stored.shape, matrix)
    point = a_geometry.to_ras((4, 3, 2))
    first = Plane.through(a_geometry, view, (4, 3, 2))
    second = Plane.through(other, view, other.to_ijk(point))
    np.testing.assert_array_equal(second.cut(stored), first.cut(voxels))
    assert second.position_mm == pytest.approx(first.position_mm)
    np.testing.assert_allclose(second.place((3, 9, 33)), first.place((3, 9, 33)))


def test_a_point_is_placed_where_its_voxel_is_drawn(a_geometry):
    plane = Plane.through(a_geometry, "axial", (4, 3, 2))
    # The voxel in column 5 and row 1, 2 and 3 mm large, one slice (4 mm) higher.
    assert plane.place(a_geometry.to_ras((5, 1, 3))) == pytest.approx((11, 4.5, 4))


def test_outlines_and_clicks_are_drawn(tmp_path, a_volume, a_segment):
    bare, outlined, clicked = (tmp_path / f"{n}.png" for n in ("bare", "outlined", "clicked"))
    slices_with_outlines(bare, a_volume, [])
    slices_with_outlines(outlined, a_volume, [a_segment], title="A block")
    center = tuple(a_volume.geometry.centre_ras)
    away = (center[0], center[1], center[2] + 500)
    clicks = [Click(center, positive=True), Click(away, positive=False)]
    slices_with_outlines(clicked, a_volume, [a_segment], clicks=clicks, center=center)
    green, red = (0x37 / 255, 0xE0 / 255, 0x6B / 255), (1.0, 0x4F / 255, 0x5E / 255)
    assert _pixels_of(bare, BLUE) == 0
    assert _pixels_of(outlined, BLUE) > 500
    assert _pixels_of(outlined, green) == 0
    assert _pixels_of(clicked, green) > 100
    assert _pixels_of(clicked, red) == 0  # neither drawn nor in the legend
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare.png", "clicked.png", "outlined.png"]


def test_the_reference_is_drawn_dashed_and_lighter(tmp_path, a_volume, a_segment):
    nothing = np.zeros(SHAPE, dtype=bool)
    slices_with_outlines(
        tmp_path / "a.png",
        a_volume,
        [Outlined("block", BLUE, nothing, reference=a_segment.prediction)],
    )
    solid_everywhere = tmp_path / "b.png"
    slices_with_outlines(solid_everywhere, a_volume, [a_segment])
    lighter = _pixels_of(tmp_path / "a.png", (0.5, 0.5, 1.0))
    assert 100 < lighter < _pixels_of(solid_everywhere, BLUE)


def test_a_mask_of_another_volume_is_refused_and_nothing_written(tmp_path, a_volume):
    with pytest.raises(InputError, match="does not belong"):
        slices_with_outlines(
            tmp_path / "a.png", a_volume, [Outlined("x", BLUE, np.ones((2, 2, 2)))]
        )
    assert not list(tmp_path.iterdir())


def test_feature_maps_show_image_backbone_and_field(tmp_path):
    red, green = np.zeros((4, 4, 3)), np.zeros((16, 16, 3))
    red[..., 0] = 1
    green[..., 1] = 1
    path = tmp_path / "maps.png"
    feature_maps(path, np.full((16, 16), 0.5), [LevelColors("stride 4", red, green)], title="Maps")
    shown = [_pixels_of(path, color) for color in ((1, 0, 0), (0, 1, 0))]
    # Cells and pixels cover the same area.
    assert shown[0] > 50_000
    assert shown[0] == pytest.approx(shown[1], rel=0.02)


def test_feature_maps_refuse_what_is_no_color(tmp_path):
    with pytest.raises(InputError, match="at least one level"):
        feature_maps(tmp_path / "a.png", np.zeros((4, 4)), [])
    level = LevelColors("stride 4", np.zeros((4, 4)), np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match="must be"):
        feature_maps(tmp_path / "a.png", np.zeros((4, 4)), [level])
    assert not list(tmp_path.iterdir())
