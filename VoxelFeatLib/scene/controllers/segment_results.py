"""What the worker has answered for each segment, and how it may be told of it again.

The worker keeps masks by keys and may forget them (or be restarted); this side keeps the mask of
the last accepted answer of every segment, so any request can be repeated.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from VoxelFeatLib.imaging.aliases import Position, Triple
from VoxelFeatLib.scene.segments.bit_mask import BitMask
from VoxelFeatLib.scene.segments.mask_packer import as_message
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.worker.protocol import Message

Positions = tuple[Position, ...]


@dataclass(frozen=True)
class SegmentClicks:
    """The clicks of one segment in the volume's own space, RAS mm; scribbles are many clicks."""

    positive: Positions = ()
    negative: Positions = ()

    def __bool__(self) -> bool:
        return bool(self.positive or self.negative)

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.positive) + len(self.negative)

    def to_wire(self) -> Message:
        """Return them as a message carries them."""
        return {
            "positive": [list(position) for position in self.positive],
            "negative": [list(position) for position in self.negative],
        }


@dataclass
class SegmentResult:
    """One segment's accepted answer.

    Attributes:
        mask: The accepted mask.
        key: Under which the worker may still know it; "" when it cannot.
        answered: The clicks it answers, those of other segments among the negative ones.
        touched: Where more than that is shown: previews of an answer still being worked out.
        base: The mask the segment starts from; None when from nothing.
        base_key: The key of ``base``.
        packed: The accepted mask as it was when its key was ``packed_key``, to be sent.
        packed_key: That key.
        suggestions: Where the answer is most in doubt, voxel centres in the volume's own space, RAS
            mm, the most doubtful first; None while not known, as when clicks are not answered yet.
    """

    mask: BitMask
    key: str = ""
    answered: SegmentClicks = SegmentClicks()
    touched: list[Extent] = field(default_factory=list)
    base: PackedMask | None = None
    base_key: str = ""
    packed: PackedMask | None = None
    packed_key: str = ""
    suggestions: Positions | None = None

    @classmethod
    def empty(cls, shape_kji: Triple) -> SegmentResult:
        """Return the result of a segment that nothing was asked for."""
        return cls(BitMask(shape_kji))

    def current_key(self) -> str | None:
        """Return the key under which to speak of the accepted mask; None when it is empty."""
        if self.key:
            return self.key
        if self.mask.empty:
            return None
        self.key = new_key()
        return self.key

    def start_from(self, base: PackedMask | None) -> None:
        """Have the segment start from a mask; None for nothing."""
        self.base = base
        self.base_key = "" if base is None else new_key()

    def wire(self, key: str) -> Message | None:
        """Return the mask of a key as a message carries it; None when it is not packed here."""
        for known, packed in ((self.packed_key, self.packed), (self.base_key, self.base)):
            if key and key == known and packed is not None:
                return as_message(packed)
        return None

    def packing(self) -> Generator[None, None, None]:
        """Have the accepted mask ready to be sent, part by part."""
        key = self.key
        self.packed = yield from self.mask.packing()
        self.packed_key = key

    def toggle(self, difference: PackedMask) -> Extent:
        """Flip voxels, as undo and redo do; the worker does not know what comes out."""
        self.key = ""
        return self.mask.toggle(difference)


def new_key() -> str:
    """Return a key that no mask has had, in any session."""
    return uuid.uuid4().hex


def suggested(reply: Message) -> Positions | None:
    """Return the places that a reply suggests.

    None from a worker that does not know, is too old to tell any, or tells what cannot be
    understood: the mask that it has sent is as good as ever.
    """
    try:
        places = [[float(number) for number in place["ras"]] for place in reply["suggestions"]]
        found = tuple((r, a, s) for r, a, s in places)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if np.isfinite(found).all() else None


def message_segments(
    clicks: dict[str, SegmentClicks],
    results: dict[str, SegmentResult],
    boxes: dict[str, Extent],
    *,
    local: bool,
) -> list[Message]:
    """Return the states of all segments as a request carries them."""
    return [
        {
            "id": segment_id,
            **own.to_wire(),
            "box": [*box.start_kji, *box.stop_kji] if (box := boxes.get(segment_id)) else None,
            "base": results[segment_id].base_key or None,
            "locality": local,
        }
        for segment_id, own in clicks.items()
    ]


def answered_by(clicks: dict[str, SegmentClicks], segment_id: str) -> SegmentClicks:
    """Return what an answer for a segment takes into account: others' positives are negatives."""
    others = [own.positive for name, own in sorted(clicks.items()) if name != segment_id]
    negatives = clicks[segment_id].negative + tuple(p for own in others for p in own)
    return SegmentClicks(clicks[segment_id].positive, negatives)


def as_mask_source(results: dict[str, SegmentResult]) -> Any:
    """Return what a request asks for masks that the worker does not know."""

    def wire(key: str) -> Message | None:
        return next((found for result in results.values() if (found := result.wire(key))), None)

    return wire
