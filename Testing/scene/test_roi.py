from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.nodes.roi import box_of, make_roi
from VoxelFeatLib.scene.nodes.volume_nodes import array_of, geometry_of, moved, world_from_local
from VoxelFeatLib.segmenting.extent import Extent

WHOLE = Extent((0, 0, 0), (7, 9, 11))


def inside_by_vtk(roi, volume) -> np.ndarray:
    """Which voxel centres lie in the box, by VTK's transforms and the ROI node's own axes."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    to_roi = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        volume.GetParentTransformNode(), roi.GetParentTransformNode(), to_roi
    )
    axes = np.zeros((3, 3))
    for axis, get in zip(axes, (roi.GetXAxis, roi.GetYAxis, roi.GetZAxis), strict=True):
        get(axis)
    inside = np.zeros((7, 9, 11), dtype=bool)
    for k, j, i in np.ndindex(inside.shape):
        point = to_roi.TransformPoint(matrix.MultiplyPoint((i, j, k, 1))[:3])
        reach = np.abs(axes @ np.subtract(point, roi.GetCenter()))
        inside[k, j, i] = (reach <= np.array(roi.GetSize()) / 2 + 1e-9).all()
    return inside


def placed(a_scene, centre, size, rotation=None):
    roi = a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "a box")
    roi.SetCenter(*centre)
    roi.SetSize(*size)
    if rotation is not None:
        matrix = array_of(roi.GetObjectToNodeMatrix())
        matrix[:3, :3] = rotation
        roi.GetObjectToNodeMatrix().DeepCopy(matrix.ravel().tolist())
    return roi


def covered(box) -> np.ndarray:
    """All voxels of the volume that the box holds."""
    mask = np.zeros((7, 9, 11), dtype=bool)
    inside = box.inside(box.extent)
    mask[box.extent.slices] = True if inside is None else inside
    return mask


def test_a_box_along_the_axes_is_its_extent(a_scene, a_volume_node) -> None:
    # voxel centres of "anisotropic": i and j steps of 0.4 mm from 10 and 20, k of 5 mm from 30
    volume = a_volume_node("anisotropic")
    roi = placed(a_scene, (11.2, 21.6, 42.5), (1.0, 0.9, 12.0))
    box = box_of(roi, volume)
    assert box.along
    assert box.extent == Extent((2, 3, 2), (4, 6, 5))
    assert box.inside(box.extent) is None
    assert box.inside(Extent((2, 4, 3), (3, 5, 4))) is None
    np.testing.assert_array_equal(covered(box), inside_by_vtk(roi, volume))


def test_voxels_on_the_border_are_inside(a_scene, a_volume_node) -> None:
    roi = placed(a_scene, (4, 4, 3), (2, 4, 2))
    assert box_of(roi, a_volume_node("plain")).extent == Extent((2, 2, 3), (5, 7, 6))


@pytest.mark.parametrize("transform", ["none", "rotated", "scaled and sheared"])
@pytest.mark.parametrize(
    "geometry", ["plain", "lps", "flipped", "sagittal", "oblique", "gantry tilt"]
)
def test_a_rotated_box_holds_the_voxels_that_slicer_says(
    a_scene, a_volume_node, a_transform_node, geometry, transform
) -> None:
    volume = a_volume_node(geometry, transform)
    grid = geometry_of(volume)
    c, s = np.cos(0.6), np.sin(0.6)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, c, -s], [0, s, c]]
    )
    # Under a transform of its own, its centre at the volume's.
    own = a_transform_node("scaled and sheared" if transform == "rotated" else "rotated")
    roi = placed(a_scene, (0, 0, 0), grid.spacing * (5.3, 4.1, 3.7), rotation)
    roi.SetAndObserveTransformNodeID(own.GetID())
    roi.SetCenterWorld(*moved(world_from_local(volume), grid.centre_ras).tolist())
    expected = inside_by_vtk(roi, volume)
    box = box_of(roi, volume)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(covered(box), expected)
    part = Extent((1, 2, 3), (6, 7, 10))
    inside = box.inside(part)
    np.testing.assert_array_equal(inside, expected[part.slices])


def test_outside_the_volume_nothing_is_in_the_box(a_scene, a_volume_node) -> None:
    box = box_of(placed(a_scene, (100, 100, 100), (5, 5, 5)), a_volume_node("plain"))
    assert box.extent.size == 0


def test_a_box_larger_than_the_volume_is_all_of_it(a_scene, a_volume_node) -> None:
    box = box_of(placed(a_scene, (5, 5, 5), (500, 500, 500)), a_volume_node("plain"))
    assert box.extent == WHOLE
    assert box.inside(WHOLE) is None


def test_a_box_under_a_warp_is_refused(a_scene, a_volume_node) -> None:
    volume = a_volume_node("plain")
    warp = a_scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "a warp")
    warp.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    roi = placed(a_scene, (5, 5, 5), (3, 3, 3))
    roi.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match="a box is under the non-linear transform a warp"):
        box_of(roi, volume)


@pytest.mark.parametrize("transform", ["none", "rotated", "mirrored"])
@pytest.mark.parametrize(
    "geometry",
    ["plain", "lps", "flipped", "anisotropic", "sagittal", "oblique", "oblique, left-handed"],
)
def test_a_new_box_is_the_middle_of_the_volume_along_its_axes(
    a_volume_node, geometry, transform
) -> None:
    volume = a_volume_node(geometry, transform)
    roi = make_roi(volume)
    box = box_of(roi, volume)
    assert box.along
    # half of 7, 9, 11 voxels around the voxels 3, 4, 5: 1.75, 2.25 and 2.75 to each side
    assert box.extent == Extent((2, 2, 3), (5, 7, 8))
    assert roi.GetTransformNodeID() == volume.GetTransformNodeID()
    np.testing.assert_array_equal(covered(box), inside_by_vtk(roi, volume))
    rotation = array_of(roi.GetObjectToNodeMatrix())[:3, :3]
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_dragged_box_is_where_it_was_dragged_to(a_volume_node) -> None:
    volume = a_volume_node("oblique", "rotated")
    roi = make_roi(volume)
    target = geometry_of(volume).to_ras((7, 6, 4))
    roi.SetNthControlPointPositionWorld(0, moved(world_from_local(volume), target).tolist())
    assert box_of(roi, volume).extent == Extent((3, 4, 5), (6, 9, 10))
