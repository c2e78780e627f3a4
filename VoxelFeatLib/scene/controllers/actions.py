"""What the user did to the clicks of segments, and what became of it, for undo and redo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from VoxelFeatLib.scene.controllers.segment_results import SegmentClicks
from VoxelFeatLib.scene.nodes.click_nodes import ClickState
from VoxelFeatLib.scene.segments.removed_segments import RemovedSegment
from VoxelFeatLib.segmenting.history import History, PackedMask

# Bytes that a position takes.
_POSITION = 24


@dataclass
class Action:
    """A change of a segment's clicks, with how its mask changed until the next action.

    Attributes:
        segment_id: The segment.
        before: Its clicks before.
        after: Its clicks after.
        answered_before: The clicks that its mask answered before.
        answered_after: The clicks that it answers after; as before until there is an answer.
        changes: Voxels that changed, in order.
        known: Whether ``changes`` leads from the mask before to the one after; where not, the
            clicks alone are brought back, and the segment is asked for.
        removed: The segment itself, where the action was to remove it.
        drag: The number of the drag that it is; 0 for what is none.
    """

    segment_id: str
    before: ClickState
    after: ClickState
    answered_before: SegmentClicks
    answered_after: SegmentClicks
    changes: list[PackedMask] = field(default_factory=list)
    known: bool = False
    removed: RemovedSegment | None = None
    drag: int = 0

    @classmethod
    def of(
        cls,
        segment_id: str,
        before: ClickState,
        after: ClickState,
        answered: SegmentClicks,
        drag: int = 0,
    ) -> Action:
        """Return an action whose result is not known yet."""
        return cls(segment_id, before, after, answered, answered, drag=drag)

    def nbytes(self) -> int:
        """Bytes held, about."""
        positions = sum(
            len(state.positive) + len(state.negative) + sum(len(s.points) for s in state.scribbles)
            for state in (self.before, self.after)
        )
        positions += self.answered_before.count + self.answered_after.count
        own = 0 if self.removed is None else self.removed.nbytes()
        return _POSITION * positions + sum(len(change.bits) for change in self.changes) + own


class Actions:
    """Actions done and undone, bounded in number and bytes."""

    def __init__(self) -> None:
        self._history: History[Action] = History()

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to undo."""
        return len(self._history) > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an action to do again."""
        return self._history.can_redo

    def push(self, action: Action) -> None:
        """Remember an action; what was undone cannot be done again any more.

        The moves of one drag are one action.
        """
        latest = self._history.newest()
        same = latest is not None and latest.segment_id == action.segment_id
        if latest is not None and same and action.drag and latest.drag == action.drag:
            latest.after = action.after
        else:
            self._history.push(action)

    def amend(
        self,
        segment_id: str,
        state: ClickState,
        changes: Sequence[PackedMask],
        answered_before: SegmentClicks,
        answered: SegmentClicks,
    ) -> None:
        """Add what an answer changed to the latest action of its segment.

        An answer to no action, such as one to another switch, becomes an action of its own.
        """
        latest = next((a for a in self._history.done() if a.segment_id == segment_id), None)
        if latest is None:
            if not changes:
                return
            latest = Action.of(segment_id, state, state, answered_before)
            self._history.push(latest)
        latest.changes.extend(changes)
        latest.answered_after = answered
        latest.known = True
        self._history.trim()
        # What was undone differs from a mask that is no more.
        for action in self._history.undone():
            if action.segment_id == segment_id and changes:
                action.changes.clear()
                action.known = False

    def undo(self) -> Action | None:
        """Return the latest action, which counts as undone now; None when there is none."""
        return self._history.undo()

    def redo(self) -> Action | None:
        """Return the action undone last, which counts as done again; None when there is none."""
        return self._history.redo()

    def forget(self, segment_id: str) -> None:
        """Drop the actions of a segment that is no more."""
        self._history.drop(lambda action: action.segment_id == segment_id)
