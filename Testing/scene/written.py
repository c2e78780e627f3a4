"""Masks of segments, and how Slicer itself reads, edits and keeps them."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from VoxelFeatLib.segmenting.extent import Extent

SHAPE = (7, 9, 11)
WHOLE = Extent.whole(SHAPE)
A, B = "liver", "spleen"


def mask_of(*boxes: tuple[tuple[int, int, int], tuple[int, int, int]]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    for start, stop in boxes:
        mask[Extent(start, stop).slices] = True
    return mask


LEFT = mask_of(((1, 2, 1), (5, 7, 6)))
RIGHT = mask_of(((2, 1, 4), (6, 8, 10)))
BOTH = LEFT & RIGHT


def by_slicer(node, segment_id, volume_node):
    """A segment's voxels on a volume's grid as Slicer itself resamples and exports them."""
    ids = vtk.vtkStringArray()
    ids.InsertNextValue(segment_id)
    labelmap = node.GetScene().AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
        node, ids, labelmap, volume_node
    )
    image = labelmap.GetImageData()
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    node.GetScene().RemoveNode(labelmap)
    return voxels.reshape(image.GetDimensions()[::-1]) != 0


def in_world(node, ijk_to_local, ijk):
    """World positions of voxels, through a node's parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
    world = np.array(matrix.GetData()).reshape(4, 4) @ ijk_to_local
    return ijk @ world[:3, :3].T + world[:3, 3]


def segment_positions(node, segment_id):
    """World positions of a segment's voxels, in the order of their indices."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    found = np.argwhere(voxels.reshape(image.GetDimensions()[::-1]))[:, ::-1]
    first = np.array(image.GetExtent()[::2])
    return in_world(node, np.array(matrix.GetData()).reshape(4, 4), found + first)


def edit(node, segment_id, mask, volume_node):
    """Change a segment as the Segment Editor's effects do."""
    labelmap = slicer.vtkOrientedImageData()
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    labelmap.SetImageToWorldMatrix(matrix)
    labelmap.SetDimensions(*mask.shape[::-1])
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars())[:] = mask.ravel()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(
        labelmap, node, segment_id, logic.MODE_REPLACE, None, False, []
    )


def layers(node):
    segmentation = node.GetSegmentation()
    return {
        segmentation.GetSegment(name).GetRepresentation("Binary labelmap")
        for name in segmentation.GetSegmentIDs()
    }


def coarse_labelmap(volume_node):
    """A labelmap of voxels twice as large along i and j, set but for its first slice."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    scale = vtk.vtkMatrix4x4()
    for axis, (factor, shift) in enumerate([(2, 0.5), (2, 0.5), (1, 0)]):
        scale.SetElement(axis, axis, factor)
        scale.SetElement(axis, 3, shift)
    vtk.vtkMatrix4x4.Multiply4x4(matrix, scale, matrix)
    labelmap = slicer.vtkOrientedImageData()
    labelmap.SetImageToWorldMatrix(matrix)
    labelmap.SetExtent(0, 3, 0, 3, 0, 6)
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels = numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars())
    voxels[:] = 1
    voxels[:16] = 0
    return labelmap


COARSE = mask_of(((1, 0, 0), (7, 8, 8)))
