"""Segments taken out of a segmentation and put back as they were."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import slicer

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.segments.labelmaps import LABELMAP, extent_of, voxels_of
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask

# What the display node keeps of each segment, as its getters and setters end.
_DISPLAY = (
    "Visibility",
    "Visibility3D",
    "Visibility2DFill",
    "Visibility2DOutline",
    "Opacity3D",
    "Opacity2DFill",
    "Opacity2DOutline",
)
# Voxels cleared at once.
_AT_ONCE = 4 << 20


@dataclass(frozen=True, eq=False)
class RemovedSegment:
    """A segment that is no longer in its segmentation.

    Attributes:
        segment_id: Its ID, under which it comes back.
        metadata: vtkSegment with its name, colour and tags (terminology, status, ...).
        index: Its place in the order of the segments.
        display: What the display node kept of it, by the ending of its methods.
        parts: Its voxels on the volume's grid.
    """

    segment_id: str
    metadata: Any
    index: int
    display: dict[str, Any]
    parts: tuple[tuple[Extent, PackedMask], ...]

    def nbytes(self) -> int:
        """Bytes held, about."""
        return 1000 + sum(len(part.bits) for _, part in self.parts)


def take_out(
    segmentation_node: Any, writer: SegmentWriter, segment_id: str
) -> Generator[None, None, RemovedSegment]:
    """Remove a segment, in steps; it is there until the last one.

    Args:
        segmentation_node: The vtkMRMLSegmentationNode.
        writer: Its writer, which forgets the segment.
        segment_id: Which segment.

    Returns:
        What ``put_back`` needs, by ``yield from``.

    Raises:
        InputError: There is no such segment (any more), or a transform is not linear.
    """
    while writer.step():
        yield
    parts = []
    for extent, mask in writer.slabs(segment_id):
        packed = PackedMask.of(mask)
        if not packed.empty:
            parts.append((extent, packed))
        yield
    segmentation = segmentation_node.GetSegmentation()
    yield from _leave_labelmap(segmentation, segment_id)
    segment = segmentation.GetSegment(segment_id)
    if segment is None:
        raise InputError("The segment has been removed already.")
    metadata = slicer.vtkSegment()
    metadata.DeepCopyMetadata(segment)
    display_node = segmentation_node.GetDisplayNode()
    display = {
        name: getattr(display_node, f"GetSegment{name}")(segment_id)
        for name in _DISPLAY
        if display_node is not None
    }
    index = segmentation.GetSegmentIndex(segment_id)
    segmentation.RemoveSegment(segment_id)
    writer.removed(segment_id)
    return RemovedSegment(segment_id, metadata, index, display, tuple(parts))


def put_back(
    segmentation_node: Any, writer: SegmentWriter, removed: RemovedSegment
) -> Generator[None, None, None]:
    """Add a removed segment again, with its ID, then its voxels in steps.

    Raises:
        InputError: There is a segment with its ID.
    """
    segmentation = segmentation_node.GetSegmentation()
    name = removed.segment_id
    if segmentation.GetSegment(name) is not None:
        raise InputError(f"There is a segment {removed.metadata.GetName()} already.")
    segmentation.AddEmptySegment(name, removed.metadata.GetName())
    segment = segmentation.GetSegment(name)
    label = segment.GetLabelValue()
    segment.DeepCopyMetadata(removed.metadata)
    segment.SetLabelValue(label)  # the one that its new labelmap has for it
    segmentation.SetSegmentIndex(name, min(removed.index, segmentation.GetNumberOfSegments() - 1))
    display_node = segmentation_node.GetDisplayNode()
    if display_node is not None:
        for ending, value in removed.display.items():
            getattr(display_node, f"SetSegment{ending}")(name, value)
    for extent, part in removed.parts:
        if segmentation.GetSegment(name) is None:
            return
        writer.queue(name, extent, part.mask(), masked=False)
        yield
    while writer.step():  # when all is queued: its labelmap grows once then
        yield


def _leave_labelmap(segmentation: Any, segment_id: str) -> Generator[None, None, None]:
    """Take a segment's voxels out of a labelmap that it shares.

    Slicer would do that when the segment is removed, with two copies of the whole labelmap.
    """
    segment = segmentation.GetSegment(segment_id)
    if segment is None:
        return
    image, value = segment.GetRepresentation(LABELMAP), segment.GetLabelValue()
    sharing = [
        other
        for other in segmentation.GetSegmentIDs()
        if segmentation.GetSegment(other).GetRepresentation(LABELMAP) is image
    ]
    if image is None or len(sharing) == 1:
        return
    segment.AddRepresentation(LABELMAP, slicer.vtkOrientedImageData())
    own = extent_of(image)
    for slab in own.pieces(_AT_ONCE):
        if extent_of(image) != own:
            return  # somebody has changed it
        part = voxels_of(image)[slab.within(own)]
        part[part == value] = 0
        yield
    if (scalars := image.GetPointData().GetScalars()) is not None:
        scalars.Modified()
