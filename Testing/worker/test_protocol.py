from __future__ import annotations

import zlib

import msgpack
import numpy as np
import pytest

from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker import framing, protocol
from VoxelFeatLib.worker.framing import Decoder
from VoxelFeatLib.worker.protocol import BadMessageError, Plane, ProtocolError

MESSAGES = [
    {"id": 1, "type": "hello", "protocol": 1},
    {"id": 2, "part": 0, "data": bytes(range(256)) * 300, "last": True},
    {"id": 3, "ok": True, "heldout": {"a": [1.5, None, False]}},
]


@pytest.mark.parametrize("size", [1, 7, 65536, 1 << 30])
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(size: int) -> None:
    stream = b"".join(map(framing.encode, MESSAGES))
    decoder, received = Decoder(), []
    for first in range(0, len(stream), size):
        received += decoder.feed(stream[first : first + size])
    assert received == MESSAGES
    assert decoder.pending_bytes == 0


def test_a_message_cut_off_is_pending() -> None:
    decoder = Decoder()
    whole, cut = map(framing.encode, MESSAGES[:2])
    assert list(decoder.feed(whole + cut[:-5])) == MESSAGES[:1]
    assert decoder.pending_bytes == len(cut) - 5


@pytest.mark.parametrize(
    "rubbish",
    [
        b"Last login: Monday",
        b"\xc1",
        b"\x91" * 3000,  # lists in lists
        b"\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\xdf\xff\xff\xff\xff",  # a map of as many
        b"\x81\x01\x02",  # a key that is no text
        b"\x81\xa1\xff\x01",  # nor this: not UTF-8
        b"\x81\xa1a\xd4\x05a",  # an extension type
        msgpack.packb([1, 2]),
    ],
)
def test_rubbish_is_refused_but_what_came_before_is_kept(rubbish: bytes) -> None:
    received = Decoder().feed(framing.encode(MESSAGES[0]) + rubbish)
    assert next(received) == MESSAGES[0]
    with pytest.raises(ProtocolError):
        next(received)


def test_an_oversized_message_is_refused_before_it_is_complete() -> None:
    decoder = Decoder()
    header = b"\x81\xa1a\xc6" + (1 << 30).to_bytes(4, "big")
    block = bytes(8 << 20)
    assert list(decoder.feed(header)) == []
    for _ in range(7):
        assert list(decoder.feed(block)) == []
    with pytest.raises(ProtocolError, match="larger than 64 MiB"):
        list(decoder.feed(block))


def test_many_small_values_cannot_make_an_oversized_message_either() -> None:
    block = msgpack.packb(bytes(10 << 20))
    stream = b"\x8f" + b"".join(msgpack.packb(str(n)) + block for n in range(8))
    with pytest.raises(ProtocolError, match="larger than 64 MiB"):
        list(Decoder().feed(stream))


def test_an_oversized_message_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="in parts"):
        framing.encode({"data": bytes(protocol.MAX_MESSAGE)})


@pytest.mark.parametrize("length", [0, 1, protocol.PART_BYTES, 2 * protocol.PART_BYTES + 3])
def test_a_payload_in_parts_is_whole_again(length: int) -> None:
    payload = np.arange(length, dtype=np.uint8).tobytes()
    parts = list(protocol.in_parts([payload[: length // 3], payload[length // 3 :]]))
    assert b"".join(data for data, _ in parts) == payload
    assert [last for _, last in parts] == [False] * (len(parts) - 1) + [True]
    assert max(len(data) for data, _ in parts) <= protocol.PART_BYTES


def test_a_mask_comes_out_as_it_went_in() -> None:
    extent = Extent((1, 2, 3), (3, 5, 8))
    mask = np.random.default_rng(0).random(extent.shape) < 0.5
    wire = msgpack.unpackb(msgpack.packb(protocol.pack_mask(mask, extent, (4, 6, 9))))
    there, read = protocol.unpack_mask(wire)
    assert there == extent
    np.testing.assert_array_equal(read, mask)
    whole = protocol.whole_mask(wire)
    assert whole.shape == (4, 6, 9)
    np.testing.assert_array_equal(whole[extent.slices], mask)
    assert whole.sum() == mask.sum()


def test_the_bits_of_a_mask_are_packed_in_c_order() -> None:
    mask = np.zeros((2, 2, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 3] = True
    wire = protocol.pack_mask(mask, Extent.whole(mask.shape), mask.shape)
    assert wire["shape"] == [2, 2, 4]
    assert wire["extent"] == [0, 0, 0, 2, 2, 4]
    assert zlib.decompress(wire["bits"]) == bytes([0b10000000, 0b00000001])


@pytest.mark.parametrize(
    "change",
    [
        {"bits": b"no zlib"},
        {"bits": zlib.compress(b"\x00")},
        {"bits": zlib.compress(bytes(1 << 20))},
        {"bits": "text"},
        {"shape": [2, 2]},
        {"shape": [2, 2, 0]},
        {"shape": [2, 2, True]},
        {"extent": [0, 0, 0, 2, 2, 5]},
        {"extent": [0, 0, 3, 2, 2, 1]},
        {"extent": [-1, 0, 0, 2, 2, 4]},
        {"extent": [0, 0, 0.5, 2, 2, 4]},
        {"extent": None},
    ],
)
def test_a_wrong_mask_is_refused(change: dict) -> None:
    whole = Extent.whole((2, 2, 4))
    wire = protocol.pack_mask(np.ones((2, 2, 4), dtype=bool), whole, (2, 2, 4))
    with pytest.raises(BadMessageError):
        protocol.unpack_mask(wire | change)


def test_a_plane_says_where_its_pixels_are() -> None:
    plane = Plane((10.0, 20.0, 30.0), (0.0, 2.0, 0.0), (0.0, 0.0, -3.0), rows=2, columns=3)
    assert Plane.from_wire(plane.to_wire()) == plane
    ras = plane.ras()
    assert ras.shape == (2, 3, 3)
    assert ras[0, 0].tolist() == [10, 20, 30]
    assert ras[1, 2].tolist() == [10, 24, 27]


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"columns": protocol.MAX_PLANE_SIDE + 1},
        {"rows": 2.0},
        {"origin_ras": [0, 0]},
        {"right_mm": [0, float("nan"), 0]},
        {"down_mm": None},
    ],
)
def test_a_wrong_plane_is_refused(change: dict) -> None:
    wire = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 2, 3).to_wire()
    with pytest.raises(BadMessageError):
        Plane.from_wire(wire | change)
