from __future__ import annotations

import math

import numpy as np
import pytest
import slicer

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.nodes.volume_nodes import array_of, geometry_of, moved, world_from_local
from VoxelFeatLib.scene.views.slices import mapped_slice_nodes, plane_of, visible_extents
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker.protocol import MAX_PLANE_SIDE

AXIAL = np.eye(4)
AXIAL[:3, 3] = (5, 4, 3)
SAGITTAL = np.array([[0, 0, 1.0, 6], [1, 0, 0, 4], [0, 1, 0, 3], [0, 0, 0, 1]])
CORONAL = np.array([[1.0, 0, 0, 5], [0, 0, 1, 2], [0, 1, 0, 3], [0, 0, 0, 1]])
TILTED = np.eye(4)
TILTED[:3, :3] = np.linalg.qr(np.array([[1.0, 0.2, 0.5], [0.1, 1, -0.4], [-0.5, 0.4, 1]]))[0]
TILTED[:3, 3] = (5, 4, 3)


def across(volume, axis: int, index: float) -> np.ndarray:
    """SliceToRAS of a view whose plane is along the volume's axes, at an index of one axis."""
    geometry = geometry_of(volume)
    world = world_from_local(volume)
    ijk = (np.array(geometry.shape_kji[::-1]) - 1) / 2
    ijk[axis] = index
    directions = world[:3, :3] @ geometry.ijk_to_ras[:3, :3]
    u, v = (directions[:, n] for n in range(3) if n != axis)
    u = u / np.linalg.norm(u)
    v = v - u * (u @ v)
    v /= np.linalg.norm(v)
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([u, v, np.cross(u, v)])
    matrix[:3, 3] = moved(world, geometry.to_ras(ijk))
    return matrix


def shown_voxels(node, volume) -> np.ndarray:
    """The voxels (k, j, i) under the view's pixels, by Slicer's own matrix of pixels to RAS."""
    columns, rows, _ = node.GetDimensions()
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    pixels = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    world = moved(array_of(node.GetXYToRAS()), pixels)
    geometry = geometry_of(volume)
    voxels = geometry.voxels_of(moved(np.linalg.inv(world_from_local(volume)), world))
    inside = ((voxels >= 0) & (voxels < geometry.shape_kji)).all(axis=1)
    return np.unique(voxels[inside], axis=0)


def mask_of(extents, shape) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for extent in extents:
        assert extent.size
        assert not mask[extent.slices].any(), "an extent covers another"
        mask[extent.slices] = True
    return mask


# --------------------------------------------------------------------- visible voxels


def test_a_view_along_the_axes_shows_one_slab(a_volume_node, a_slice_node) -> None:
    volume = a_volume_node("plain")
    views = [a_slice_node(matrix, name=str(n)) for n, matrix in enumerate([AXIAL, SAGITTAL])]
    assert visible_extents(views, volume) == [
        Extent((3, 0, 0), (4, 9, 11)),
        Extent((0, 0, 6), (7, 9, 7)),
    ]


def test_a_small_view_shows_a_part_of_the_slab(a_volume_node, a_slice_node) -> None:
    # 6 x 4 mm around (5, 4, 3): i from 2 to 8, j from 2 to 6, borders included
    extents = visible_extents([a_slice_node(AXIAL, (6, 4))], a_volume_node("plain"))
    assert extents == [Extent((3, 2, 2), (4, 7, 9))]


def test_a_dragged_view_shows_what_it_was_dragged_to(a_volume_node, a_slice_node) -> None:
    volume, view = a_volume_node("plain"), a_slice_node(AXIAL, (4.4, 2.4))
    view.SetSliceOrigin(3, -2, 0)  # as dragging with the middle button does
    (extent,) = visible_extents([view], volume)
    assert extent == Extent((3, 1, 6), (4, 4, 11))
    assert mask_of([extent], (7, 9, 11))[tuple(shown_voxels(view, volume).T)].all()


def test_two_views_of_the_same_slice_count_once(a_volume_node, a_slice_node) -> None:
    views = [a_slice_node(AXIAL, name="Red"), a_slice_node(AXIAL, name="Green")]
    assert len(visible_extents(views, a_volume_node("plain"))) == 1


