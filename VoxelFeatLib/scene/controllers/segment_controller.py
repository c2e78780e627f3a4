"""Segments that follow the clicks in the scene.

What the user does changes nodes of the scene; the workbench hears of it, asks the worker, and
writes the answer into the segment. It does not matter whether a click came from the mouse, from
undo or from a scene that was loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import slicer

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.scene.controllers.field_status import sentence
from VoxelFeatLib.scene.controllers.segment_journal import SegmentJournal
from VoxelFeatLib.scene.controllers.segment_workbench import SegmentWorkbench
from VoxelFeatLib.scene.nodes import segmentations, volume_nodes
from VoxelFeatLib.scene.segments.last_change import LastChange
from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.views.change_flash import ChangeFlash
from VoxelFeatLib.scene.views.segment_tools import SegmentTools

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.field_controller import FieldController
    from VoxelFeatLib.scene.controllers.segment_updater import Answer
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink
    from VoxelFeatLib.scene.timers import Timers
    from VoxelFeatLib.scene.views.scribble_tool import SliceView

_NO_FIELD = "The click is kept and answered as soon as there is a field: press Fit."
_NOTHING = "Nothing was found: add a positive click inside what you want."


class SegmentController:
    """The segments of one segmentation on the field's volume.

    Args:
        link: The worker.
        field: The volume and its field.
        timers: For what is done a moment later.
        scene: The vtkMRMLScene.
        views: Returns the slice views, as (interactor, slice node), for the scribble tool.

    Attributes:
        changed: Emitted when anything that the panel shows has changed.
        message: Emitted with one sentence for the user.
        segmentation: The segmentation node; None when none is chosen.
        segment_id: The selected segment; "" when none is.
        last_change: What the last answer changed; None before.
    """

    def __init__(
        self,
        link: WorkerLink,
        field: FieldController,
        timers: Timers,
        scene: Any,
        views: Callable[[], Iterable[SliceView]] = tuple,
    ) -> None:
        self.changed = Signal()
        self.message = Signal()
        self.segmentation: Any = None
        self.segment_id = ""
        self.last_change: LastChange | None = None
        self._link = link
        self._field = field
        self._timers = timers
        self._scene = scene
        self._bench: SegmentWorkbench | None = None
        self._journal: SegmentJournal | None = None
        self._editor: Any = None
        self._local = True
        self._waiting: set[str] = set()
        self._observed: list[tuple[Any, int]] = []
        self._flash = ChangeFlash(scene, timers)
        self._tools = SegmentTools(scene, timers, views, self._on_stroke)
        self._tools.changed.connect(self.changed.emit)
        self._tools.box_changed.connect(self._on_limits)
        field.reset.connect(self._rebuild)
        field.changed.connect(self._on_field)

    # ------------------------------------------------------------------ what there is

    @property
    def placing(self) -> bool | None:
        """Whether the next click in a view will be a positive or a negative one; None: neither."""
        return self._tools.placing

    @property
    def scribbling(self) -> bool | None:
        """The same for strokes."""
        return self._tools.scribbling

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited or being written."""
        return self._bench is not None and self._bench.busy

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to undo."""
        return self._journal is not None and self._journal.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is an action to do again."""
        return self._journal is not None and self._journal.can_redo

    @property
    def locality(self) -> bool:
        """Whether only components that a positive click touches are kept."""
        return self._local

    @locality.setter
    def locality(self, local: bool) -> None:
        if local != self._local:
            self._local = local
            self._on_limits()
            self.changed.emit()

    @property
    def starts_from_existing(self) -> bool:
        """Whether the selected segment starts from a mask that it had."""
        result = None if self._bench is None else self._bench.result(self.segment_id)
        return result is not None and result.base is not None

    @property
    def suggestions(self) -> tuple[Position, ...] | None:
        """Where to click next, mm in the volume's own space; None while that is not known."""
        result = None if self._bench is None else self._bench.result(self.segment_id)
        return None if result is None else result.suggestions

    def click_counts(self, segment_id: str) -> tuple[int, int]:
        """Return how many positive and negative clicks a segment has."""
        return (0, 0) if self._bench is None else self._bench.clicks.counts(segment_id)

    # ------------------------------------------------------------------ choosing

    def set_segmentation(self, node: Any) -> None:
        """Choose the segmentation node, or None."""
        if node is not self.segmentation:
            self.segmentation = node
            self.segment_id = ""
            self._rebuild()

    def set_editor_node(self, node: Any) -> None:
        """Choose the vtkMRMLSegmentEditorNode whose masking is respected, or None."""
        if node is not self._editor:
            self._editor = node
            self._rebuild()

    def select(self, segment_id: str) -> None:
        """Choose the segment that clicks belong to; "" for none."""
        node = self.segmentation
        known = node is not None and segment_id in segmentations.segment_ids(node)
        self.segment_id = segment_id if known else ""
        self._aim()
        self.changed.emit()

    def add_segment(self, name: str = "") -> str:
        """Add an empty segment and select it, and a segmentation where there is none.

        Returns:
            Its id; "" when there is no volume that can be segmented.
        """
        volume = self._field.volume
        try:
            volume_nodes.check_volume(volume)
        except InputError as error:
            self.message.emit(str(error))
            return ""
        if self.segmentation is None:
            self.set_segmentation(segmentations.new_segmentation(self._scene, volume))
        segmentations.belong(self.segmentation, volume)
        self.select(segmentations.add_segment(self.segmentation, name))
        return self.segment_id

    def remove_segment(self, segment_id: str) -> None:
        """Remove a segment with its clicks; can be undone."""
        if self._journal is not None and segment_id:
            self._journal.remove(segment_id)

    # ------------------------------------------------------------------ tools

    def place(self, positive: bool | None) -> None:
        """Have the next clicks in any view be positive or negative ones; None stops."""
        self._tools.scribble(None)
        self._tools.place(positive if self._has_segment(positive) else None)
        self._aim()

    def click(self, ras_world: Position, *, positive: bool) -> None:
        """Place a click of the selected segment, as scripts do; world RAS, mm."""
        if self._bench is not None and self.segment_id:
            node = self._bench.clicks.node_for(self.segment_id, positive=positive)
            node.AddControlPointWorld(list(ras_world))

    def scribble(self, positive: bool | None) -> None:
        """Have the left button draw positive or negative strokes in slice views; None stops."""
        self._tools.place(None)
        self._tools.scribble(positive if self._has_segment(positive) else None)

    def set_box(self, on: bool) -> None:
        """Have an ROI outside of which nothing changes, or none."""
        if on and self._field.volume is not None:
            self._tools.make_box(self._field.volume)
        else:
            self._tools.use_box(None)

    @property
    def box_node(self) -> Any:
        """The ROI node outside of which nothing changes; None for none."""
        return self._tools.box_node

    def use_box(self, node: Any) -> None:
        """Use an ROI node that is in the scene already, or none."""
        self._tools.use_box(node)

    def start_from_existing(self, on: bool) -> None:
        """Have the selected segment start from what it is now: clicks then correct that."""
        if self._bench is not None and on != self.starts_from_existing:
            self._bench.later(self._bench.start_from(self.segment_id, existing=on))

    def _has_segment(self, positive: bool | None) -> bool:
        wanted = positive is not None and bool(self.segment_id or self.add_segment())
        if wanted and self._bench is None:
            self._rebuild()  # what was in the way, a warp say, may be gone; if not, it is told
        return wanted and self._bench is not None

    def _aim(self) -> None:
        """Have the tools and the view follow the selected segment."""
        if self._bench is None:
            self._tools.stop()
            return
        clicks = self._bench.clicks
        clicks.show_only(self.segment_id or None)
        if not self.segment_id:
            self._tools.stop()
            return
        self._bench.look(self.segment_id)
        placing = self._tools.placing
        if placing is not None:
            self._tools.aim(clicks.node_for(self.segment_id, positive=placing))

    # ------------------------------------------------------------------ clear, undo, redo

    def clear(self) -> None:
        """Take all clicks of the selected segment away."""
        if self._bench is not None and self.segment_id:
            self._bench.clicks.clear(self.segment_id)

    def recompute(self) -> None:
        """Work the selected segment out anew from all its clicks, with the field as it is now."""
        if self._bench is not None and self.segment_id:
            self._ask(self.segment_id, fresh=True)

    def cancel(self) -> None:
        """Stop what is being worked out; the segment stays as it was before."""
        if self._bench is not None:
            self._bench.cancel()

    def show_last_change(self) -> None:
        """Show for a moment what the last answer changed."""
        change, bench = self.last_change, self._bench
        if change and bench and (result := bench.result(change.segment_id)) is not None:
            self._flash.show(change, result.mask, self._field.volume)

    def undo(self) -> None:
        """Take the last action back, with its result."""
        if self._journal is not None:
            self._journal.undo()

    def redo(self) -> None:
        """Do the action again that was undone last."""
        if self._journal is not None:
            self._journal.redo()

    def _on_travelled(self, segment_id: str) -> None:
        self.select(segment_id)
        self._ask(segment_id)

    # ------------------------------------------------------------------ asking and hearing

    def _ask(self, segment_id: str, *, fresh: bool = False) -> None:
        if self._bench is not None and self._field.usable:
            self._bench.ask(segment_id, fresh=fresh)
        elif any(self.click_counts(segment_id)):
            self._waiting.add(segment_id)
            self.message.emit(_NO_FIELD)

    def _on_answer(self, answer: Answer) -> None:
        bench, journal = self._bench, self._journal
        if not bench or not journal or (result := bench.result(answer.segment_id)) is None:
            return
        journal.amend(answer)
        new = answer.differences or answer.answered != answer.answered_before  # undo's are not
        self.last_change = answer.change(bench.geometry) if new else None
        self.show_last_change()
        if not answer.voxels and result.answered.positive:
            self.message.emit(_NOTHING)
        self.changed.emit()

    def _on_failure(self, segment_id: str, error: dict[str, Any]) -> None:
        if error.get("code") not in {"cancelled", "superseded"}:
            self._waiting.add(segment_id)
            self.message.emit(sentence(error))
        self.changed.emit()

    def _on_stroke(self, points_world: FloatArray, positive: bool) -> None:
        if self._bench is None or not self.segment_id:
            return
        try:
            self._bench.clicks.add_scribble(self.segment_id, points_world, positive=positive)
        except InputError as error:
            self.message.emit(str(error))

    def _on_limits(self) -> None:
        if self.segment_id and any(self.click_counts(self.segment_id)):
            self._ask(self.segment_id)

    def _on_field(self) -> None:
        if self._field.usable and self._waiting:
            waiting, self._waiting = self._waiting, set()
            for segment_id in waiting:
                self._ask(segment_id)

    def _on_segments(self, _caller: Any, _event: str) -> None:
        """Forget segments that somebody else removed."""
        if self._bench is None or self._journal is None:
            return
        for segment_id in self._bench.forget_removed():
            self._journal.forget(segment_id)
        left = segmentations.segment_ids(self.segmentation)
        if self.segment_id and self.segment_id not in left:
            self.select(next(iter(left), ""))
        self.changed.emit()

    # ------------------------------------------------------------------ beginning and ending

    def _rebuild(self) -> None:
        """Begin anew: another volume, segmentation, or masking."""
        self._end()
        volume, node = self._field.volume, self.segmentation
        if volume is None or node is None or node.GetScene() is None:
            self.changed.emit()
            return
        try:
            volume_nodes.check_volume(volume)
            bench = SegmentWorkbench(
                node,
                volume,
                self._editor,
                self._link,
                self._timers,
                limits=lambda: self._tools.limits(volume, local=self._local),
                slice_nodes=self._tools.slice_nodes,
            )
        except InputError as error:
            self.message.emit(str(error))
            self.changed.emit()
            return
        bench.answered.connect(self._on_answer)
        bench.failed.connect(self._on_failure)
        bench.message.connect(self.message.emit)
        bench.progressed.connect(self.changed.emit)
        self._bench, self._journal = bench, SegmentJournal(bench)
        bench.clicks.changed.connect(lambda _segment_id: self.changed.emit())
        self._journal.acted.connect(self._ask)
        self._journal.travelled.connect(self._on_travelled)
        for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
            self._observed.append((node, node.AddObserver(event, self._on_segments)))
        self._tools.find_box()
        self.select(self.segment_id or next(iter(segmentations.segment_ids(node)), ""))

    def _end(self) -> None:
        self._flash.clear()
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()
        if self._bench is not None:
            same = self._bench.segmentation is self.segmentation
            self._bench.close() if same else self._bench.retire()
        self._bench = self._journal = None
        self._waiting = set()
        self.last_change = None
        self._tools.stop()

    def close(self) -> None:
        """Stop everything and listen no more."""
        self._field.reset.disconnect(self._rebuild)
        self._field.changed.disconnect(self._on_field)
        self._end()
        self._flash.close()
        self._tools.close()
        self.segmentation = None
        self.changed.clear()
        self.message.clear()
