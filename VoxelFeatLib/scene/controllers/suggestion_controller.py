"""Where to click next: leads from one suggested place of the selected segment to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from VoxelFeatLib.imaging.aliases import Position
from VoxelFeatLib.scene.nodes.volume_nodes import moved, world_from_local
from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.views.slices import jump
from VoxelFeatLib.scene.views.suggestion_marker import SuggestionMarker

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.field_controller import FieldController
    from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
    from VoxelFeatLib.scene.views.scribble_tool import SliceView


class SuggestionController:
    """Shows suggested places, one at a time and only when asked to.

    A place is shown until the segment gets another answer, or another segment is selected.

    Args:
        segment: Whose selected segment's suggestions are shown.
        field: The volume in whose own space they are.
        scene: The vtkMRMLScene.
        views: Returns the slice views, as (interactor, slice node).

    Attributes:
        changed: Emitted when another place is shown, or none any more.
    """

    def __init__(
        self,
        segment: SegmentController,
        field: FieldController,
        scene: Any,
        views: Callable[[], Iterable[SliceView]] = tuple,
    ) -> None:
        self.changed = Signal()
        self._segment = segment
        self._field = field
        self._scene = scene
        self._marker = SuggestionMarker(views)
        # The very suggestions of one answer: equal ones of another begin anew.
        self._walked: tuple[Position, ...] | None = None
        self._number = 0
        self._moves: tuple[Any, int] | None = None
        segment.changed.connect(self._on_segment)

    @property
    def known(self) -> bool:
        """Whether it is known where the selected segment is in doubt, be it nowhere."""
        return self._segment.suggestions is not None

    @property
    def count(self) -> int:
        """How many places are suggested for the selected segment."""
        return len(self._segment.suggestions or ())

    @property
    def number(self) -> int:
        """Which of them is shown, from 1 on; 0 for none."""
        return self._number if self._walked is self._segment.suggestions else 0

    def next(self) -> None:
        """Show the next place, after the last one the first; nothing where none is suggested.

        Raises:
            InputError: The volume is under a transform that is not linear.
        """
        walked = self._segment.suggestions
        if not walked:
            return
        number = self.number % len(walked) + 1
        world = self._world(walked[number - 1])
        self._forget()
        self._walked, self._number = walked, number
        volume = self._field.volume
        event = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._moves = (volume, volume.AddObserver(event, self._on_moved))
        jump(self._scene, world)
        self._marker.show(world)
        self.changed.emit()

    def clear(self) -> None:
        """Show none any more; the next one will be the first."""
        if self._number:
            self._forget()
            self.changed.emit()

    def close(self) -> None:
        """Show none any more, and listen no more."""
        self._segment.changed.disconnect(self._on_segment)
        self._forget()
        self.changed.clear()

    def _world(self, own: Position) -> Position:
        r, a, s = moved(world_from_local(self._field.volume), np.array([own]))[0].tolist()
        return r, a, s

    def _forget(self) -> None:
        self._marker.clear()
        if self._moves is not None:
            node, tag = self._moves
            node.RemoveObserver(tag)
        self._walked, self._number, self._moves = None, 0, None

    def _on_segment(self) -> None:
        if not self.number:
            self.clear()

    def _on_moved(self, _volume: Any, _event: str) -> None:
        """The volume was moved: no slice is moved for it, so the place need not be in sight."""
        self.clear()
