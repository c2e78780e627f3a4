"""Masks to refine, taken from the scene on the grid they were made on, part by part."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.scene.nodes.volume_nodes import array_of, local_from_world
from VoxelFeatLib.scene.segments.labelmaps import LABELMAP, Labels, extent_of, matrix_of, voxels_of
from VoxelFeatLib.scene.segments.mask_packer import MaskPacker, as_message
from VoxelFeatLib.scene.segments.voxel_changes import moved_box
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker.protocol import Message

# Empty voxels around a cropped mask: its border must lie inside its grid.
_MARGIN = 2
# Voxels looked through at once, and voxels whose values are sorted at once.
_AT_ONCE = 4 << 20
_SORTED = 1 << 19


@dataclass(frozen=True, eq=False)
class CoarseMask:
    """A mask on a grid of its own.

    Attributes:
        name: For the user.
        message: The mask as messages carry it.
        ijk_to_ras: 4x4, into the volume's own space, mm.
        color: Red, green, blue, 0 to 1; None where the source has none.
    """

    name: str
    message: Message
    ijk_to_ras: FloatArray
    color: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class CoarseSource:
    """Where a mask is to be taken from.

    Attributes:
        name: For the user.
        image: The labelmap.
        label: The mask's value in it.
        ijk_to_ras: 4x4 from the indices of its extent, into the volume's own space, mm.
        color: As of the mask.
    """

    name: str
    image: Any
    label: int
    ijk_to_ras: FloatArray
    color: tuple[float, float, float] | None = None

    def take(self) -> Generator[None, None, CoarseMask]:
        """Take the mask, cropped to its voxels, by ``yield from``.

        Raises:
            InputError: It is empty, or the labelmap was changed meanwhile.
        """
        time, own = self._time(), extent_of(self.image)
        boxes: list[Extent] = []
        for slab in own.pieces(_AT_ONCE):
            found = moved_box(
                bounding_box(self._labels(time)[slab.within(own)] == self.label), slab
            )
            boxes += [] if found is None else [found]
            yield
        if not boxes:
            raise InputError(f"{self.name} has no voxel; choose another mask to refine.")
        box = Extent.of(
            np.min([found.start_kji for found in boxes], axis=0) - _MARGIN,
            np.max([found.stop_kji for found in boxes], axis=0) + _MARGIN,
        )
        packer = MaskPacker()
        for slab in box.pieces(_AT_ONCE):
            mask, shared = np.zeros(slab.shape, dtype=bool), slab.clipped(own)
            labels = self._labels(time)[shared.within(own)]
            mask[shared.within(slab)] = labels == self.label
            packer.add(mask)
            yield
        shift = np.eye(4)
        shift[:3, 3] = box.start_kji[::-1]
        message = as_message(packer.packed(Extent.whole(box.shape), box.shape))
        return CoarseMask(self.name, message, self.ijk_to_ras @ shift, self.color)

    def _time(self) -> int:
        scalars = self.image.GetPointData().GetScalars()
        return 0 if scalars is None else int(scalars.GetMTime())

    def _labels(self, time: int) -> Labels:
        if self._time() != time:
            raise InputError(f"{self.name} changed while it was read: press Refine again.")
        return voxels_of(self.image)


def of_segment(segmentation: Any, segment_id: str, volume: Any) -> CoarseSource:
    """Find a segment of a segmentation node.

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
    if not segmentation.GetSegmentation().ContainsRepresentation(LABELMAP):
        segmentation.CreateBinaryLabelmapRepresentation()
    image = segment.GetRepresentation(LABELMAP)
    if image is None or not voxels_of(image).size:
        raise InputError(f"{segment.GetName()} has no voxel; choose another mask to refine.")
    to_own = _to_own(segmentation, volume) @ matrix_of(image)
    return CoarseSource(
        segment.GetName(), image, segment.GetLabelValue(), to_own, tuple(segment.GetColor())
    )


def of_labelmap(node: Any, label: int, volume: Any) -> CoarseSource:
    """Find a label of a label map or scalar volume node.

    Args:
        node: The volume node that holds the labels.
        label: Which of them.
        volume: The volume that it is to be refined for; only its transform counts.

    Raises:
        InputError: The node holds no labels, or is under a transform that is not linear.
    """
    image = node.GetImageData()
    scalars = None if image is None else image.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfComponents() != 1:
        raise InputError(f"{node.GetName()} holds no labels; choose a label map.")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    to_own = _to_own(node, volume) @ array_of(matrix)
    return CoarseSource(f"{node.GetName()} {label}", image, label, to_own)


def labels_of(node: Any) -> Generator[None, None, list[int]]:
    """Find the labels that occur in a label map, without the background 0, by ``yield from``."""
    image = node.GetImageData()
    found: set[float] = set()
    if image is not None:
        own, time = extent_of(image), image.GetMTime()
        for slab in own.pieces(_SORTED):
            if image.GetMTime() != time:
                return (yield from labels_of(node))
            labels = voxels_of(image)[slab.within(own)]
            found.update(np.unique(labels[labels > 0]).tolist())
            yield
    return sorted(int(value) for value in found if value == int(value))


def _to_own(node: Any, volume: Any) -> FloatArray:
    """Return the map from a node's local space to the volume's own."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return local_from_world(volume)
    if not transform.IsTransformToWorldLinear():
        raise InputError(f"Harden or remove the non-linear transform of {node.GetName()} first.")
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return np.asarray(local_from_world(volume) @ array_of(matrix))
