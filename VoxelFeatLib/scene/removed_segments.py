"""Segments taken out of a segmentation and put back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import slicer

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.scene.labelmaps import LABELMAP, extent_of, pieces, voxels_of
from VoxelFeatLib.scene.segment_writer import SegmentWriter
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

    def masks(self) -> Iterator[tuple[Extent, Mask]]:
        """Unpack its voxels, part by part."""
        for extent, part in self.parts:
            yield extent, part.mask()


def take_out(segmentation_node: Any, writer: SegmentWriter, segment_id: str) -> RemovedSegment:
    """Remove a segment.

    Args:
        segmentation_node: The vtkMRMLSegmentationNode.
        writer: Its writer, which forgets the segment.
        segment_id: Which segment.

    Returns:
        What ``put_back`` needs.

    Raises:
        InputError: There is no such segment, or a transform is not linear.
    """
    parts = tuple(
        (extent, PackedMask.of(mask)) for extent, mask in writer.slabs(segment_id) if mask.any()
    )
    segmentation = segmentation_node.GetSegmentation()
    segment = segmentation.GetSegment(segment_id)
    metadata = slicer.vtkSegment()
    metadata.DeepCopyMetadata(segment)
    display_node = segmentation_node.GetDisplayNode()
    display = {
        name: getattr(display_node, f"GetSegment{name}")(segment_id)
        for name in _DISPLAY
        if display_node is not None
    }
    index = segmentation.GetSegmentIndex(segment_id)
    _leave_labelmap(segmentation, segment_id)
    segmentation.RemoveSegment(segment_id)
    writer.removed(segment_id)
    return RemovedSegment(segment_id, metadata, index, display, parts)


def put_back(segmentation_node: Any, writer: SegmentWriter, removed: RemovedSegment) -> None:
    """Add a removed segment again, with its ID; its voxels are queued in the writer.

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
    for extent, mask in removed.masks():
        writer.queue(name, extent, mask, masked=False)


def _leave_labelmap(segmentation: Any, segment_id: str) -> None:
    """Take a segment's voxels out of a labelmap that it shares.

    Slicer would do that when the segment is removed, with two copies of the whole labelmap.
    """
    segment = segmentation.GetSegment(segment_id)
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
    for slab in pieces(own, _AT_ONCE):
        part = voxels_of(image)[slab.within(own)]
        part[part == value] = 0
    if (scalars := image.GetPointData().GetScalars()) is not None:
        scalars.Modified()