def test_a_view_beside_the_volume_shows_nothing(a_volume_node, a_slice_node) -> None:
    beside = AXIAL.copy()
    beside[2, 3] = 6.6  # the last slice ends at 6.5
    assert visible_extents([a_slice_node(beside)], a_volume_node("plain")) == []
    tilted = TILTED.copy()
    tilted[:3, 3] = (100, 100, 100)
    assert visible_extents([a_slice_node(tilted)], a_volume_node("plain")) == []
    assert visible_extents([], a_volume_node("plain")) == []


@pytest.mark.parametrize("transform", ["none", "rotated", "mirrored"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("geometry", ["lps", "flipped", "sagittal", "oblique"])
def test_a_view_along_a_moved_volumes_axes_shows_its_slab(
    a_volume_node, a_slice_node, geometry, axis, transform
) -> None:
    volume = a_volume_node(geometry, transform)
    view = a_slice_node(across(volume, axis, 2.3), (60, 60))
    (extent,) = visible_extents([view], volume)
    start, stop = [0, 0, 0], [7, 9, 11]
    start[2 - axis], stop[2 - axis] = 2, 3
    assert extent == Extent.of(start, stop)


@pytest.mark.parametrize("transform", ["none", "scaled and sheared"])
@pytest.mark.parametrize("size", [(9, 7), (60, 50)])
@pytest.mark.parametrize("geometry", ["plain", "flipped", "anisotropic", "gantry tilt"])
def test_every_voxel_of_an_oblique_view_is_covered(
    a_volume_node, a_slice_node, geometry, size, transform
) -> None:
    voxels = np.broadcast_to(np.uint8(0), (80, 150, 160))
    volume = a_volume_node(geometry, transform, voxels=voxels)
    matrix = TILTED.copy()
    matrix[:3, 3] = moved(world_from_local(volume), geometry_of(volume).centre_ras)
    view = a_slice_node(matrix, size, (160, 120))
    view.SetSliceOrigin(1.5, -2.5, 0)
    shown = shown_voxels(view, volume)
    mask = mask_of(visible_extents([view], volume), voxels.shape)
    assert len(shown) > 20
    assert mask[tuple(shown.T)].all()
    assert not mask.all()


def test_an_oblique_view_is_covered_by_tiles_as_thin_as_the_plane_allows(
    a_volume_node, a_slice_node
) -> None:
    volume = a_volume_node("plain", voxels=np.broadcast_to(np.uint8(0), (100, 256, 256)))
    tilt = np.radians(15)
    matrix = np.eye(4)
    matrix[:3, 1] = (0, np.cos(tilt), np.sin(tilt))
    matrix[:3, 2] = (0, -np.sin(tilt), np.cos(tilt))
    matrix[:3, 3] = (127.5, 127.5, 49.5)
    extents = visible_extents([a_slice_node(matrix, (400, 400))], volume)
    # 8 x 8 tiles of 32 voxels; over each the plane rises by 32 tan 15 degrees = 8.6
    assert len(extents) == 64
    assert max(extent.shape[0] for extent in extents) == 10
    assert {extent.shape[1:] for extent in extents} == {(32, 32)}


def test_a_small_oblique_view_is_one_box(a_volume_node, a_slice_node) -> None:
    volume = a_volume_node("plain", voxels=np.broadcast_to(np.uint8(0), (100, 256, 256)))
    matrix = TILTED.copy()
    matrix[:3, 3] = (128, 128, 50)
    view = a_slice_node(matrix, (30, 30))
    (extent,) = visible_extents([view], volume)
    around = [int(np.ptp(axis)) + 1 for axis in shown_voxels(view, volume).T]
    assert all(0 <= n - wanted <= 2 for n, wanted in zip(extent.shape, around, strict=True))


def test_an_oblique_view_of_a_large_volume_is_bounded_and_its_middle_comes_first(
    a_volume_node, a_slice_node
) -> None:
    voxels = np.broadcast_to(np.uint8(0), (300, 400, 400))
    volume = a_volume_node("plain", voxels=voxels)
    matrix = TILTED.copy()
    matrix[:3, 3] = (200, 200, 150)
    extents = visible_extents([a_slice_node(matrix, (800, 800))], volume)
    mask = mask_of(extents, voxels.shape)
    assert 1 << 20 < mask.sum() <= 2 << 20
    assert mask[150, 200, 200]


def test_a_volume_under_a_warp_is_refused(a_scene, a_volume_node, a_slice_node) -> None:
    volume = a_volume_node("plain")
    warp = a_scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "a warp")
    warp.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    volume.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match="non-linear"):
        visible_extents([a_slice_node(AXIAL)], volume)


