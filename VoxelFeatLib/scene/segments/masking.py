"""Where a segment may be changed and whom it may overwrite, as the Segment Editor says."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import slicer
import vtk

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.scene.segments.labelmaps import Grid, place, resampled
from VoxelFeatLib.segmenting.extent import Extent

# Returns the voxels of an extent that any of these segments holds.
Union = Callable[[Collection[str], Extent], Mask]

_Mode = slicer.vtkMRMLSegmentationNode
_INSIDE = (
    _Mode.EditAllowedInsideAllSegments,
    _Mode.EditAllowedInsideVisibleSegments,
    _Mode.EditAllowedInsideSingleSegment,
)
_EVERYWHERE: Mask = np.ones((1, 1, 1), dtype=bool)
_VISIBLE = (_Mode.EditAllowedInsideVisibleSegments, _Mode.EditAllowedOutsideVisibleSegments)


class Masking:
    """The masking options of a Segment Editor node for one segmentation.

    Args:
        segmentation_node: The vtkMRMLSegmentationNode.
        editor_node: The vtkMRMLSegmentEditorNode; None: everywhere is editable and no other
            segment is overwritten.
    """

    def __init__(self, segmentation_node: Any, editor_node: Any | None) -> None:
        self._segmentation_node = segmentation_node
        self._editor_node = editor_node

    def overwritten(self, segment_id: str) -> set[str]:
        """Return the segments that lose the voxels that a segment gains."""
        editor = self._editor_node
        if editor is None or editor.GetOverwriteMode() == editor.OverwriteNone:
            return set()
        visible = editor.GetOverwriteMode() == editor.OverwriteVisibleSegments
        return set(self._visible() if visible else self._all()) - {segment_id}

    def editable(self, segment_id: str, grid: Grid, extent: Extent, union: Union) -> Mask:
        """Return where a segment may gain and lose voxels, (k, j, i) of an extent or one for all.

        The area given by segments counts only while the editor works on this segmentation, since
        it means that one's segments.

        Args:
            segment_id: Which segment is to be changed.
            grid: The volume's grid.
            extent: Which voxels.
            union: Returns the voxels of segments.

        Returns:
            The mask, which fits the extent's shape by numpy's rules.
        """
        return self._area(segment_id, extent, union) & self._intensities(grid, extent)

    def _area(self, segment_id: str, extent: Extent, union: Union) -> Mask:
        editor = self._editor_node
        if editor is None or editor.GetSegmentationNode() not in {None, self._segmentation_node}:
            return _EVERYWHERE
        mode = editor.GetMaskMode()
        if mode == _Mode.EditAllowedEverywhere:
            return _EVERYWHERE
        if mode == _Mode.EditAllowedInsideSingleSegment:
            inside = {editor.GetMaskSegmentID()} & set(self._all())
        else:
            inside = set(self._visible() if mode in _VISIBLE else self._all())
        if mode in _INSIDE:
            return union(inside, extent)
        return ~union(inside - {segment_id}, extent)

    def _intensities(self, grid: Grid, extent: Extent) -> Mask:
        editor = self._editor_node
        if editor is None or not editor.GetSourceVolumeIntensityMask():
            return _EVERYWHERE
        node = editor.GetSourceVolumeNode()
        if node is None or node.GetImageData() is None:
            return _EVERYWHERE
        source = slicer.vtkOrientedImageData()
        # The image's own method: the derived one would look for directions, which it has not.
        vtk.vtkImageData.ShallowCopy(source, node.GetImageData())
        source.SetExtent(*(end for n in node.GetImageData().GetDimensions() for end in (0, n - 1)))
        place(source, Grid.of(self._segmentation_node, node).ijk_to_local)
        outside = node.GetImageBackgroundScalarComponentAsDouble(0)
        values = resampled(source, grid, extent, linear=True, outside=outside)
        low, high = editor.GetSourceVolumeIntensityMaskRange()
        within: Mask = (values >= low) & (values <= high)
        return within

    def _all(self) -> tuple[str, ...]:
        return tuple(self._segmentation_node.GetSegmentation().GetSegmentIDs())

    def _visible(self) -> tuple[str, ...]:
        display = self._segmentation_node.GetDisplayNode()
        if display is None:
            return ()
        return tuple(name for name in self._all() if display.GetSegmentVisibility(name))
