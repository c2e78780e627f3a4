"""Masks to refine, taken from the scene on the grid they were made on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray, Mask
from VoxelFeatLib.scene.volume_nodes import local_from_world

# Empty voxels around a cropped mask: its border must lie inside its grid.
_MARGIN = 2


@dataclass(frozen=True, eq=False)
class CoarseMask:
    """A mask on a grid of its own.

    Attributes:
        name: For the user.
        mask: (K, J, I).
        ijk_to_ras: 4x4, into the volume's own space, mm.
        color: Red, green, blue, 0 to 1; None where the source has none.
    """

    name: str
    mask: Mask
    ijk_to_ras: FloatArray
    color: tuple[float, float, float] | None = None


def of_segment(segmentation: Any, segment_id: str, volume: Any) -> CoarseMask:
    """Take a segment of a segmentation node.

    Args:
        segmentation: The vtkMRMLSegmentationNode.
        segment_id: Which segment.
        volume: The volume that it is to be refined for; only its transform counts.

    Raises:
        InputError: There is no such segment, it is empty, or under a transform that is not linear.
    """
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise InputError("Choose the segment to refine.")
    image = slicer.vtkOrientedImageData()
    if not segmentation.GetSegmentation().ContainsRepresentation("Binary labelmap"):
        segmentation.CreateBinaryLabelmapRepresentation()
    found = segmentation.GetBinaryLabelmapRepresentation(segment_id, image)
    if not found or image.GetPointData().GetScalars() is None:
        raise InputError(f"The segment {segment.GetName()} is empty; choose another one.")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)  # from its extent's indices, which need not start at 0
    first = np.eye(4)
    first[:3, 3] = np.asarray(image.GetExtent())[::2]
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    mask = voxels.reshape(image.GetDimensions()[::-1]) != 0
    return _cropped(
        segment.GetName(),
        mask,
        _to_own(segmentation, volume) @ _array(matrix) @ first,
        tuple(segment.GetColor()),
    )


def of_labelmap(node: Any, label: int, volume: Any) -> CoarseMask:
    """Take the voxels of one label of a label map or scalar volume node.

    Args:
        node: The volume node that holds the labels.
        label: Which of them.
        volume: The volume that it is to be refined for; only its transform counts.

    Raises:
        InputError: The label does not occur, or the node is under a transform that is not linear.
    """
    image = node.GetImageData()
    scalars = None if image is None else image.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfComponents() != 1:
        raise InputError(f"{node.GetName()} holds no labels; choose a label map.")
    labels = numpy_support.vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    name = f"{node.GetName()} {label}"
    return _cropped(name, labels == label, _to_own(node, volume) @ _array(matrix), None)


def labels_of(node: Any) -> list[int]:
    """Return the labels that occur in a label map, without the background 0."""
    image = node.GetImageData()
    scalars = None if image is None else image.GetPointData().GetScalars()
    if scalars is None:
        return []
    values = np.unique(numpy_support.vtk_to_numpy(scalars))
    return [int(value) for value in values if value > 0 and value == int(value)]


def _cropped(
    name: str, mask: Mask, ijk_to_ras: FloatArray, color: tuple[float, float, float] | None
) -> CoarseMask:
    used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not used[0].size:
        raise InputError(f"{name} has no voxel; choose another mask to refine.")
    box = tuple(slice(int(u[0]), int(u[-1]) + 1) for u in used)
    shift = np.eye(4)
    shift[:3, 3] = [u[0] - _MARGIN for u in reversed(used)]
    return CoarseMask(name, np.pad(mask[box], _MARGIN), ijk_to_ras @ shift, color)


def _to_own(node: Any, volume: Any) -> FloatArray:
    """Return the map from a node's local space to the volume's own."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return local_from_world(volume)
    if not transform.IsTransformToWorldLinear():
        raise InputError(f"Harden or remove the non-linear transform of {node.GetName()} first.")
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return np.asarray(local_from_world(volume) @ _array(matrix))


def _array(matrix: vtk.vtkMatrix4x4) -> FloatArray:
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
