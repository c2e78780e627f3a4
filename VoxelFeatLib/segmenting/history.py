"""Undo and redo, kept small: masks as packed bits of an extent, changes as what differs."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box


@dataclass(frozen=True)
class PackedMask:
    """The set voxels of a (K, J, I) mask: a box and its bits, eight to a byte, compressed.

    Attributes:
        shape_kji: Shape of the whole mask.
        start_kji: First voxel of the box.
        stop_kji: One past its last voxel; equal to ``start_kji`` when no voxel is set.
        bits: zlib-compressed ``numpy.packbits`` of the box in C order.
    """

    shape_kji: tuple[int, int, int]
    start_kji: tuple[int, int, int]
    stop_kji: tuple[int, int, int]
    bits: bytes

    @classmethod
    def of(cls, mask: Mask) -> PackedMask:
        """Pack a mask."""
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        box = bounding_box(mask)
        if box is None:
            return cls(shape, (0, 0, 0), (0, 0, 0), b"")
        k, j, i = box
        bits = zlib.compress(np.packbits(mask[box]).tobytes(), level=1)
        return cls(shape, (k.start, j.start, i.start), (k.stop, j.stop, i.stop), bits)

    def mask(self) -> Mask:
        """Return the whole (K, J, I) mask."""
        result = np.zeros(self.shape_kji, dtype=bool)
        self.toggle(result)
        return result

    def toggle(self, mask: Mask) -> None:
        """Flip in place every voxel of a (K, J, I) mask that is set here."""
        if not self.bits:
            return
        box = tuple(slice(a, b) for a, b in zip(self.start_kji, self.stop_kji, strict=True))
        part = mask[box]
        packed = np.frombuffer(zlib.decompress(self.bits), dtype=np.uint8)
        part ^= np.unpackbits(packed, count=part.size).view(bool).reshape(part.shape)

    @property
    def empty(self) -> bool:
        """True when no voxel is set."""
        return not self.bits


class Sized(Protocol):
    """Something that tells how many bytes it holds."""

    def nbytes(self) -> int:
        """Bytes held, about."""


EntryT = TypeVar("EntryT", bound=Sized)


class History(Generic[EntryT]):
    """Done and undone entries; the oldest are forgotten when there are too many, or too big.

    Args:
        most_entries: Entries that can be undone.
        most_bytes: Bytes that all entries may hold together; the newest is always kept.
    """

    def __init__(self, most_entries: int = 200, most_bytes: int = 64 << 20) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._done: deque[EntryT] = deque()
        self._undone: list[EntryT] = []

    def __len__(self) -> int:
        """Return the number of entries that can be undone."""
        return len(self._done)

    def push(self, entry: EntryT) -> None:
        """Remember what was just done; what had been undone can no longer be redone."""
        self._undone.clear()
        self._done.append(entry)
        self.trim()

    def trim(self) -> None:
        """Forget the oldest entries beyond the limits; call it when the newest one grew."""
        while len(self._done) > 1 and (
            len(self._done) > self._most_entries
            or sum(entry.nbytes() for entry in self._done) > self._most_bytes
        ):
            self._done.popleft()

    def newest(self) -> EntryT | None:
        """Return what would be undone next."""
        return self._done[-1] if self._done else None

    def undo(self) -> EntryT | None:
        """Move the newest done entry to the undone ones and return it; None when there is none."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def redo(self) -> EntryT | None:
        """Move the last undone entry back and return it; None when there is none."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]

    @property
    def can_redo(self) -> bool:
        """True when something can be redone."""
        return bool(self._undone)

    def undone(self) -> Iterator[EntryT]:
        """Iterate over what can be redone."""
        return iter(self._undone)

    def done(self) -> Iterator[EntryT]:
        """Iterate over what can be undone, the newest first."""
        return reversed(self._done)

    def drop(self, unwanted: Callable[[EntryT], bool]) -> None:
        """Forget entries, done and undone ones."""
        self._done = deque(entry for entry in self._done if not unwanted(entry))
        self._undone = [entry for entry in self._undone if not unwanted(entry)]
