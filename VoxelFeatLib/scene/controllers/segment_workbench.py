"""One segmentation on one volume: its clicks, its results, and how the two are kept in step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask, Position
from VoxelFeatLib.scene.controllers.actions import Action
from VoxelFeatLib.scene.controllers.segment_results import SegmentClicks, SegmentResult
from VoxelFeatLib.scene.controllers.segment_updater import (
    Answer,
    Question,
    SegmentUpdater,
)
from VoxelFeatLib.scene.nodes.base_masks import BaseMasks
from VoxelFeatLib.scene.nodes.click_nodes import ClickNodes
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of
from VoxelFeatLib.scene.segments.limits import Limits
from VoxelFeatLib.scene.segments.removed_segments import RemovedSegment, put_back, take_out
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.steps import StepQueue
from VoxelFeatLib.scene.timers import Latest, Timers
from VoxelFeatLib.scene.views.slices import visible_extents
from VoxelFeatLib.segmenting.extent import Extent

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink

_OUTSIDE = "A click outside the volume is left out: drag it inside."
_NOTHING = "The segment is empty: there is nothing to start from."


class SegmentWorkbench:
    """Asks the worker for segments, and shows and remembers what it answers.

    Args:
        segmentation: The segmentation node.
        volume: The volume node.
        editor: The vtkMRMLSegmentEditorNode whose masking is respected; None for none.
        link: The worker.
        timers: For work in pieces.
        limits: Returns the limits for the segment that is asked for.
        slice_nodes: Returns the slice nodes that are visible.

    Attributes:
        clicks: The clicks in the scene.
        geometry: The volume's.
        segmentation: The segmentation node.
        answered: Emitted with an ``Answer`` when it is in place.
        failed: Emitted with an error's map when there is no answer.
        message: Emitted with one sentence for the user.
        progressed: Emitted when work was begun or is done.

    Raises:
        InputError: The volume or the segmentation cannot be used as they are.
    """

    def __init__(
        self,
        segmentation: Any,
        volume: Any,
        editor: Any,
        link: WorkerLink,
        timers: Timers,
        *,
        limits: Callable[[], Limits],
        slice_nodes: Callable[[], list[Any]],
    ) -> None:
        self.answered = Signal()
        self.failed = Signal()
        self.message = Signal()
        self.progressed = Signal()
        self.geometry = geometry_of(volume)
        self.segmentation = segmentation
        self._segments = segmentation.GetSegmentation()
        self._volume = volume
        self._limits = limits
        self._slice_nodes = slice_nodes
        self._writer = SegmentWriter(segmentation, volume, editor)
        self.clicks = ClickNodes(segmentation, volume)
        self.clicks.changed.connect(self._on_clicks)
        self._bases = BaseMasks(segmentation, volume, self.geometry.shape_kji)
        self._steps = StepQueue(timers)
        self._steps.emptied.connect(self.progressed.emit)
        self._updater = SegmentUpdater(
            link, self._steps, self._write, self._on_answer, self._on_failure
        )
        self._stamps: dict[str, object] = {}
        self._drawing = False
        self._asked: dict[str, bool] = {}
        self._ask_soon = Latest(timers, 0.0, self._begin)

    @property
    def busy(self) -> bool:
        """Whether anything is being worked out or written."""
        return bool(self._asked) or self._updater.busy

    def result(self, segment_id: str) -> SegmentResult | None:
        """Return what is accepted for a segment; None when it was never looked at."""
        return self._updater.results.get(segment_id)

    # ------------------------------------------------------------------ asking

    def ask(self, segment_id: str, *, fresh: bool = False) -> None:
        """Have a segment brought up to date soon; many calls in a moment are one request."""
        self._asked[segment_id] = fresh or self._asked.get(segment_id, False)
        self._ask_soon.request()

    def cancel(self) -> None:
        """Stop what is being worked out; segments stay as they were accepted."""
        self._updater.cancel()

    def show(self, segment_id: str, extents: list[Extent]) -> None:
        """Show the accepted mask in these extents."""
        self._updater.show(segment_id, extents)

    def later(self, work: Iterator[object]) -> None:
        """Have work done in steps, after what has been answered until now is in place."""
        self._steps.add(work)
        self.progressed.emit()

    def look(self, segment_id: str) -> None:
        """Learn what a segment is in the scene, without asking for it."""
        self._steps.add(self._look(segment_id))

    def _on_clicks(self, segment_id: str) -> None:
        if (result := self.result(segment_id)) is not None:
            result.suggestions = None

    def _begin(self) -> None:
        asked, self._asked = self._asked, {}
        for segment_id, fresh in asked.items():
            self._steps.add(self._request(segment_id, fresh=fresh))

    def _request(self, segment_id: str, *, fresh: bool) -> Iterator[None]:
        yield from self._look(segment_id)
        for other in self.clicks.segment_ids():
            if other not in self._updater.results:
                yield from self._look(other)
        if segment_id not in self._updater.results:
            return
        try:
            question = self._question(segment_id, fresh=fresh)
        except InputError as error:
            self.message.emit(str(error))
            return
        result = self._updater.results[segment_id]
        if question.clicks[segment_id] or result.answered or result.base is not None:
            self._updater.update(question)
            self.progressed.emit()

    def _question(self, segment_id: str, *, fresh: bool) -> Question:
        clicks = {}
        for name in self._updater.results:
            positive, negative = self.clicks.clicks(name)
            inside = SegmentClicks(self._inside(positive), self._inside(negative))
            if name == segment_id and inside.count < len(positive) + len(negative):
                self.message.emit(_OUTSIDE)
            if inside or name == segment_id:
                clicks[name] = inside
        limits = self._limits()
        return Question(
            segment_id,
            clicks,
            {} if limits.box is None else {segment_id: limits.box},
            local=limits.local,
            visible=tuple(visible_extents(self._slice_nodes(), self._volume)),
            fresh=fresh,
            inside=limits.inside,
        )

    def _inside(self, positions: list[Position]) -> tuple[Position, ...]:
        """Leave out what lies outside the volume; all at once, for a scribble is many clicks."""
        if not positions:
            return ()
        inside = self.geometry.contains(np.array(positions)).tolist()
        return tuple(compress(positions, inside))

    def _look(self, segment_id: str) -> Iterator[None]:
        """Take a segment from the scene where it is new here, or others have changed it."""
        if self._segments.GetSegment(segment_id) is None:
            return
        before = self._updater.results.get(segment_id)
        if before is not None and (
            self._drawing or self._writer.stamp(segment_id) == self._stamps[segment_id]
        ):
            return
        stamp = self._writer.stamp(segment_id)
        found = SegmentResult.empty(self.geometry.shape_kji)
        for extent, mask in self._writer.slabs(segment_id):
            found.mask.put(extent, mask)
            yield
        if before is not None:
            found.answered, found.base = before.answered, before.base
            found.base_key = before.base_key
            if not before.mask.holds(found.mask):
                # Drawn by hand, perhaps far from any click: that is to stay. (Voxels that are gone
                # may as well have been taken by a neighbour.)
                base = yield from found.mask.packing()
                found.start_from(base)
        elif any(self.clicks.counts(segment_id)):
            start = self._bases.load(segment_id)
            if start is not None or not found.mask.empty:
                # Loaded with its clicks, which it answers then, and what it started from.
                positive, negative = self.clicks.clicks(segment_id)
                found.answered = SegmentClicks(tuple(positive), tuple(negative))
                found.start_from(start)
        elif not found.mask.empty:
            # Somebody's work: clicks correct it, and without any click it comes back.
            base = yield from found.mask.packing()
            found.start_from(base)
        self._updater.results[segment_id] = found
        self._stamps[segment_id] = stamp

    # ------------------------------------------------------------------ showing

    def _write(self, segment_id: str, extent: Extent, mask: Mask) -> None:
        if self._segments.GetSegment(segment_id) is None:
            return
        self._writer.queue(segment_id, extent, mask)
        self._writer.step()
        if not self._drawing:
            self._drawing = True
            self._steps.add(self._draw())

    def _draw(self) -> Iterator[None]:
        """Write what is queued, then the surfaces in 3D views."""
        while self._writer.step() or self._writer.update_surface():
            yield
        self._drawing = False
        self.progressed.emit()

    def _on_answer(self, answer: Answer) -> None:
        if (result := self.result(answer.segment_id)) is not None:
            # From now on the segment itself may be another mask.
            self._bases.keep(answer.segment_id, result.base)
        self.answered.emit(answer)

    def _on_failure(self, segment_id: str, error: dict[str, Any]) -> None:
        self.failed.emit(segment_id, error)

    # ------------------------------------------------------------------ other masks, in steps

    def start_from(self, segment_id: str, *, existing: bool) -> Iterator[None]:
        """Have a segment start from what it is now, or from nothing."""
        result = self.result(segment_id)
        if result is None:
            return
        base = (yield from result.mask.packing()) if existing else None
        if base is not None and base.empty:
            self.message.emit(_NOTHING)
            base = None
        result.start_from(base)
        self.ask(segment_id)
        self.progressed.emit()

    def travel(self, action: Action, *, back: bool) -> Iterator[None]:
        """Bring a segment's mask, where that is known, to before or after an action.

        Args:
            action: What was done.
            back: Whether it is undone; done again otherwise.
        """
        name = action.segment_id
        # An answer still to come would differ from a mask that is no more.
        self._updater.drop(name)
        result = self.result(name)
        if result is None:
            return
        extents = []
        if action.known:
            result.answered = action.answered_before if back else action.answered_after
            for change in action.changes[::-1] if back else action.changes:
                extents.append(result.toggle(change))
                yield
        self.show(name, extents)

    def take_out(self, segment_id: str) -> Generator[None, None, RemovedSegment]:
        """Remove a segment without its clicks; returns what brings it back."""
        self._forget(segment_id)
        return (yield from take_out(self.segmentation, self._writer, segment_id))

    def put_back(self, removed: RemovedSegment) -> Iterator[None]:
        """Bring a removed segment back, without its clicks."""
        yield from put_back(self.segmentation, self._writer, removed)

    # ------------------------------------------------------------------ ending

    def forget_removed(self) -> list[str]:
        """Drop what belongs to segments that are no more; returns their ids."""
        gone = [name for name in self._updater.results if self._segments.GetSegment(name) is None]
        for name in gone:
            self._forget(name)
            self._writer.removed(name)
        return gone

    def _forget(self, segment_id: str) -> None:
        self._updater.forget(segment_id)
        self._stamps.pop(segment_id, None)
        self._asked.pop(segment_id, None)

    def retire(self) -> None:
        """Ask and tell nothing more, and close as soon as what was answered is in place."""
        self._ask_soon.cancel()
        self._asked.clear()
        if self.segmentation.GetScene() is None:
            self.close()
            return
        self.clicks.close()
        for signal in (self.answered, self.failed, self.message, self.progressed):
            signal.clear()
        self._updater.cancel()
        self._steps.emptied.connect(self._close_when_done)
        self._close_when_done()

    def _close_when_done(self) -> None:
        if not self._updater.busy:
            self.close()

    def close(self) -> None:
        """Stop everything and listen no more; what was answered is put in place first."""
        self._ask_soon.cancel()
        if self.segmentation.GetScene() is not None:
            self._steps.flush()
        for name in tuple(self._updater.results):
            self._updater.forget(name)
        self._steps.clear()
        self._bases.close()
        self.clicks.close()
        for signal in (self.answered, self.failed, self.message, self.progressed):
            signal.clear()
