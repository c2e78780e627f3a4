"""What messages carry, for both sides; without torch. docs/protocol.md describes each message.

One message is one msgpack map with text keys. Coordinates are RAS mm in the volume's own space,
extents six whole numbers ``[k0, j0, i0, k1, j1, i1]``, stop excluded.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.imaging.aliases import FloatArray, Mask, Position, Triple
from VoxelFeatLib.segmenting.extent import Extent

Message = dict[str, Any]

VERSION = 1
# The server's first bytes, the same in every version: before them a remote shell may print its
# banner to the same pipe, which the client skips. `hello` tells the version.
GREETING = b"\nVOXELFEAT1\n"
# No message may be larger; payloads are cut into parts of at most PART_BYTES.
MAX_MESSAGE = 64 << 20
PART_BYTES = 4 << 20
# Most voxels of one mask chunk.
CHUNK_VOXELS = 4 << 20
# Most rows or columns of a plane, and most pixels of all planes of one request.
MAX_PLANE_SIDE = 4096
MAX_PLANE_PIXELS = 4 << 20

# What an error reply's "code" can be.
BAD_REQUEST = "bad_request"
INPUT = "input"
GEOMETRY = "geometry"
FIELD_FILE = "field_file"
OUT_OF_MEMORY = "out_of_memory"
CANCELLED = "cancelled"
SUPERSEDED = "superseded"
UNKNOWN_MASK = "unknown_mask"
NO_VOLUME = "no_volume"
NO_FIELD = "no_field"
BUSY = "busy"
TOO_LARGE = "too_large"
PROTOCOL = "protocol"
INTERNAL = "internal"
# Only the client's own.
WORKER_DIED = "worker_died"
NOT_STARTED = "not_started"


class ProtocolError(VoxelFeatError):
    """Bytes that are no message; what follows them cannot be understood either."""


class BadMessageError(VoxelFeatError):
    """A message whose content is not what its type asks for; the next one may be right."""


def in_parts(blocks: Iterable[bytes | memoryview]) -> Iterator[tuple[bytes, bool]]:
    """Cut a payload of any blocks into (data of at most PART_BYTES, whether it is the last).

    An empty payload is one empty last part.
    """
    waiting: bytes | None = None
    for block in blocks:
        view = memoryview(block).cast("B")
        for first in range(0, len(view), PART_BYTES):
            if waiting is not None:
                yield waiting, False
            waiting = bytes(view[first : first + PART_BYTES])
    yield waiting or b"", True


# ---------------------------------------------------------------------- extents and masks


def extent_to_wire(extent: Extent) -> list[int]:
    """Return six whole numbers."""
    return [*extent.start_kji, *extent.stop_kji]


def extent_from_wire(value: Any) -> Extent:
    """Read six whole numbers; BadMessageError where they are no extent."""
    numbers = whole_numbers(value, 6, "an extent")
    extent = Extent.of(numbers[:3], numbers[3:])
    if any(a > b for a, b in zip(extent.start_kji, extent.stop_kji, strict=True)):
        raise BadMessageError(f"An extent stops before it starts: {numbers}.")
    return extent


def pack_mask(mask: Mask, extent: Extent, shape_kji: Triple) -> Message:
    """Return the voxels of one extent as a message carries them.

    Args:
        mask: (K, J, I) of the extent's shape.
        extent: Which voxels of the volume.
        shape_kji: Of the whole volume.
    """
    if mask.shape != extent.shape:
        raise ValueError(f"mask of shape {mask.shape} for an extent of shape {extent.shape}")
    bits = np.packbits(np.ascontiguousarray(mask, dtype=bool))
    return {
        "shape": list(shape_kji),
        "extent": extent_to_wire(extent),
        "bits": zlib.compress(bits.tobytes(), level=1),
    }


def mask_place(wire: Any) -> tuple[Triple, Extent]:
    """Read only shape and extent of a mask; BadMessageError where they do not make sense."""
    if not isinstance(wire, dict) or not isinstance(wire.get("bits"), bytes):
        raise BadMessageError("A mask needs its shape, its extent and its bits.")
    shape = _shape(wire.get("shape"))
    extent = extent_from_wire(wire.get("extent"))
    if extent.clipped(Extent.whole(shape)) != extent:
        raise BadMessageError(f"A mask's extent leaves its shape {list(shape)}.")
    return shape, extent


def unpack_mask(wire: Any) -> tuple[Extent, Mask]:
    """Return a mask's extent and its (K, J, I) voxels there.

    Raises:
        BadMessageError: Not a mask, or its bits are not those of its extent.
    """
    _, extent = mask_place(wire)
    expected = -(-extent.size // 8)
    try:
        # One byte more than expected is enough to see that there are too many.
        packed = zlib.decompressobj().decompress(wire["bits"], expected + 1)
    except zlib.error as error:
        raise BadMessageError("The bits of a mask are damaged.") from error
    if len(packed) != expected:
        raise BadMessageError("A mask has not as many bits as its extent has voxels.")
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=extent.size)
    return extent, bits.view(bool).reshape(extent.shape)


def whole_mask(wire: Any) -> Mask:
    """Return a mask as an array of its whole shape; raises as ``unpack_mask``."""
    shape, _ = mask_place(wire)
    extent, part = unpack_mask(wire)
    mask = np.zeros(shape, dtype=bool)
    mask[extent.slices] = part
    return mask


# ---------------------------------------------------------------------- planes


@dataclass(frozen=True)
class Plane:
    """A picture's pixels in space: pixel (row, column) lies at origin + row*down + column*right.

    Attributes:
        origin_ras: Centre of the first pixel, mm.
        right_mm: Step to the next column.
        down_mm: Step to the next row.
        rows: Number of rows.
        columns: Number of columns.
    """

    origin_ras: Position
    right_mm: Position
    down_mm: Position
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.rows * self.columns

    def ras(self) -> FloatArray:
        """Return the pixels' positions, (rows, columns, 3) mm."""
        row = np.arange(self.rows, dtype=np.float64)[:, None, None]
        column = np.arange(self.columns, dtype=np.float64)[None, :, None]
        return np.asarray(
            np.asarray(self.origin_ras)
            + row * np.asarray(self.down_mm)
            + column * np.asarray(self.right_mm)
        )

    def to_wire(self) -> Message:
        """Return the plane as a message carries it."""
        return {
            "origin_ras": list(self.origin_ras),
            "right_mm": list(self.right_mm),
            "down_mm": list(self.down_mm),
            "rows": self.rows,
            "columns": self.columns,
        }

    @classmethod
    def from_wire(cls, wire: Any) -> Plane:
        """Read a plane; BadMessageError where it is none, or too large."""
        if not isinstance(wire, dict):
            raise BadMessageError("A plane is a map.")
        names = ("origin_ras", "right_mm", "down_mm")
        origin, right, down = (position_from_wire(wire.get(name), name) for name in names)
        rows, columns = whole_numbers([wire.get("rows"), wire.get("columns")], 2, "a plane's size")
        if not 1 <= min(rows, columns) <= max(rows, columns) <= MAX_PLANE_SIDE:
            raise BadMessageError(f"A plane has 1 to {MAX_PLANE_SIDE} rows and columns.")
        return cls(origin, right, down, rows, columns)