def test_only_views_of_the_layout_are_asked(a_scene, a_slice_node) -> None:
    shown, hidden = a_slice_node(AXIAL, name="Red"), a_slice_node(AXIAL, name="Slice4")
    shown.SetMappedInLayout(1)
    hidden.SetMappedInLayout(0)
    assert mapped_slice_nodes(a_scene) == [shown]


# --------------------------------------------------------------------- planes


def test_a_plane_covers_the_part_of_the_volume_that_the_view_shows(
    a_volume_node, a_slice_node
) -> None:
    # 11 x 9 mm of the volume in the view, 99 square pixels of 1 mm
    plane = plane_of(a_slice_node(AXIAL), a_volume_node("plain"), 99)
    assert (plane.rows, plane.columns) == (9, 11)
    np.testing.assert_allclose(plane.origin_ras, (0, 0, 3), atol=1e-9)
    np.testing.assert_allclose(plane.right_mm, (1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(plane.down_mm, (0, 1, 0), atol=1e-9)
    assert plane.size <= 99


def test_a_plane_of_a_dragged_small_view_is_what_it_shows(a_volume_node, a_slice_node) -> None:
    view = a_slice_node(AXIAL, (4, 2))
    view.SetSliceOrigin(1, -2, 0)
    plane = plane_of(view, a_volume_node("plain"), 200)
    corners = plane.ras()[[0, -1], [0, -1]]
    half = (np.array(plane.right_mm) + plane.down_mm) / 2
    np.testing.assert_allclose(corners[0] - half, (4, 1, 3), atol=1e-9)
    np.testing.assert_allclose(corners[1] + half, (8, 3, 3), atol=1e-9)


@pytest.mark.parametrize("transform", ["none", "scaled and sheared", "mirrored"])
@pytest.mark.parametrize("geometry", ["lps", "sagittal", "oblique, left-handed", "gantry tilt"])
@pytest.mark.parametrize("most", [1, 1000, 256 * 256])
def test_a_plane_lies_in_the_view_and_covers_the_volume_there(
    a_volume_node, a_slice_node, geometry, transform, most
) -> None:
    volume = a_volume_node(geometry, transform)
    matrix = TILTED.copy()
    matrix[:3, 3] = moved(world_from_local(volume), geometry_of(volume).centre_ras)
    view = a_slice_node(matrix, (14, 10), (140, 100))
    plane = plane_of(view, volume, most)
    assert plane.size <= most
    world = moved(world_from_local(volume), plane.ras().reshape(-1, 3))
    xyz = moved(np.linalg.inv(array_of(view.GetXYToRAS())), world)
    np.testing.assert_allclose(xyz[:, 2], 0, atol=1e-9)
    assert (xyz[:, :2] > 0).all()
    assert (xyz[:, :2] < (140, 100)).all()
    # Each voxel that the view shows lies under a pixel of the plane.
    shown = geometry_of(volume).to_ras(shown_voxels(view, volume)[:, ::-1])
    step = np.column_stack([plane.right_mm, plane.down_mm, np.cross(plane.right_mm, plane.down_mm)])
    pixels = (shown - np.array(plane.origin_ras)) @ np.linalg.inv(step).T
    margin = geometry_of(volume).spacing.max()
    for axis, count in ((0, plane.columns), (1, plane.rows)):
        slack = 0.5 + margin / np.linalg.norm(step[:, axis])
        assert (pixels[:, axis] > -slack).all()
        assert (pixels[:, axis] < count - 1 + slack).all()


def test_beside_the_volume_there_is_no_plane(a_volume_node, a_slice_node) -> None:
    volume = a_volume_node("plain")
    beside = AXIAL.copy()
    beside[2, 3] = 6.6
    assert plane_of(a_slice_node(beside), volume, 100) is None
    dragged = a_slice_node(CORONAL, (4, 4))
    dragged.SetSliceOrigin(50, 0, 0)
    assert plane_of(dragged, volume, 100) is None


def test_a_needle_of_a_view_stays_within_the_protocol(a_volume_node, a_slice_node) -> None:
    plane = plane_of(a_slice_node(AXIAL, (10, 1e-4)), a_volume_node("plain"), 1 << 16)
    assert max(plane.rows, plane.columns) <= MAX_PLANE_SIDE
    assert math.isclose(np.linalg.norm(plane.right_mm) * plane.columns, 10, rel_tol=1e-9)
