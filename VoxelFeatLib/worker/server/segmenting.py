"""The requests `put_mask` and `segment`."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask, Position, Triple
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.answering import answer
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Chunk, Extent, check_box
from VoxelFeatLib.segmenting.segment import Wish, check_clicks
from VoxelFeatLib.segmenting.updating import Correction, Known, Result
from VoxelFeatLib.worker.protocol import (
    BadMessageError,
    Message,
    extent_from_wire,
    extent_to_wire,
    pack_mask,
)
from VoxelFeatLib.worker.server.arguments import Arguments
from VoxelFeatLib.worker.server.failures import with_less
from VoxelFeatLib.worker.server.masks import Kept, packed_from_wire
from VoxelFeatLib.worker.server.previews import Difference, differences
from VoxelFeatLib.worker.server.requests import Reporter, Request, Steps
from VoxelFeatLib.worker.server.workspace import Model, Workspace

# How much smaller the pieces of work are, attempt by attempt, where memory runs out.
_FRUGALITY = (1, 4, 16)


@dataclass(frozen=True)
class State:
    """What one segment was asked for.

    Attributes:
        key: Its id.
        positive: RAS positions inside.
        negative: RAS positions outside.
        box: Where voxels may change.
        base: Key of the mask it starts from; empty for none.
        local: Whether only components that a positive click touches are kept.
    """

    key: str
    positive: tuple[Position, ...]
    negative: tuple[Position, ...]
    box: Extent | None
    base: str
    local: bool

    @classmethod
    def read(cls, wire: Any, geometry: Geometry) -> State:
        """Read and check one entry of a request's segments."""
        values = Arguments(wire)
        state = cls(
            values.text("id"),
            values.positions("positive"),
            values.positions("negative"),
            values.extent("box"),
            values.text("base", ""),
            values.flag("locality", default=True),
        )
        clicks = [Click(ras, True) for ras in state.positive]
        clicks += [Click(ras, False) for ras in state.negative]
        check_clicks(clicks, geometry, values.text("name", state.key))
        if state.box is not None:
            check_box(state.box, geometry)
        return state


@dataclass(frozen=True)
class Asked:
    """A `segment` request, read and checked.

    Attributes:
        target: The segment to be brought up to date.
        others: Positive clicks of all other segments.
        current: Key of the mask the scene shows as the last result; empty for none.
        answered: The positive and the negative clicks that this mask answers; positive ones of
            other segments are among the negative ones.
        result: Key for the new mask.
        visible: What the user looks at.
        fresh: Whether to predict anew instead of correcting.
    """

    target: State
    others: tuple[Position, ...]
    current: str
    answered: tuple[tuple[Position, ...], tuple[Position, ...]]
    result: str
    visible: tuple[Extent, ...]
    fresh: bool

    @classmethod
    def read(cls, values: Arguments, geometry: Geometry) -> Asked:
        """Read a request; BadMessageError or InputError where it is wrong."""
        states = {}
        for wire in values.each("segments"):
            state = State.read(wire, geometry)
            if state.key in states:
                raise BadMessageError(f"The segment “{state.key}” is listed twice.")
            states[state.key] = state
        name = values.text("segment")
        if name not in states:
            raise BadMessageError(f"The segment “{name}” is not among the segments.")
        answered = values.inner("answered")
        return cls(
            states[name],
            tuple(ras for key in sorted(states) if key != name for ras in states[key].positive),
            values.text("current", ""),
            (answered.positions("positive"), answered.positions("negative")),
            values.text("result"),
            tuple(extent_from_wire(wire) for wire in values.each("visible")),
            values.flag("fresh", default=False),
        )


def put_mask(workspace: Workspace, request: Request) -> Message:
    """Remember a mask of the client's."""
    key = request.arguments.text("key")
    shape = workspace.need_volume().geometry.shape_kji
    packed = packed_from_wire(request.arguments.raw("mask"), shape)
    workspace.masks.put(key, Kept(packed))
    return {}


