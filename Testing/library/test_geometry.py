from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from VoxelFeatLib.errors import GeometryError
from VoxelFeatLib.imaging.geometry import Geometry


def test_axes_spacing_and_origin_by_hand():
    # i runs to the patient's left at 0.5 mm, j to superior at 3 mm, k to posterior at 2 mm.
    matrix = np.array([[-0.5, 0, 0, 10], [0, 0, -2, 20], [0, 3, 0, 30], [0, 0, 0, 1]])
    geometry = Geometry((4, 5, 6), matrix)
    np.testing.assert_array_equal(geometry.spacing, [0.5, 3, 2])
    np.testing.assert_array_equal(geometry.directions, [[-1, 0, 0], [0, 0, -1], [0, 1, 0]])
    np.testing.assert_array_equal(geometry.to_ras([1, 2, 3]), [9.5, 14, 36])
    np.testing.assert_array_equal(geometry.centre_ras, [8.75, 17, 36])
    assert geometry.radius == 7.5  # 5 voxels of 3 mm, half
    assert geometry.voxel_ml == pytest.approx(0.003)


def test_lps_becomes_ras():
    geometry = Geometry.from_lps((2, 2, 2), (1, 2, 3), (10, 20, 30), np.eye(3).ravel())
    np.testing.assert_array_equal(geometry.origin_ras, [-10, -20, 30])
    np.testing.assert_array_equal(geometry.ijk_to_ras[:3, :3], np.diag([-1, -2, 3]))


@settings(max_examples=30, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_agrees_with_itk_for_any_orientation(angles, spacing, origin, flips):
    direction = (Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * flips).ravel()
    image = SimpleITK.Image([6, 5, 4], SimpleITK.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    geometry = Geometry.from_lps((4, 5, 6), spacing, origin, direction)
    ijk = np.array([[0, 0, 0], [5, 4, 3], [1.25, 0.5, 2.75]])
    lps = [image.TransformContinuousIndexToPhysicalPoint(p.tolist()) for p in ijk]
    ras = np.array(lps) * [-1, -1, 1]
    np.testing.assert_allclose(geometry.to_ras(ijk), ras, atol=1e-9)
    np.testing.assert_allclose(geometry.to_ijk(ras), ijk, atol=1e-9)
    assert geometry.matches(Geometry.from_lps((4, 5, 6), *geometry.to_lps()), tolerance=1e-9)


def test_sheared_axes_are_kept():
    matrix = np.eye(4)
    matrix[0, 2] = 0.5
    geometry = Geometry((3, 3, 3), matrix)
    assert geometry.shear == pytest.approx(0.5 / np.hypot(1, 0.5))
    assert geometry.voxel_ml == pytest.approx(0.001)  # not that of its edges, which are longer
    assert geometry.matches(Geometry.from_lps((3, 3, 3), *geometry.to_lps()), tolerance=1e-12)


def test_unit_coordinates_use_one_scale(a_geometry):
    half_extents = np.array([6 * 0.5, 5 * 1.0, 4 * 2.0]) / 2
    corner = a_geometry.to_ras([5.5, 4.5, 3.5])
    np.testing.assert_allclose(a_geometry.ras_to_unit @ [*corner, 1], [*(half_extents / 4), 1])


def test_the_box_ends_half_a_voxel_outside_the_centres(an_oblique_geometry):
    inside = [[-0.49, 0, 0], [5.49, 4.49, 3.49], [2, 2, 2]]
    outside = [[-0.51, 0, 0], [5.51, 0, 0], [0, 4.51, 0], [0, 0, 3.51], [0, 0, -0.51]]
    assert an_oblique_geometry.contains(an_oblique_geometry.to_ras(inside)).all()
    assert not an_oblique_geometry.contains(an_oblique_geometry.to_ras(outside)).any()
    assert an_oblique_geometry.contains(an_oblique_geometry.centre_ras)


def test_matches_within_a_tolerance_at_the_far_corner():
    near = np.eye(4)
    far = np.diag([1.0005, 1, 1, 1])  # 0.0005 mm a voxel
    assert Geometry((1, 1, 2), near).matches(Geometry((1, 1, 2), far))
    assert not Geometry((1, 1, 20), near).matches(Geometry((1, 1, 20), far))
    assert not Geometry((1, 1, 2), near).matches(Geometry((1, 2, 1), near))


def test_equality_is_by_value(a_geometry):
    same = Geometry(a_geometry.shape_kji, a_geometry.ijk_to_ras.copy())
    assert a_geometry == same
    assert hash(a_geometry) == hash(same)
    assert a_geometry != Geometry((4, 5, 7), a_geometry.ijk_to_ras)


def test_the_matrix_cannot_be_changed_from_outside(a_geometry):
    with pytest.raises(ValueError, match="read-only"):
        a_geometry.ijk_to_ras[0, 0] = 7


@pytest.mark.parametrize(
    ("shape", "matrix", "words"),
    [
        ((0, 5, 6), np.eye(4), "positive sizes"),
        ((5, 6), np.eye(4), "positive sizes"),
        ((4, 5, 6), np.eye(3), "4 x 4"),
        ((4, 5, 6), np.diag([1, 1, 0, 1]), "spacing must be positive"),
        ((4, 5, 6), np.diag([1, 1, np.nan, 1]), "finite"),
        ((4, 5, 6), [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "degenerate"),
    ],
)
def test_what_is_no_volume_is_refused(shape, matrix, words):
    with pytest.raises(GeometryError, match=words):
        Geometry(shape, np.asarray(matrix, dtype=float))


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1, float("nan"))])
def test_itk_spacing_must_be_positive(spacing):
    with pytest.raises(GeometryError, match="spacing must be positive"):
        Geometry.from_lps((2, 2, 2), spacing, (0, 0, 0), np.eye(3).ravel())
