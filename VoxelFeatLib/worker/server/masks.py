"""Masks the worker remembers by the keys that the client gave them, packed, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Triple
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.segmenting.updating import Known, Result
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.server.failures import Refused

_MOST_PACKED = 256 << 20
_MOST_UNPACKED = 1 << 30
# What an entry weighs beside its bits.
_ENTRY = 1 << 10


@dataclass(frozen=True)
class Kept:
    """A mask and, where this worker made it, what is known of it.

    Attributes:
        packed: The mask.
        known: Nothing for a mask that the client sent.
    """

    packed: PackedMask
    known: Known = field(default_factory=Known)


class MaskStore:
    """Masks by key: all of them packed, those used last also as arrays.

    The ones that were not used for longest are forgotten first; the client sends them again when
    it is told that they are unknown.

    Args:
        most_packed: Bytes of packed masks.
        most_unpacked: Bytes of arrays; the one used last always stays.
    """

    def __init__(
        self, most_packed: int = _MOST_PACKED, most_unpacked: int = _MOST_UNPACKED
    ) -> None:
        self._most_packed = most_packed
        self._most_unpacked = most_unpacked
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._bytes = 0

    def put(self, key: str, kept: Kept) -> None:
        """Remember a mask; an older one of that key is replaced."""
        self._forget(key)
        self._results.pop(key, None)
        self._kept[key] = kept
        self._bytes += _ENTRY + len(kept.packed.bits)
        while self._bytes > self._most_packed and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))

    def put_result(self, key: str, result: Result) -> None:
        """Remember a result, packed and as it is."""
        self.put(key, Kept(PackedMask.of(result.mask), result.known))
        self._hold(key, result)

    def check(self, keys: Iterable[str]) -> None:
        """Raise Refused with the list of those keys that are unknown."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._kept]
        if missing:
            raise Refused(
                protocol.UNKNOWN_MASK,
                "The worker does not have a mask that the request needs.",
                keys=missing,
            )

    def get(self, key: str) -> Kept:
        """Return a mask, and count it as used."""
        self.check([key])
        self._kept.move_to_end(key)
        return self._kept[key]

    def result(self, key: str) -> Result:
        """Return a mask as an array with what is known of it, and count it as used."""
        kept = self.get(key)
        result = self._results.get(key)
        if result is None:
            result = Result(kept.packed.mask(), kept.known)
        self._hold(key, result)
        return result

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._results.clear()
        self._bytes = 0

    def drop_arrays(self) -> None:
        """Keep masks only packed."""
        self._results.clear()

    def _hold(self, key: str, result: Result) -> None:
        self._results[key] = result
        self._results.move_to_end(key)
        while (
            len(self._results) > 1
            and sum(held.mask.nbytes for held in self._results.values()) > self._most_unpacked
        ):
            self._results.popitem(last=False)

    def _forget(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= _ENTRY + len(kept.packed.bits)


def packed_from_wire(wire: Any, shape_kji: Triple) -> PackedMask:
    """Read a mask on the volume's grid.

    Raises:
        BadMessageError: It is none.
        InputError: It is of another shape than the volume.
    """
    shape, _ = protocol.mask_place(wire)
    if shape != shape_kji:
        raise InputError(f"The mask has shape {shape}, but the volume has {shape_kji}.")
    extent, part = protocol.unpack_mask(wire)
    inner = PackedMask.of(part)
    if inner.empty:
        return PackedMask(shape, (0, 0, 0), (0, 0, 0), b"")
    (k, j, i), (a, b, c), (d, e, f) = extent.start_kji, inner.start_kji, inner.stop_kji
    return PackedMask(shape, (k + a, j + b, i + c), (k + d, j + e, i + f), inner.bits)
