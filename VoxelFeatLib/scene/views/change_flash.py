"""Shows for a moment which voxels an answer changed, as the slice views' label layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of, vtk_matrix
from VoxelFeatLib.scene.segments.bit_mask import BitMask
from VoxelFeatLib.scene.segments.last_change import LastChange
from VoxelFeatLib.segmenting.extent import Extent

if TYPE_CHECKING:
    from VoxelFeatLib.scene.timers import Cancel, Timers

_SECONDS = 1.2
# Changes that reach over more voxels are told in numbers only: drawing them would hold up clicks.
_MOST_VOXELS = 8 << 20
_JOINED, _LEFT = 1, 2
_COLORS = {_JOINED: (1.0, 0.85, 0.1), _LEFT: (0.95, 0.2, 0.85)}
_OPACITY = 0.75


class ChangeFlash:
    """Draws changed voxels over the slices and takes them away again.

    The node that shows them is made once, hidden and never saved. A label map that a view showed
    before is shown again afterwards.

    Args:
        scene: The vtkMRMLScene.
        timers: For taking them away.
    """

    def __init__(self, scene: Any, timers: Timers) -> None:
        self._scene = scene
        self._timers = timers
        self._node: Any = None
        self._before: list[tuple[Any, str | None, float]] = []
        self._cancel: Cancel | None = None

    @property
    def shown(self) -> bool:
        """Whether a change is shown just now."""
        return self._cancel is not None

    def show(self, change: LastChange, mask: BitMask, volume: Any) -> None:
        """Show what joined and what left a segment; nothing for large changes and none.

        Args:
            change: The change.
            mask: The segment after it.
            volume: The volume node.
        """
        self.clear()
        extent = change.extent
        if not 0 < extent.size <= _MOST_VOXELS:
            return
        labels = np.zeros(extent.shape, dtype=np.uint8)
        for part, joined, left in change.parts(mask):
            place = labels[part.within(extent)]
            place[joined] = _JOINED
            place[left] = _LEFT
        if self._node is None or self._node.GetScene() is None:
            self._node = self._made()
        self._fill(labels, extent, volume)
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
        for number in range(count):
            view = self._scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
            self._before.append((view, view.GetLabelVolumeID(), view.GetLabelOpacity()))
            view.SetLabelVolumeID(self._node.GetID())
            view.SetLabelOpacity(_OPACITY)
        self._cancel = self._timers.after(_SECONDS, self.clear)

    def clear(self) -> None:
        """Take away what is shown."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        before, self._before = self._before, []
        for view, label_id, opacity in before:
            if view.GetScene() is None or view.GetLabelVolumeID() != self._node.GetID():
                continue
            view.SetLabelVolumeID(label_id)
            view.SetLabelOpacity(opacity)

    def close(self) -> None:
        """Take everything away, for good."""
        self.clear()
        if self._node is not None and self._node.GetScene() is not None:
            display = self._node.GetDisplayNode()
            # The volume first: a view may still draw it with its colours.
            for node in (self._node, display, display.GetColorNode()):
                self._scene.RemoveNode(node)
        self._node = None

    def _fill(self, labels: Any, extent: Extent, volume: Any) -> None:
        image = vtk.vtkImageData()
        image.SetDimensions(*extent.shape[::-1])
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(labels.ravel(), deep=True))
        geometry = geometry_of(volume)
        first = [float(n) for n in extent.start_kji[::-1]]
        placed = geometry.ijk_to_ras.copy()
        placed[:3, 3] = geometry.to_ras(first)
        self._node.SetIJKToRASMatrix(vtk_matrix(placed))
        self._node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        self._node.SetAndObserveImageData(image)

    def _made(self) -> Any:
        colors = slicer.vtkMRMLColorTableNode()
        colors.SetTypeToUser()
        colors.SetNumberOfColors(len(_COLORS) + 1)
        colors.SetColor(0, "none", 0.0, 0.0, 0.0, 0.0)
        for value, color in _COLORS.items():
            colors.SetColor(value, f"{value}", *color, 1.0)
        display = slicer.vtkMRMLLabelMapVolumeDisplayNode()
        node = slicer.vtkMRMLLabelMapVolumeNode()
        for each, part in ((colors, " colors"), (display, " display"), (node, "")):
            each.SetName(f"VoxelFeat last change{part}")
            each.SetHideFromEditors(True)
            each.SetSaveWithScene(False)
            self._scene.AddNode(each)
        display.SetAndObserveColorNodeID(colors.GetID())
        node.SetAndObserveDisplayNodeID(display.GetID())
        return node
