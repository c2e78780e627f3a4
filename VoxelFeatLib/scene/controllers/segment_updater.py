"""Asks the worker for segments and puts its answers in place.

Previews are shown as they come. The final answer is taken in pieces, on the step queue, so that no
piece of a large volume holds up the main thread. Until then, and if the request fails, what is
accepted is the answer before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.scene.controllers.segment_results import (
    SegmentClicks,
    SegmentResult,
    answered_by,
    as_mask_source,
    message_segments,
    new_key,
    suggested,
)
from VoxelFeatLib.scene.segments.last_change import LastChange
from VoxelFeatLib.scene.segments.limits import Inside
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.worker.protocol import CHUNK_VOXELS, Message, extent_to_wire, unpack_mask

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.geometry import Geometry
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink
    from VoxelFeatLib.scene.steps import StepQueue

Write = Callable[[str, Extent, Mask], None]


@dataclass(frozen=True)
class Question:
    """What a segment is asked for with.

    Attributes:
        segment_id: The segment.
        clicks: Of all segments, by their ids.
        boxes: Where voxels may change, by id; everywhere for those not in it.
        local: Keep only components that a positive click touches.
        visible: What the user looks at.
        fresh: Predict everything anew.
        inside: Voxels of an extent that may change, where a box is not along the volume's axes.
    """

    segment_id: str
    clicks: dict[str, SegmentClicks]
    boxes: dict[str, Extent] = field(default_factory=dict)
    local: bool = True
    visible: tuple[Extent, ...] = ()
    fresh: bool = False
    inside: Inside = lambda _extent: None


@dataclass(frozen=True)
class Answer:
    """What an answer changed.

    Attributes:
        segment_id: The segment.
        differences: The voxels that are not as before.
        joined: Number of voxels that joined the segment.
        left: Number of voxels that left it.
        answered_before: The clicks that the mask before answered.
        answered: The clicks that it answers now.
        seconds: That the worker took.
        voxels: Of the segment now.
    """

    segment_id: str
    differences: tuple[PackedMask, ...]
    joined: int
    left: int
    answered_before: SegmentClicks
    answered: SegmentClicks
    seconds: float
    voxels: int

    def change(self, geometry: Geometry) -> LastChange:
        """Return what it changed on the volume's grid, for the user."""
        joined_ml, left_ml = self.joined * geometry.voxel_ml, self.left * geometry.voxel_ml
        return LastChange(self.segment_id, joined_ml, left_ml, self.differences, self.seconds)