def segment(workspace: Workspace, request: Request) -> Steps:
    """Bring one segment up to date: previews, then what differs from what is shown."""
    began = time.perf_counter()
    volume = workspace.need_volume()
    asked = Asked.read(request.arguments, volume.geometry)
    workspace.need_field()
    workspace.masks.check(key for key in (asked.current, asked.target.base) if key)
    wish = _wish(workspace, asked)

    def work(attempt: int) -> Generator[None, None, tuple[Result, Result]]:
        if attempt:
            workspace.drop_caches()
        old = _old(workspace, asked, wish)
        updating = _Update(workspace, request, asked, _FRUGALITY[attempt])
        return old, (yield from updating.steps(old, wish))

    old, new = yield from with_less(work, len(_FRUGALITY))
    change, shape = Difference(), volume.geometry.shape_kji
    shown = workspace.previews.of(asked.target.key)
    for extent in differences(old.mask, shown, new.mask, change):
        if extent is not None:
            _send(request, extent, new.mask[extent.slices], shape, preview=False)
        yield
    workspace.previews.settle(asked.target.key)
    workspace.masks.put_result(asked.result, new)
    suggestions = new.known.suggestions
    return {
        "change": {
            "extent": None if change.extent is None else extent_to_wire(change.extent),
            "added": change.added,
            "removed": change.removed,
        },
        "voxels": int(np.count_nonzero(new.mask)),
        "suggestions": None
        if suggestions is None
        else [{"ras": list(at.ras), "doubt": at.doubt} for at in suggestions],
        "seconds": time.perf_counter() - began,
    }


class _Update:
    """The work of one request, with pieces of one size."""

    def __init__(
        self, workspace: Workspace, request: Request, asked: Asked, frugality: int
    ) -> None:
        self._workspace = workspace
        self._request = request
        self._asked = asked
        self._frugality = frugality
        self._report = Reporter(request)

    def steps(self, old: Result, wish: Wish) -> Generator[None, None, Result]:
        """Work out the new result; previews are sent as they come."""
        asked = self._asked
        if old.wish == wish and not asked.fresh:
            return old
        model = self._workspace.model()
        task = Correction.of(old, wish, model.volume.geometry, fresh=asked.fresh)
        inference = model.frugal(self._frugality)
        work = answer(task, model.evidence, inference, _inside(asked, model))
        while True:
            try:
                chunk = next(work)
            except StopIteration as end:
                result: Result = end.value  # nothing stops it but the end of this generator
                return result
            self._pass_on(chunk)
            yield

    def _pass_on(self, chunk: Chunk) -> None:
        if chunk.extent.size:
            self._workspace.previews.show(self._asked.target.key, chunk.extent, chunk.mask)
            shape = self._workspace.need_volume().geometry.shape_kji
            _send(self._request, chunk.extent, chunk.mask, shape, preview=True)
        else:
            self._report(fraction=chunk.fraction)


def _inside(asked: Asked, model: Model) -> list[Extent]:
    whole = Extent.whole(model.volume.geometry.shape_kji)
    parts = (extent.clipped(whole) for extent in asked.visible)
    return [part for part in dict.fromkeys(parts) if part.size]


def _wish(workspace: Workspace, asked: Asked) -> Wish:
    target = asked.target
    base = workspace.masks.get(target.base).packed if target.base else None
    if base is not None and base.empty:
        base = None
    return Wish(target.positive, target.negative + asked.others, target.box, base, target.local)


def _old(workspace: Workspace, asked: Asked, wish: Wish) -> Result:
    """What the scene shows as the last result, with what is known of it."""
    if not asked.current:
        return Result(np.zeros(workspace.need_volume().geometry.shape_kji, dtype=bool))
    kept = workspace.masks.result(asked.current)
    positive, negative = asked.answered
    if kept.wish is None:
        # Sent by the client: taken to be a full answer to these clicks, made as this one is.
        whole = Extent.whole(workspace.need_volume().geometry.shape_kji)
        before = Wish(positive, negative, wish.box, wish.base, wish.local)
        return Result(kept.mask, Known(before, (whole,)))
    return kept


def _send(request: Request, extent: Extent, mask: Mask, shape: Triple, *, preview: bool) -> None:
    wire = pack_mask(mask, extent, shape)
    request.event("chunk", mask=wire, preview=preview)
