"""How clicks come into the scene, and where they are in the world."""

from __future__ import annotations

import slicer
import vtk

from VoxelFeatLib.scene.nodes.click_nodes import ClickNodes

GEOMETRIES = [
    "plain",
    "lps",
    "flipped",
    "anisotropic",
    "sagittal",
    "oblique",
    "oblique, left-handed",
    "gantry tilt",
]
TRANSFORMS = ["none", "moved", "rotated", "scaled and sheared", "mirrored"]


def world_of_voxel(volume_node, voxel_kji) -> list[float]:
    """Where Slicer shows a voxel's centre, worked out by VTK and MRML."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    point = matrix.MultiplyPoint((*voxel_kji[::-1], 1))
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        volume_node.GetParentTransformNode(), None, to_world
    )
    return list(to_world.TransformPoint(point[:3]))


def place(clicks: ClickNodes, segment_id: str, world, *, positive: bool = True) -> None:
    """What Slicer's widget does: the point hangs at the mouse, then it is placed."""
    node = clicks.node_for(segment_id, positive=positive)
    before = node.StartModify()
    last = node.AddControlPointWorld(list(world))
    node.SetNthControlPointPositionWorld(last, list(world), node.PositionPreview)
    node.EndModify(before)
    node.SetNthControlPointPositionWorld(last, list(world), node.PositionDefined)
