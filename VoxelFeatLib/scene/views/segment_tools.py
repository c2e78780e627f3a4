"""What the mouse does in the views: placing clicks, drawing strokes, a box."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import vtk

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.scene.nodes.markups import take_away
from VoxelFeatLib.scene.nodes.roi import box_of, find_roi, make_roi
from VoxelFeatLib.scene.segments.limits import Limits
from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.timers import Latest, Timers
from VoxelFeatLib.scene.views.place import Placing
from VoxelFeatLib.scene.views.scribble_tool import ScribbleTool, SliceView
from VoxelFeatLib.scene.views.slices import mapped_slice_nodes

# Seconds after the last move of the box until segments follow.
_SETTLED = 0.3


class SegmentTools:
    """One tool at a time, and a box beside it.

    Args:
        scene: The vtkMRMLScene.
        timers: For what is done a moment later.
        views: Returns the slice views, as (interactor, slice node).
        on_stroke: Called with the (N, 3) world positions of a stroke and its sign.

    Attributes:
        changed: Emitted when a tool was switched on or off.
        box_changed: Emitted a moment after the box has moved, come or gone.
        box_node: The ROI node outside of which nothing changes; None for none.
    """

    def __init__(
        self,
        scene: Any,
        timers: Timers,
        views: Callable[[], Iterable[SliceView]],
        on_stroke: Callable[[FloatArray, bool], None],
    ) -> None:
        self.changed = Signal()
        self.box_changed = Signal()
        self.box_node: Any = None
        self._scene = scene
        self._views = views
        self._placing: bool | None = None
        self._place = Placing(scene)
        self._place.stopped.connect(self._on_place_stopped)
        self._scribbling: bool | None = None
        self._pen = ScribbleTool(lambda points: on_stroke(points, bool(self._scribbling)))
        self._box_tags: list[tuple[Any, int]] = []
        self._box_settled = Latest(timers, _SETTLED, self.box_changed.emit)

    # ------------------------------------------------------------------ clicks and strokes

    @property
    def placing(self) -> bool | None:
        """The sign of the clicks that are being placed; None while none are."""
        return self._placing

    @property
    def scribbling(self) -> bool | None:
        """The sign of the strokes that are being drawn; None while none are."""
        return self._scribbling

    def place(self, positive: bool | None) -> None:
        """Get ready to place clicks of a sign, into what ``aim`` is told; None stops."""
        self._placing = positive
        if positive is None:
            self._place.stop()
        self.changed.emit()

    def aim(self, node: Any) -> None:
        """Have clicks go into this markups node from now on."""
        if self._placing is not None and node is not self._place.node:
            self._place.start(node)

    def scribble(self, positive: bool | None) -> None:
        """Have the left button draw strokes of a sign; None stops."""
        self._scribbling = positive
        if positive is None:
            self._pen.stop()
        else:
            self._pen.start(self._views(), positive=positive)
        self.changed.emit()

    def stop(self) -> None:
        """Stop placing and drawing."""
        if self._placing is not None:
            self.place(None)
        if self._scribbling is not None:
            self.scribble(None)

    def slice_nodes(self) -> list[Any]:
        """Return the slice nodes of the views that the layout shows."""
        return mapped_slice_nodes(self._scene)

    def _on_place_stopped(self) -> None:
        self._placing = None
        self.changed.emit()

    # ------------------------------------------------------------------ the box

    def make_box(self, volume: Any) -> None:
        """Add a box in the middle of a volume, and use it."""
        if self.box_node is None:
            self.use_box(make_roi(volume))

    def find_box(self) -> None:
        """Use the box that is in the scene, as in one that was saved, or after a reload."""
        if self.box_node is None:
            self.use_box(find_roi(self._scene))

    def use_box(self, node: Any) -> None:
        """Use an ROI node as the box; None for none: the node that was used is removed."""
        if node is self.box_node:
            return
        for observed, tag in self._box_tags:
            observed.RemoveObserver(tag)
        self._box_tags.clear()
        before, self.box_node = self.box_node, node
        if node is None and before.GetScene() is not None:
            take_away(before)
        if node is not None:
            for event in (vtk.vtkCommand.ModifiedEvent, node.PointModifiedEvent):
                self._box_tags.append(
                    (node, node.AddObserver(event, lambda *_: self._box_settled.request()))
                )
            removed = self._scene.AddObserver(self._scene.NodeRemovedEvent, self._on_removed)
            self._box_tags.append((self._scene, removed))
        self._box_settled.request()
        self.changed.emit()

    def limits(self, volume: Any, *, local: bool) -> Limits:
        """Return what a segment of a volume may become.

        Args:
            volume: The volume node.
            local: Keep only components that a positive click touches.

        Raises:
            InputError: The box is outside of the volume.
        """
        if self.box_node is None:
            return Limits(local)
        found = box_of(self.box_node, volume)
        if not found.extent.size:
            raise InputError("The box is outside the volume: drag it inside, or remove it.")
        return Limits(local, found.extent, found.inside)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removed(self, _scene: Any, _event: str, node: Any) -> None:
        if node is self.box_node:
            self.use_box(None)

    def close(self) -> None:
        """Stop all tools and listen no more; the box stays in the scene."""
        self.stop()
        self._place.close()
        self._box_settled.cancel()
        for observed, tag in self._box_tags:
            observed.RemoveObserver(tag)
        self._box_tags.clear()
        self.changed.clear()
        self.box_changed.clear()
