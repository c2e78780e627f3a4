"""Messages as bytes in a stream."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack

from VoxelFeatLib.worker.protocol import MAX_MESSAGE, Message, ProtocolError

# Bytes decoded at once: what is buffered stays below the largest message and one such step.
_FEED = 1 << 20
# Longest list and map: their length is announced before their content, and memory taken for it.
_MAX_LIST = 1 << 17
_MAX_MAP = 1 << 10


def encode(message: Message) -> bytes:
    """Return a message as bytes.

    Raises:
        ProtocolError: It is larger than ``MAX_MESSAGE``.
    """
    data: bytes = msgpack.packb(message, use_bin_type=True)
    if len(data) > MAX_MESSAGE:
        raise ProtocolError(
            f"A message of {len(data)} bytes is too large to be sent; send it in parts."
        )
    return data


class Decoder:
    """Cuts a stream of bytes into messages; once it has raised, the stream is lost."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            max_buffer_size=MAX_MESSAGE + _FEED,
            max_str_len=MAX_MESSAGE,
            max_bin_len=MAX_MESSAGE,
            max_array_len=_MAX_LIST,
            max_map_len=_MAX_MAP,
            max_ext_len=0,
        )
        self._fed = 0
        self._used = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Message]:
        """Take bytes and yield the messages they complete; iterate to the end.

        Raises:
            ProtocolError: Bytes that are no msgpack map, or a message that is too large.
        """
        view = memoryview(data)
        for first in range(0, len(view), _FEED):
            piece = view[first : first + _FEED]
            self._fed += len(piece)
            try:
                self._unpacker.feed(piece)
            except msgpack.BufferFull as error:
                raise _too_large() from error
            yield from self._complete()
            if self.pending_bytes > MAX_MESSAGE:
                raise _too_large()

    @property
    def pending_bytes(self) -> int:
        """Bytes of a message that is not complete; not 0 at a stream's end: it was cut off."""
        return self._fed - self._used

    def _complete(self) -> Iterator[Message]:
        while True:
            try:
                message = self._unpacker.unpack()
            except msgpack.OutOfData:
                return
            except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
                raise ProtocolError("What was received is not a message of VoxelFeat.") from error
            if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
                raise ProtocolError("What was received is not a message of VoxelFeat.")
            self._used = int(self._unpacker.tell())
            yield message


def _too_large() -> ProtocolError:
    return ProtocolError(f"A message is larger than {MAX_MESSAGE >> 20} MiB.")
