"""The labelmaps of a segmentation: which segments share one, and changes told to Slicer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.scene.segments.labelmaps import LABELMAP, Grid, labels_on
from VoxelFeatLib.segmenting.extent import Extent

_SURFACE = "Closed surface"


@dataclass(frozen=True, eq=False)
class Layer:
    """A labelmap and the label of each segment in it."""

    image: Any
    labels: dict[str, int]


class Layers:
    """Reads the labelmaps of a segmentation node, and tells others of changes to them.

    Slicer converts a changed segment's closed surface at once, which takes seconds for a large one;
    here that waits until ``update_surface`` is called.

    Args:
        segmentation_node: The vtkMRMLSegmentationNode.
    """

    def __init__(self, segmentation_node: Any) -> None:
        self._node = segmentation_node
        self._stamps: dict[str, tuple[int, tuple[object, ...]]] = {}
        self._changed: dict[str, None] = {}
        self._stale_surfaces: dict[str, None] = {}

    @property
    def segmentation(self) -> Any:
        """The vtkSegmentation."""
        return self._node.GetSegmentation()

    def check(self) -> None:
        """Check that segments are kept as binary labelmaps; an empty segmentation is made to.

        Raises:
            InputError: They are kept as something else.
        """
        segmentation = self.segmentation
        if segmentation.GetSourceRepresentationName() == LABELMAP:
            return
        if segmentation.GetNumberOfSegments():
            raise InputError(
                f"{self._node.GetName()} holds surfaces: make binary labelmaps their source "
                "representation (Segmentations module, Representations) first."
            )
        segmentation.SetSourceRepresentationName(LABELMAP)

    def segment(self, segment_id: str) -> Any:
        """Return the vtkSegment.

        Raises:
            InputError: There is none.
        """
        segment = self.segmentation.GetSegment(segment_id)
        if segment is None:
            raise InputError(f"{self._node.GetName()} has no segment {segment_id} any more.")
        return segment

    def image(self, segment_id: str) -> Any:
        """Return the labelmap that a segment is in; it may be shared, and empty."""
        segment = self.segment(segment_id)
        image = segment.GetRepresentation(LABELMAP)
        if image is None:
            image = slicer.vtkOrientedImageData()
            segment.AddRepresentation(LABELMAP, image)
        return image

    def all(self) -> list[Layer]:
        """Return every labelmap."""
        found: dict[Any, Layer] = {}
        for segment_id in self.segmentation.GetSegmentIDs():
            image = self.image(segment_id)
            layer = found.setdefault(image, Layer(image, {}))
            layer.labels[segment_id] = self.segment(segment_id).GetLabelValue()
        return list(found.values())

    def layer(self, segment_id: str) -> Layer:
        """Return the labelmap that a segment is in, and who shares it."""
        return next(layer for layer in self.all() if segment_id in layer.labels)

    def union(self, grid: Grid, segment_ids: Collection[str], extent: Extent) -> Mask:
        """Return the voxels of an extent that any of these segments holds."""
        result = np.zeros(extent.shape, dtype=bool)
        for layer in self.all():
            values = [value for name, value in layer.labels.items() if name in segment_ids]
            if not values:
                continue
            labels = labels_on(layer.image, grid, extent)
            if len(values) == len(layer.labels):
                result |= labels != 0
            else:
                result |= np.isin(labels, values)
        return result

    # Changes

    @contextmanager
    def changing(self, layers: Collection[Layer], segment_ids: Collection[str]) -> Iterator[None]:
        """Change voxels of labelmaps inside; afterwards they are marked as modified by us.

        Args:
            layers: The labelmaps that are changed.
            segment_ids: The segments that are not the same afterwards.
        """
        sharing = {name for layer in layers for name in layer.labels}
        for name in sharing:
            self.stamp(name)  # notices what others have changed until now
        yield
        for layer in layers:
            # Not the image's own Modified(): at its event Slicer throws away the closed surfaces of
            # all segments. The image counts as modified when its scalars are.
            if (scalars := layer.image.GetPointData().GetScalars()) is not None:
                scalars.Modified()
        for name in sharing:
            self._stamps[name] = (self._stamps[name][0], self._token(name))
        self._changed.update(dict.fromkeys(segment_ids))

    def tell(self) -> list[str]:
        """Tell observers which segments have changed since the last time; returns their IDs."""
        segmentation = self.segmentation
        changed = [name for name in self._changed if segmentation.GetSegment(name) is not None]
        self._changed.clear()
        for name in changed:
            segmentation.InvokeEvent(segmentation.SourceRepresentationModified, name)
            segmentation.InvokeEvent(segmentation.RepresentationModified, name)
        if changed and segmentation.ContainsRepresentation(_SURFACE):
            self._stale_surfaces.update(dict.fromkeys(changed))
        return changed

    def stamp(self, segment_id: str) -> int:
        """Return a number that is another one when others have changed a segment's labelmap."""
        token = self._token(segment_id)
        count, known = self._stamps.get(segment_id, (0, token))
        if known != token:
            count += 1
        self._stamps[segment_id] = (count, token)
        return count

    def _token(self, segment_id: str) -> tuple[object, ...]:
        # No two objects have the same modification time, so another labelmap is told as well.
        return (self.image(segment_id).GetMTime(), self.segment(segment_id).GetLabelValue())

    # Surfaces

    @property
    def surfaces_due(self) -> bool:
        """Whether 3D views show surfaces of segments as they were."""
        return bool(self._stale_surfaces)

    def update_surface(self) -> bool:
        """Convert one segment's closed surface anew; returns whether there are more."""
        if not self._stale_surfaces:
            return False
        name = next(iter(self._stale_surfaces))
        del self._stale_surfaces[name]
        segmentation = self.segmentation
        if segmentation.GetSegment(name) is not None:
            logic = slicer.vtkSlicerSegmentationsModuleLogic
            if logic.ReconvertAllRepresentations(self._node, [name]):
                segmentation.InvokeEvent(segmentation.RepresentationModified, name)
        return self.surfaces_due
