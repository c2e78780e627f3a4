"""Shows for a moment which voxels an answer changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from VoxelFeatLib.imaging.aliases import Color
from VoxelFeatLib.scene import segmentations
from VoxelFeatLib.scene.bit_mask import BitMask
from VoxelFeatLib.scene.last_change import LastChange
from VoxelFeatLib.scene.segment_writer import SegmentWriter

if TYPE_CHECKING:
    from VoxelFeatLib.scene.timers import Cancel, Timers

_SECONDS = 1.2
# Changes that reach over more voxels are told in numbers only: drawing them would hold up clicks.
_MOST_VOXELS = 4 << 20
_JOINED: Color = (1.0, 0.85, 0.1)
_LEFT: Color = (0.95, 0.2, 0.85)
_OPACITY = 0.75


class ChangeFlash:
    """Draws changed voxels over the slices and takes them away again.

    Args:
        scene: The vtkMRMLScene.
        timers: For taking them away.
    """

    def __init__(self, scene: Any, timers: Timers) -> None:
        self._scene = scene
        self._timers = timers
        self._node: Any = None
        self._cancel: Cancel | None = None

    def show(self, change: LastChange, mask: BitMask, volume: Any) -> None:
        """Show what joined and what left a segment; nothing for large changes and none.

        Args:
            change: The change.
            mask: The segment after it.
            volume: The volume node.
        """
        self.clear()
        if not 0 < change.size <= _MOST_VOXELS:
            return
        self._node = node = self._make(volume)
        joined = segmentations.add_segment(node, "joined", _JOINED)
        left = segmentations.add_segment(node, "left", _LEFT)
        writer = SegmentWriter(node, volume)
        for extent, added, removed in change.parts(mask):
            writer.queue(joined, extent, added)
            writer.queue(left, extent, removed)
        while writer.step():
            pass
        self._cancel = self._timers.after(_SECONDS, self.clear)

    def clear(self) -> None:
        """Take away what is shown."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        node, self._node = self._node, None
        if node is not None and node.GetScene() is not None:
            self._scene.RemoveNode(node.GetDisplayNode())
            self._scene.RemoveNode(node)

    def _make(self, volume: Any) -> Any:
        node = self._scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        node.UnRegister(None)
        node.SetName("VoxelFeat: last change")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self._scene.AddNode(node)
        segmentations.belong(node, volume)
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetOpacity2DFill(_OPACITY)
        display.SetOpacity2DOutline(1.0)
        display.SetVisibility3D(False)
        return node