class SegmentUpdater:
    """One request a segment at a time; a later one replaces it.

    Args:
        link: The worker.
        steps: Where pieces of answers are taken.
        write: Shows a part of a segment.
        answered: Called when an answer is wholly in place.
        failed: Called with the segment and the error when there is none.

    Attributes:
        results: By segment; the caller adds and removes them.
    """

    def __init__(
        self,
        link: WorkerLink,
        steps: StepQueue,
        write: Write,
        answered: Callable[[Answer], None],
        failed: Callable[[str, Message], None],
    ) -> None:
        self.results: dict[str, SegmentResult] = {}
        self._link = link
        self._steps = steps
        self._write = write
        self._answered = answered
        self._failed = failed
        self._running: dict[str, Any] = {}

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited, or not wholly in place."""
        return bool(self._running) or self._steps.busy

    def update(self, question: Question) -> None:
        """Ask for a segment."""
        segment_id = question.segment_id
        result = self.results[segment_id]
        token = object()
        key = new_key()
        answered = answered_by(question.clicks, segment_id)
        result.suggestions = None
        chunks: list[Message] = []

        def current() -> bool:
            return self._running.get(segment_id, (None, None))[0] is token

        def on_event(event: Message) -> None:
            if event.get("event") != "chunk" or not current():
                return
            if event.get("preview"):
                self._preview(question, result, event["mask"])
            else:
                chunks.append(event["mask"])

        def on_reply(reply: Message) -> None:
            if current():
                del self._running[segment_id]
                before = result.answered
                # What follows may be asked for before all pieces of this answer are in place.
                result.answered, result.key = answered, key
                result.suggestions = suggested(reply)
                seconds, voxels = float(reply["seconds"]), int(reply["voxels"])
                answer = Answer(segment_id, (), 0, 0, before, answered, seconds, voxels)
                self._steps.add(self._put(question, result, chunks, answer))

        def on_error(error: Message) -> None:
            if current():
                del self._running[segment_id]
                self._no_answer(question, result, error)

        self._running[segment_id] = (token, None)
        request = self._link.request(
            "segment",
            {
                "segment": segment_id,
                "segments": message_segments(
                    question.clicks, self.results, question.boxes, local=question.local
                ),
                "current": self._key_of(result),
                "answered": result.answered.to_wire(),
                "result": key,
                "visible": [extent_to_wire(extent) for extent in question.visible],
                "fresh": question.fresh,
            },
            masks=as_mask_source(self.results),
            on_event=on_event,
            on_reply=on_reply,
            on_error=on_error,
            on_repeat=chunks.clear,
        )
        if current():
            self._running[segment_id] = (token, request)

    def cancel(self) -> None:
        """Stop all that is being worked out; what is accepted is shown again."""
        for _, request in tuple(self._running.values()):
            if request is not None:
                request.cancel()

    def drop(self, segment_id: str) -> None:
        """Give up what is being worked out for a segment; previews of it are left."""
        _, request = self._running.pop(segment_id, (None, None))
        if request is not None:
            request.cancel()

    def forget(self, segment_id: str) -> None:
        """Drop a segment and what is running for it."""
        self.drop(segment_id)
        self.results.pop(segment_id, None)

    def show(self, segment_id: str, extents: list[Extent]) -> None:
        """Show the accepted mask in these extents."""
        result = self.results[segment_id]
        result.touched.extend(extents)
        self._steps.add(self._show_accepted(segment_id, result))

    # ------------------------------------------------------------------ inside

    def _key_of(self, result: SegmentResult) -> str | None:
        # A key given by the worker's own answer is valid before its pieces are in place here.
        return result.key or result.current_key()

    def _no_answer(self, question: Question, result: SegmentResult, error: Message) -> None:
        if result.key in error.get("keys", ()) and result.wire(result.key) is None:
            self._steps.add(self._ask_with_mask(question, result))
        else:
            self._steps.add(self._show_accepted(question.segment_id, result))
            self._failed(question.segment_id, error)

    def _ask_with_mask(self, question: Question, result: SegmentResult) -> Iterator[None]:
        """Ask again, now that the worker is known not to have the accepted mask."""
        yield from result.packing()
        segment_id = question.segment_id
        if self.results.get(segment_id) is result and segment_id not in self._running:
            self.update(question)

    def _preview(self, question: Question, result: SegmentResult, wire: Message) -> None:
        extent, mask = unpack_mask(wire)
        if not extent.size:
            return
        result.touched.append(extent)
        self._write(question.segment_id, extent, self._limited(question, result, extent, mask))

    def _put(
        self, question: Question, result: SegmentResult, chunks: list[Message], answer: Answer
    ) -> Iterator[None]:
        segment_id = question.segment_id
        puts = []
        for wire in chunks:
            if self.results.get(segment_id) is not result:
                return
            extent, mask = unpack_mask(wire)
            allowed = self._limited(question, result, extent, mask)
            if allowed is not mask:
                result.key = ""  # the worker's mask is another one
            puts.append(result.mask.put(extent, allowed))
            self._write(segment_id, extent, allowed)
            yield
        yield from self._show_accepted(segment_id, result)
        self._answered(
            replace(
                answer,
                differences=tuple(put.difference for put in puts if not put.difference.empty),
                joined=sum(put.joined for put in puts),
                left=sum(put.left for put in puts),
            )
        )

    def _show_accepted(self, segment_id: str, result: SegmentResult) -> Iterator[None]:
        """Write the accepted mask wherever something else may be shown."""
        touched, result.touched = result.touched, []
        for extent in touched:
            for piece in extent.pieces(CHUNK_VOXELS):
                if self.results.get(segment_id) is not result:
                    return
                self._write(segment_id, piece, result.mask.get(piece))
                yield

    @staticmethod
    def _limited(question: Question, result: SegmentResult, extent: Extent, mask: Mask) -> Mask:
        """Keep what was accepted outside a box that is not along the volume's axes."""
        inside = question.inside(extent)
        if inside is None:
            return mask
        limited = result.mask.get(extent)
        limited[inside] = mask[inside]
        return limited
