"""A session: a volume, its field, and the segments being made from them.

One thread uses a session. ``update`` is a generator, so that the caller can look after other
requests between two chunks; an operation in the meantime, or another update of the same segment,
supersedes it: the generator ends without a final chunk and nothing is kept of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.aliases import Color, Mask, Position
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.answering import answer
from VoxelFeatLib.segmenting.changes import Change, Entry, ResultChange
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.evidence import Evidence
from VoxelFeatLib.segmenting.extent import Chunk, Extent, check_box
from VoxelFeatLib.segmenting.history import History
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.scribbles import along
from VoxelFeatLib.segmenting.segment import (
    Segment,
    Wish,
    check_clicks,
    new_color,
    packed_base,
    wish_for,
)
from VoxelFeatLib.segmenting.suggestion import Suggestion
from VoxelFeatLib.segmenting.updating import Correction, Result


class Session:
    """Segments of one volume, made by clicks.

    Args:
        volume: The volume.
        field: Its field.
        seed: Chooses the random samples; same input and seed, same result.
    """

    def __init__(self, volume: Volume, field: FeatureField, *, seed: int = 0) -> None:
        self.volume = volume
        self._evidence = Evidence(volume, field, seed)
        self._inference = VolumeInference(field, volume)
        self._segments: dict[str, Segment] = {}
        self._results: dict[str, Result] = {}
        self._changes: dict[str, Change] = {}
        self._history: History[Entry] = History()
        self._runs: dict[str, object] = {}

    # ------------------------------------------------------------------ what there is

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in the order of their making."""
        return tuple(self._segments.values())

    def segment(self, name: str) -> Segment:
        """Return one segment.

        Raises:
            InputError: There is none of that name.
        """
        if name not in self._segments:
            raise InputError(f"There is no segment named “{name}”.")
        return self._segments[name]

    def mask(self, name: str) -> Mask:
        """Return the (K, J, I) result of the last finished update, read-only."""
        self.segment(name)
        return self._result(name).mask

    def suggestions(self, name: str) -> tuple[Suggestion, ...]:
        """Return where a click would tell most, the most doubtful place first; at most five.

        Undo and redo bring them back with the result. There are none where nothing is in doubt,
        and none for a result that does not answer the segment's latest state.
        """
        self.segment(name)
        result = self._result(name)
        found = result.known.suggestions if result.wish == self._wish(name) else None
        return found or ()

    def last_change(self, name: str) -> Change:
        """Return what the last update, undo or redo changed in one segment."""
        self.segment(name)
        return self._changes.get(name, Change())

    def stale(self) -> tuple[str, ...]:
        """Names of the segments whose result does not answer their latest state."""
        return tuple(name for name in self._segments if self._result(name).wish != self._wish(name))

    def use_field(self, field: FeatureField) -> None:
        """Go on with a better field; results stay until an update changes them."""
        self._supersede()
        self._evidence = self._evidence.with_field(field)
        self._inference = self._inference.renewed(field)

    # ------------------------------------------------------------------ operations

    def add_segment(self, name: str, color: Color | None = None) -> Segment:
        """Make an empty segment.

        Raises:
            InputError: The name is empty or taken.
        """
        if name in self._segments:
            raise InputError(f"A segment needs a new name, and “{name}” is not.")
        self._do(name, Segment(name, color or new_color(self.segments)))
        return self.segment(name)

    def remove_segment(self, name: str) -> None:
        """Remove a segment and its result."""
        self.segment(name)
        self._do(name, None)

    def set_segment(
        self,
        name: str,
        clicks: Iterable[Click],
        *,
        box: Extent | None = None,
        base_mask: Mask | None = None,
        locality: bool = True,
        color: Color | None = None,
    ) -> None:
        """Replace the whole state of a segment, or make it; one operation.

        Args:
            name: Of the segment.
            clicks: All its clicks.
            box: Where voxels may change; everywhere when None.
            base_mask: (K, J, I) an existing mask to start from.
            locality: Keep only components that a positive click touches.
            color: Red, green, blue, 0 to 1; unchanged when None.

        Raises:
            InputError: A click outside the volume, an empty box, a mask of another shape.
        """
        old = self._segments.get(name) or Segment(name, new_color(self.segments))
        base = None if base_mask is None else packed_base(base_mask, self.volume.geometry)
        self._do(name, Segment(name, color or old.color, tuple(clicks), box, base, locality))

    def add_click(self, name: str, click: Click) -> None:
        """Add a click.

        Raises:
            InputError: It lies outside the volume, or there is no such segment.
        """
        old = self.segment(name)
        self._do(name, replace(old, clicks=(*old.clicks, click)))

    def add_scribble(self, name: str, polyline_ras: npt.ArrayLike, *, positive: bool) -> None:
        """Add a click in every voxel along a polyline of (N, 3) RAS mm; one operation.

        Raises:
            InputError: A point lies outside the volume, or there is no such segment.
        """
        old = self.segment(name)
        points = along(polyline_ras, self.volume.geometry)
        clicks = tuple(Click((r, a, s), positive, "scribble") for r, a, s in points.tolist())
        self._do(name, replace(old, clicks=old.clicks + clicks))

    def move_click(self, name: str, number: int, ras: Position) -> None:
        """Move a click, counted from 0, to another position.

        Raises:
            InputError: There is no such click or segment, or the position is outside the volume.
        """
        clicks = list(self.segment(name).clicks)
        clicks[number] = replace(self._click(name, number), ras=ras)
        self._do(name, replace(self.segment(name), clicks=tuple(clicks)))

    def remove_click(self, name: str, number: int) -> None:
        """Remove a click, counted from 0.

        Raises:
            InputError: There is no such click or segment.
        """
        self._click(name, number)
        clicks = self.segment(name).clicks
        self._do(name, replace(self.segment(name), clicks=clicks[:number] + clicks[number + 1 :]))

    def set_box(self, name: str, box: Extent | None) -> None:
        """Let only voxels inside a box change; None takes the limit away.

        Raises:
            InputError: The box is empty or leaves the volume, or there is no such segment.
        """
        self._do(name, replace(self.segment(name), box=box))

    def start_from(self, name: str, mask: Mask | None) -> None:
        """Start a segment from an existing (K, J, I) mask; None forgets it.

        Raises:
            InputError: The mask is empty or of another shape, or there is no such segment.
        """
        base = None if mask is None else packed_base(mask, self.volume.geometry)
        self._do(name, replace(self.segment(name), base=base))

    def set_locality(self, name: str, *, locality: bool) -> None:
        """Switch locality: keep only components that a positive click touches."""
        self._do(name, replace(self.segment(name), local=locality))

    def clear(self, name: str) -> None:
        """Take all clicks, the box and the existing mask away."""
        old = self.segment(name)
        self._do(name, Segment(name, old.color, local=old.local))

    def undo(self) -> tuple[str, ...]:
        """Take the last operation back, with the results as they were before it.

        Returns:
            Names of the segments that changed; empty when there is nothing to undo.
        """
        entry = self._history.undo()
        return () if entry is None else self._travel(entry, back=True)

    def redo(self) -> tuple[str, ...]:
        """Do again what was undone last; returns as ``undo``."""
        entry = self._history.redo()
        return () if entry is None else self._travel(entry, back=False)

    @property
    def can_undo(self) -> bool:
        """True when there is an operation to undo."""
        return len(self._history) > 0

    @property
    def can_redo(self) -> bool:
        """True when there is an operation to do again."""
        return self._history.can_redo

    # ------------------------------------------------------------------ update

    def update(
        self,
        name: str,
        visible: Sequence[Extent] = (),
        cancelled: Callable[[], bool] = lambda: False,
        *,
        fresh: bool = False,
    ) -> Iterator[Chunk]:
        """Bring a segment's result up to date: visible parts first, the whole at the end.

        The first voxels are previews of the visible parts, corrected by what can be seen in each
        alone. Chunks of no voxels come while things are worked out, so that the caller can do
        others in between. The last one has ``final`` set and carries the corrected result of all
        that this update may have touched; only when it comes has the session changed.

        Args:
            name: Of the segment.
            visible: What the user looks at, to be answered first.
            cancelled: Asked between steps; when it says True the iterator ends early.
            fresh: Predict everything anew instead of correcting what the latest clicks touch.

        Raises:
            InputError: There is no such segment.
        """
        wish = self._wish(name)
        run = object()
        self._runs[name] = run

        def stopped() -> bool:
            return cancelled() or self._runs.get(name) is not run

        return self._steps(name, wish, visible, stopped, fresh=fresh)

    def _steps(
        self,
        name: str,
        wish: Wish,
        visible: Sequence[Extent],
        stopped: Callable[[], bool],
        *,
        fresh: bool,
    ) -> Iterator[Chunk]:
        old = self._result(name)
        task = Correction.of(old, wish, self.volume.geometry, fresh=fresh)
        result: Result | None = old
        if fresh or old.wish != wish:
            result = yield from answer(task, self._evidence, self._inference, visible, stopped)
        if result is None:
            return
        self._keep(name, old, result)
        shown = self._whole if task.everywhere else task.region
        yield Chunk(shown, result.mask[shown.slices], final=True)

    # ------------------------------------------------------------------ inside

    @property
    def _whole(self) -> Extent:
        return Extent.whole(self.volume.geometry.shape_kji)

    def _result(self, name: str) -> Result:
        if name not in self._results:
            self._results[name] = Result(np.zeros(self.volume.geometry.shape_kji, dtype=bool))
        return self._results[name]

    def _wish(self, name: str) -> Wish:
        others = (self._segments[other] for other in sorted(self._segments) if other != name)
        return wish_for(self.segment(name), others)

    def _click(self, name: str, number: int) -> Click:
        clicks = self.segment(name).clicks
        if not 0 <= number < len(clicks):
            raise InputError(f"Segment “{name}” has {len(clicks)} clicks; there is no {number}.")
        return clicks[number]

    def _supersede(self) -> None:
        self._runs.clear()

    def _do(self, name: str, after: Segment | None) -> None:
        """Check a segment's new state, remember the old one, and put it in place."""
        before = self._segments.get(name)
        if before == after:
            return
        if after is not None:
            if not name.strip():
                raise InputError("A segment needs a name.")
            check_clicks(after.clicks, self.volume.geometry, name)
            if after.box is not None:
                check_box(after.box, self.volume.geometry)
        self._supersede()
        names = [*self._segments, name]
        entry = Entry(name, before, after, names.index(name))
        self._history.push(entry)
        self._put(entry, after)
        if after is None:
            old = self._results.pop(name, None)
            if old is not None:
                gone = Result(np.zeros_like(old.mask))
                entry.changes.append(ResultChange.between(name, old, gone))
        self._history.trim()

    def _put(self, entry: Entry, state: Segment | None) -> None:
        states = [other for other in self.segments if other.name != entry.name]
        if state is not None:
            states.insert(entry.place, state)
        self._segments = {other.name: other for other in states}

    def _keep(self, name: str, old: Result, new: Result) -> None:
        """Make a result the segment's, and part of the latest operation."""
        change = ResultChange.between(name, old, new)
        self._results[name] = new
        self._changes[name] = change.summary(new.mask)
        if change.before == change.after and change.difference.empty:
            return
        latest = self._history.newest()
        if latest is not None:
            latest.changes.append(change)
            self._history.trim()
        # What was undone has differences from a result that is no more: redoing it asks for an
        # update instead.
        for entry in self._history.undone():
            entry.changes = [other for other in entry.changes if other.name != name]

    def _travel(self, entry: Entry, *, back: bool) -> tuple[str, ...]:
        self._supersede()
        self._put(entry, entry.before if back else entry.after)
        names = {entry.name: None}
        for change in reversed(entry.changes) if back else entry.changes:
            mask = self._result(change.name).mask.copy()
            change.difference.toggle(mask)
            self._results[change.name] = Result(mask, change.before if back else change.after)
            self._changes[change.name] = change.summary(mask)
            names[change.name] = None
        for name in names:
            if name not in self._segments:
                self._results.pop(name, None)
        return tuple(names)