# ---------------------------------------------------------------------- numbers


def position_from_wire(value: Any, name: str = "a position") -> Position:
    """Read three finite numbers; BadMessageError otherwise."""
    r, a, s = numbers_from_wire(value, 3, name)
    return r, a, s


def numbers_from_wire(value: Any, count: int, name: str) -> list[float]:
    """Read a list of finite numbers; BadMessageError otherwise."""
    if not isinstance(value, list) or len(value) != count:
        raise BadMessageError(f"{name} must be {count} numbers.")
    if not all(_is_number(number) and math.isfinite(number) for number in value):
        raise BadMessageError(f"{name} must be {count} finite numbers.")
    return [float(number) for number in value]


def whole_numbers(value: Any, count: int, name: str) -> list[int]:
    """Read a list of whole numbers; BadMessageError otherwise."""
    numbers = value if isinstance(value, list) else []
    if len(numbers) != count or not all(type(n) is int and abs(n) < 1 << 31 for n in numbers):
        raise BadMessageError(f"{name} must be {count} whole numbers.")
    return numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shape(value: Any) -> Triple:
    k, j, i = whole_numbers(value, 3, "a shape")
    if min(k, j, i) < 1:
        raise BadMessageError("A shape needs at least one voxel along every axis.")
    return k, j, i
