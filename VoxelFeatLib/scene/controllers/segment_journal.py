"""What the user does to the segments of one segmentation, and undo and redo of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.controllers.actions import Action, Actions
from VoxelFeatLib.scene.controllers.segment_results import SegmentClicks
from VoxelFeatLib.scene.nodes.click_nodes import ClickState
from VoxelFeatLib.scene.signal import Signal

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.segment_updater import Answer
    from VoxelFeatLib.scene.controllers.segment_workbench import SegmentWorkbench
    from VoxelFeatLib.scene.segments.removed_segments import RemovedSegment


class SegmentJournal:
    """Tells the user's actions from those that are brought back, and brings them back.

    Undo and redo wait until what was answered before is in place: they are done in steps.

    Args:
        bench: The segments' workbench.

    Attributes:
        acted: Emitted with a segment when the user has changed its clicks.
        travelled: Emitted with a segment when an action of it was undone or done again.
    """

    def __init__(self, bench: SegmentWorkbench) -> None:
        self.acted = Signal()
        self.travelled = Signal()
        self._bench = bench
        self._actions = Actions()
        self._replaying = False
        clicks = bench.clicks
        self._states = {name: clicks.state(name) for name in clicks.segment_ids()}
        clicks.changed.connect(self._on_clicks)

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to undo."""
        return self._actions.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is an action to do again."""
        return self._actions.can_redo

    def undo(self) -> None:
        """Take the last action back, with its result."""
        self._bench.later(self._travel(self._actions.undo, back=True))

    def redo(self) -> None:
        """Do the action again that was undone last."""
        self._bench.later(self._travel(self._actions.redo, back=False))

    def remove(self, segment_id: str) -> None:
        """Remove a segment with its clicks."""
        self._bench.later(self._remove(segment_id))

    def amend(self, answer: Answer) -> None:
        """Add to an action what its answer has changed."""
        self._actions.amend(
            answer.segment_id,
            self._bench.clicks.state(answer.segment_id),
            answer.differences,
            answer.answered_before,
            answer.answered,
        )

    def forget(self, segment_id: str) -> None:
        """Forget what was done to a segment that somebody else has removed."""
        self._actions.forget(segment_id)
        self._states.pop(segment_id, None)

    # ------------------------------------------------------------------ inside

    def _on_clicks(self, segment_id: str) -> None:
        before = self._states.get(segment_id, ClickState())
        after = self._bench.clicks.state(segment_id)
        self._states[segment_id] = after
        if self._replaying:
            return
        if not after.same(before):
            answered, drag = self._answered(segment_id), self._bench.clicks.drag
            self._actions.push(Action.of(segment_id, before, after, answered, drag))
        self.acted.emit(segment_id)

    def _answered(self, segment_id: str) -> SegmentClicks:
        result = self._bench.result(segment_id)
        return SegmentClicks() if result is None else result.answered

    def _travel(self, step: Callable[[], Action | None], *, back: bool) -> Iterator[None]:
        action = step()
        if action is None:
            return
        name, bench = action.segment_id, self._bench
        try:
            if action.removed is not None and not back:
                action.removed = yield from self._take_out(name)
            elif action.removed is not None:
                yield from bench.put_back(action.removed)
        except InputError as error:
            bench.message.emit(str(error))
            return
        if action.removed is None or back:
            with self._replayed():
                bench.clicks.set_state(name, action.before if back else action.after)
            yield from bench.travel(action, back=back)
        self.travelled.emit(name)

    def _remove(self, segment_id: str) -> Iterator[None]:
        state = self._bench.clicks.state(segment_id)
        action = Action.of(segment_id, state, ClickState(), self._answered(segment_id))
        try:
            action.removed = yield from self._take_out(segment_id)
        except InputError as error:
            self._bench.message.emit(str(error))
            return
        self._actions.push(action)
        self._bench.progressed.emit()

    def _take_out(self, segment_id: str) -> Generator[None, None, RemovedSegment]:
        with self._replayed():
            self._bench.clicks.remove_segment(segment_id)
        return (yield from self._bench.take_out(segment_id))

    @contextmanager
    def _replayed(self) -> Iterator[None]:
        """Take what happens inside for no action of the user's."""
        self._replaying = True
        try:
            yield
        finally:
            self._replaying = False
