"""Segmentation nodes and their segments, made as Slicer's own modules make them."""

from __future__ import annotations

from typing import Any

from VoxelFeatLib.imaging.aliases import Color


def new_segmentation(scene: Any, volume: Any) -> Any:
    """Add a segmentation node on a volume's grid, under its transform.

    Args:
        scene: The vtkMRMLScene.
        volume: The volume node.

    Returns:
        The vtkMRMLSegmentationNode, without segments.
    """
    name = scene.GenerateUniqueName(f"{volume.GetName()} segmentation")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    belong(node, volume)
    return node


def belong(segmentation: Any, volume: Any) -> None:
    """Put a segmentation without segments on a volume's grid and under its transform."""
    if segmentation.GetDisplayNode() is None:
        segmentation.CreateDefaultDisplayNodes()
    if segmentation.GetSegmentation().GetNumberOfSegments() == 0:
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())


def add_segment(segmentation: Any, name: str = "", color: Color | None = None) -> str:
    """Add an empty segment.

    Args:
        segmentation: The segmentation node.
        name: Of the segment, made unique; Slicer's own choice when empty.
        color: Red, green, blue, 0 to 1; Slicer's own choice when None.

    Returns:
        The segment's id.
    """
    segments = segmentation.GetSegmentation()
    names = {segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())}
    unique, number = name, 2
    while unique and unique in names:
        unique, number = f"{name} {number}", number + 1
    segment_id = str(segments.AddEmptySegment("", unique))
    if color is not None:
        segments.GetSegment(segment_id).SetColor(*color)
    return segment_id


def segment_ids(segmentation: Any) -> list[str]:
    """Return the ids of all segments, in their order."""
    segments = segmentation.GetSegmentation()
    return [str(segments.GetNthSegmentID(n)) for n in range(segments.GetNumberOfSegments())]
