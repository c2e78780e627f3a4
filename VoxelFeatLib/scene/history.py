"""Undo and redo of what the user did: prompts with what they changed, and segments as a whole.

The history only remembers. Who holds it applies what ``undo`` and ``redo`` return: sets the
prompts, flips the differences in the mask and writes it, adds or removes the segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from VoxelFeatLib.scene.click_nodes import ClickState
from VoxelFeatLib.scene.removed_segments import RemovedSegment
from VoxelFeatLib.scene.segment_results import SegmentClicks
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import History, PackedMask

# About, of one position and of one action besides its masks.
_POSITION_BYTES = 100
_ACTION_BYTES = 500


@dataclass(frozen=True)
class Prompts:
    """All that a segment is asked for with.

    Attributes:
        clicks: Clicks and scribbles.
        box: Outside it nothing changes; None without a box.
        from_existing: Whether the segment starts from what it held before the first click.
    """

    clicks: ClickState = field(default_factory=ClickState)
    box: Extent | None = None
    from_existing: bool = False

    def nbytes(self) -> int:
        """Bytes held, about."""
        clicks = len(self.clicks.positive) + len(self.clicks.negative)
        strokes = sum(len(stroke.points) for stroke in self.clicks.scribbles)
        return _POSITION_BYTES * (clicks + strokes)


@dataclass(eq=False)
class PromptsChanged:
    """Clicks, scribbles, box or start of a segment were changed; its mask followed.

    Attributes:
        segment_id: The segment.
        before: Its prompts before.
        after: Its prompts afterwards.
        answered_before: The clicks that its mask answered before.
        answered_after: The clicks that it answers afterwards; None until there is an answer.
        differences: The voxels that the answer changed, in parts; flipping them all undoes it, and
            once more redoes it.
    """

    segment_id: str
    before: Prompts
    after: Prompts
    answered_before: SegmentClicks = field(default_factory=SegmentClicks)
    answered_after: SegmentClicks | None = None
    differences: list[PackedMask] = field(default_factory=list)

    def nbytes(self) -> int:
        """Bytes held, about."""
        masks = sum(len(part.bits) + _POSITION_BYTES for part in self.differences)
        return _ACTION_BYTES + self.before.nbytes() + self.after.nbytes() + masks


@dataclass(eq=False)
class SegmentRenamed:
    """A segment has got another name."""

    segment_id: str
    before: str
    after: str

    def nbytes(self) -> int:
        """Bytes held, about."""
        return _ACTION_BYTES


@dataclass(eq=False)
class SegmentAdded:
    """A segment was added; ``removed`` is set when that is undone, so that it can be redone.

    What a segment got after it was added is undone before, by the actions that followed.
    """

    segment_id: str
    removed: RemovedSegment | None = None

    def nbytes(self) -> int:
        """Bytes held, about."""
        return _ACTION_BYTES + (0 if self.removed is None else self.removed.nbytes())


@dataclass(eq=False)
class SegmentRemoved:
    """A segment was removed, with its prompts."""

    removed: RemovedSegment
    prompts: Prompts

    @property
    def segment_id(self) -> str:
        """The segment."""
        return self.removed.segment_id

    def nbytes(self) -> int:
        """Bytes held, about."""
        return _ACTION_BYTES + self.removed.nbytes() + self.prompts.nbytes()


Action = PromptsChanged | SegmentRenamed | SegmentAdded | SegmentRemoved


class SceneHistory:
    """What can be undone and redone, bounded in number and bytes.

    Args:
        most_actions: Actions that can be undone.
        most_bytes: Bytes that all actions may hold together; the newest is always kept.
    """

    def __init__(self, most_actions: int = 200, most_bytes: int = 128 << 20) -> None:
        self._history: History[Action] = History(most_actions, most_bytes)

    def push(self, action: Action) -> None:
        """Remember what was just done; what had been undone can no longer be redone."""
        self._history.push(action)

    def amend(
        self, action: Action, differences: Iterable[PackedMask], answered: SegmentClicks
    ) -> None:
        """Add the voxels that an action has turned out to change.

        The answer may come after later actions, and when the action was forgotten.

        Args:
            action: A change of prompts; nothing is added to others.
            differences: What the answer changed.
            answered: The clicks that the mask answers now.
        """
        if isinstance(action, PromptsChanged):
            action.differences.extend(part for part in differences if not part.empty)
            action.answered_after = answered
            self._history.trim()

    def newest(self) -> Action | None:
        """Return what would be undone next."""
        return self._history.newest()

    def undo(self) -> Action | None:
        """Return the action to be undone, which can then be redone; None when there is none."""
        return self._history.undo()

    def redo(self) -> Action | None:
        """Return the action to be done again; None when there is none."""
        return self._history.redo()

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return len(self._history) > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return self._history.can_redo

    def forget(self, segment_id: str) -> None:
        """Forget what was done to a segment that others have removed."""
        self._history.drop(lambda action: action.segment_id == segment_id)
