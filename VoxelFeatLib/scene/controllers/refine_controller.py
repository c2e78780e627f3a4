"""Refines a coarse segment or label map into a new segment beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.scene.controllers.field_status import sentence
from VoxelFeatLib.scene.nodes import segmentations
from VoxelFeatLib.scene.segments import coarse_masks
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.steps import StepQueue
from VoxelFeatLib.worker.protocol import Message, unpack_mask

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.field_controller import FieldController
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink
    from VoxelFeatLib.scene.segments.coarse_masks import CoarseMask, CoarseSource
    from VoxelFeatLib.scene.timers import Timers


@dataclass(frozen=True)
class RefineStatus:
    """What the panel shows of a refinement.

    Attributes:
        text: One line; empty when there is nothing to say.
        fraction: 0 to 1 while it runs, else None.
        seconds_left: Expected, once it can be told.
        failed: Whether the text is an error.
    """

    text: str = ""
    fraction: float | None = None
    seconds_left: float | None = None
    failed: bool = False

    @property
    def busy(self) -> bool:
        """Whether there is something to cancel."""
        return self.fraction is not None


@dataclass(frozen=True)
class Refined:
    """A finished refinement.

    Attributes:
        segmentation: Node that holds the new segment.
        segment_id: The new segment.
        coarse_ml: Volume of the coarse mask, millilitres.
        refined_ml: Volume of the new segment.
    """

    segmentation: Any
    segment_id: str
    coarse_ml: float
    refined_ml: float


class RefineController:
    """One refinement at a time.

    Args:
        link: The worker.
        field: The volume and its field.
        timers: For writing the result in pieces.

    Attributes:
        changed: Emitted when status or result have changed.
        result: The last finished refinement, None before.
    """

    def __init__(self, link: WorkerLink, field: FieldController, timers: Timers) -> None:
        self.changed = Signal()
        self.result: Refined | None = None
        self._link = link
        self._field = field
        self._steps = StepQueue(timers)
        self._status = RefineStatus()
        self._request: Any = None
        self._begun = 0.0
        self._cancelled = False

    @property
    def status(self) -> RefineStatus:
        """How it stands."""
        return self._status

    def refine(
        self,
        source: Any,
        part: str | int | None,
        target: Any,
        mode: str = "prior",
        coarse_mm: float | None = None,
    ) -> None:
        """Refine a mask; the result is a new segment of the target.

        Args:
            source: A segmentation node, or a label map or scalar volume node.
            part: Id of its segment, or the label.
            target: Segmentation node for the result.
            mode: "prior" or "paper".
            coarse_mm: Edge of the coarse voxels where it cannot be seen from the mask.
        """
        if self._status.busy:
            return
        try:
            found = self._source(source, part)
            writer = SegmentWriter(target, self._field.volume)
        except VoxelFeatError as error:
            self._set(RefineStatus(str(error), failed=True))
            return
        self._begun = time.monotonic()
        self._cancelled = False
        self._set(RefineStatus("Starting…", 0.0))
        self._steps.add(self._start(found, target, writer, mode=mode, coarse_mm=coarse_mm))

    def _start(
        self,
        source: CoarseSource,
        target: Any,
        writer: SegmentWriter,
        *,
        mode: str,
        coarse_mm: float | None,
    ) -> Iterator[None]:
        """Take the mask part by part, and have it refined."""
        try:
            coarse = yield from source.take()
        except VoxelFeatError as error:
            self._set(RefineStatus(str(error), failed=True))
            return
        if self._cancelled:
            self._set(RefineStatus("Cancelled."))
        else:
            self._ask(coarse, target, writer, mode=mode, coarse_mm=coarse_mm)

    def _ask(
        self,
        coarse: CoarseMask,
        target: Any,
        writer: SegmentWriter,
        *,
        mode: str,
        coarse_mm: float | None,
    ) -> None:
        chunks: list[Message] = []

        def on_event(event: Message) -> None:
            if event.get("event") == "chunk":
                chunks.append(event["mask"])
            elif self._request is not None:
                self._progress(event)

        def on_reply(reply: Message) -> None:
            self._request = None
            self._steps.add(self._write(coarse, target, writer, chunks, reply))

        def on_error(error: Message) -> None:
            self._request = None
            cancelled = error.get("code") == "cancelled"
            text = "Cancelled." if cancelled else sentence(error)
            self._set(RefineStatus(text, failed=not cancelled))

        self._request = self._link.request(
            "refine",
            {
                "mask": coarse.message,
                "ijk_to_ras": coarse.ijk_to_ras.tolist(),
                "mode": mode,
                "coarse_mm": coarse_mm,
                "box": None,
            },
            on_event=on_event,
            on_reply=on_reply,
            on_error=on_error,
            on_repeat=chunks.clear,
        )

    def cancel(self) -> None:
        """Stop; no segment is made."""
        self._cancelled = True
        if self._request is not None:
            self._request.cancel()

    def find_labels(self, node: Any, found: Callable[[list[int]], None]) -> None:
        """Look for the labels of a label map, in steps, and tell them; none without voxels."""

        def look() -> Iterator[None]:
            found((yield from coarse_masks.labels_of(node)))

        self._steps.add(look())

    def _source(self, source: Any, part: str | int | None) -> CoarseSource:
        if not self._field.usable:
            raise VoxelFeatError("Fit a field to the volume first.")
        if source is None or part is None:
            raise VoxelFeatError("Choose the segment or label to refine.")
        if isinstance(part, int):
            return coarse_masks.of_labelmap(source, part, self._field.volume)
        return coarse_masks.of_segment(source, part, self._field.volume)

    def _progress(self, event: Message) -> None:
        fraction = min(max(float(event.get("fraction") or 0.0), 0.0), 1.0)
        spent = time.monotonic() - self._begun
        left = spent * (1 - fraction) / fraction if fraction > 0.05 else None
        self._set(RefineStatus(f"{event.get('stage', 'Refining')}…", fraction, left))

    def _write(
        self,
        coarse: CoarseMask,
        target: Any,
        writer: SegmentWriter,
        chunks: list[Message],
        reply: Message,
    ) -> Iterator[None]:
        if target.GetScene() is None:
            self._set(RefineStatus("The segmentation was removed meanwhile.", failed=True))
            return
        name = f"{coarse.name} refined"
        segment_id = segmentations.add_segment(target, name, coarse.color)
        self._set(RefineStatus("Writing the segment…", 1.0))
        for wire in chunks:
            extent, mask = unpack_mask(wire)
            writer.queue(segment_id, extent, mask)
            yield
        while writer.step():  # when all is queued: its labelmap grows once then
            yield
        self.result = Refined(
            target, segment_id, float(reply["coarse_ml"]), float(reply["refined_ml"])
        )
        self._set(RefineStatus(_summary(self.result)))

    def _set(self, status: RefineStatus) -> None:
        self._status = status
        self.changed.emit()

    def close(self) -> None:
        """Stop what is running and listen no more."""
        self.cancel()
        self._request = None
        self._steps.clear()
        self.changed.clear()


def _summary(refined: Refined) -> str:
    change = refined.refined_ml - refined.coarse_ml
    return (
        f"{refined.coarse_ml:.1f} ml became {refined.refined_ml:.1f} ml "
        f"({'+' if change >= 0 else '−'}{abs(change):.1f} ml)."
    )
