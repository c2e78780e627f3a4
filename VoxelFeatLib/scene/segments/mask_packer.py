"""A mask of a large volume packed part by part."""

from __future__ import annotations

import zlib

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask, Triple
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.worker.protocol import Message, extent_to_wire


class MaskPacker:
    """Makes of parts what ``PackedMask.of`` makes of a whole."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(level=1)
        self._bits: list[bytes] = []
        self._rest: Mask = np.zeros(0, dtype=bool)
        self._voxels = 0

    def add(self, part: Mask) -> None:
        """Go on with voxels that follow those before in C order, as ``Extent.pieces`` cuts them."""
        values = part.ravel()
        if self._rest.size:
            values = np.concatenate([self._rest, values])
        whole_bytes = values.size // 8 * 8
        self._bits.append(self._compressor.compress(np.packbits(values[:whole_bytes]).tobytes()))
        self._rest = values[whole_bytes:].copy()
        self._voxels += part.size

    def packed(self, extent: Extent, shape_kji: Triple) -> PackedMask:
        """Return the mask whose voxels of an extent were added; nothing can be added then."""
        if self._voxels != extent.size:
            raise ValueError(f"{self._voxels} voxels were added for {extent.size}")
        self._bits.append(self._compressor.compress(np.packbits(self._rest).tobytes()))
        self._bits.append(self._compressor.flush())
        bits = b"".join(self._bits) if extent.size else b""
        return PackedMask(shape_kji, extent.start_kji, extent.stop_kji, bits)


def as_message(packed: PackedMask) -> Message:
    """Return a packed mask as messages carry masks."""
    extent = Extent(packed.start_kji, packed.stop_kji)
    return {
        "shape": list(packed.shape_kji),
        "extent": extent_to_wire(extent),
        "bits": packed.bits or zlib.compress(b""),
    }
