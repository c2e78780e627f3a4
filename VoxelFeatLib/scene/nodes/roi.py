"""A box in the scene, an ROI markup, as voxels of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import slicer

from VoxelFeatLib.imaging.aliases import FloatArray, Mask
from VoxelFeatLib.scene.nodes.markups import BOX_ATTRIBUTE
from VoxelFeatLib.scene.nodes.volume_nodes import (
    array_of,
    geometry_of,
    local_from_world,
    moved,
    vtk_matrix,
    world_from_local,
)
from VoxelFeatLib.segmenting.extent import Extent

# A new box holds this part of the volume along each axis.
_PART = 0.5
# A box is along the volume's axes if its edges leave them by less than this many voxels.
_ALONG = 0.05


@dataclass(frozen=True, eq=False)
class RoiBox:
    """A box in a volume.

    Attributes:
        extent: The voxels around it, clipped to the volume; may be empty.
        object_from_ijk: 4x4, into the box' own axes, where it reaches from -1 to 1.
        along: Whether its edges are along the volume's axes, so that the extent is the box.
    """

    extent: Extent
    object_from_ijk: FloatArray
    along: bool

    def inside(self, extent: Extent) -> Mask | None:
        """Return which voxels of an extent have their centre in the box; None where all have."""
        if self.along and extent.clipped(self.extent) == extent:
            return None
        axes = [
            np.arange(a, b, dtype=np.float64)
            for a, b in zip(extent.start_kji, extent.stop_kji, strict=True)
        ]
        mask: Mask = np.ones(extent.shape, dtype=bool)
        for row in self.object_from_ijk[:3]:
            k, j, i = (axis * factor for axis, factor in zip(axes, row[2::-1], strict=True))
            value = k[:, None, None] + j[None, :, None] + i[None, None, :] + row[3]
            mask &= np.abs(value) <= 1 + 1e-9
        return mask


def box_of(roi: Any, volume: Any) -> RoiBox:
    """Return the box of an ROI node.

    Args:
        roi: A vtkMRMLMarkupsROINode, under any linear transform.
        volume: The volume node.

    Raises:
        InputError: One of them is under a transform that is not linear.
    """
    geometry = geometry_of(volume)
    half = np.diag([*(max(edge, 1e-3) / 2 for edge in roi.GetSize()), 1.0])
    world = world_from_local(roi) @ array_of(roi.GetObjectToNodeMatrix()) @ half
    ijk_from_object = geometry.ras_to_ijk @ local_from_world(volume) @ world
    corners = moved(ijk_from_object, list(product((-1.0, 1.0), repeat=3)))
    start = np.ceil(corners.min(axis=0) - 1e-6).astype(int)
    stop = np.floor(corners.max(axis=0) + 1e-6).astype(int) + 1
    whole = Extent.whole(geometry.shape_kji)
    # Each edge goes along one axis of the volume: one large number in each column.
    edges = np.abs(ijk_from_object[:3, :3])
    return RoiBox(
        Extent.of(start[::-1].tolist(), stop[::-1].tolist()).clipped(whole),
        np.asarray(np.linalg.inv(ijk_from_object), dtype=np.float64),
        bool((np.sort(edges, axis=0)[:2] < _ALONG).all()),
    )


def find_roi(scene: Any) -> Any:
    """Return the ROI node that ``make_roi`` has added to a scene; None where there is none."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLMarkupsROINode")
        if node.GetAttribute(BOX_ATTRIBUTE):
            return node
    return None


def make_roi(volume: Any) -> Any:
    """Add an ROI node in the middle of a volume, along its axes and under its transform."""
    scene, geometry = volume.GetScene(), geometry_of(volume)
    node = slicer.vtkMRMLMarkupsROINode()
    node.SetName(scene.GenerateUniqueName(f"{volume.GetName()} box"))
    node.SetAttribute(BOX_ATTRIBUTE, "1")
    scene.AddNode(node)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    placed = np.eye(4)
    placed[:3, :3] = _right_handed(geometry.directions)
    placed[:3, 3] = geometry.centre_ras
    node.SetROIType(slicer.vtkMRMLMarkupsROINode.ROITypeBox)
    node.SetAndObserveObjectToNodeMatrix(vtk_matrix(placed))
    size = geometry.spacing * np.array(geometry.shape_kji[::-1]) * _PART
    node.SetSize(*size.tolist())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetFillVisibility(False)
    display.SetPropertiesLabelVisibility(False)  # it would lie over the middle of the image
    display.SetHandlesInteractive(True)
    return node


def _right_handed(directions: FloatArray) -> FloatArray:
    axes = directions.copy()
    if np.linalg.det(axes) < 0:
        axes[:, 2] *= -1
    return axes
