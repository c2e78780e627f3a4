"""One worker process as messages: greeting, decoding, payloads under back pressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.worker.client.exits import End
from VoxelFeatLib.worker.client.requests import OnMessage, run_all
from VoxelFeatLib.worker.client.transport import OnLog, Transport
from VoxelFeatLib.worker.framing import Decoder, encode
from VoxelFeatLib.worker.protocol import GREETING, Message, ProtocolError

# Parts of payloads are written while fewer bytes than this wait in the transport.
_MOST_PENDING = 8 << 20
# Most bytes of a remote shell's banner that are kept while looking for the worker's greeting.
_MOST_BANNER = 1 << 16

Parts = Iterator[tuple[bytes, bool]]
OnBroken = Callable[[VoxelFeatError], None]


@dataclass(eq=False)
class _Upload:
    number: int
    parts: Parts
    on_broken: OnBroken
    sent: int = 0


class Connection:
    """Messages to and from one worker, until it ends or ``close``; then nothing is called.

    Args:
        transport: A new one.
        on_greeted: Called when the worker begins to speak.
        on_message: Called with each of its messages.
        on_log: Called with each line of its log, and of what it printed before its greeting.
        on_end: Called once when it has ended, or had to be ended because it sent rubbish.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        on_greeted: Callable[[], None],
        on_message: OnMessage,
        on_log: OnLog,
        on_end: Callable[[End], None],
    ) -> None:
        self._transport = transport
        self._on_greeted = on_greeted
        self._on_message = on_message
        self._on_log = on_log
        self._on_end = on_end
        self._banner: bytearray | None = bytearray()
        self._decoder = Decoder()
        self._uploads: deque[_Upload] = deque()
        self._last_line = ""
        self._open = False

    @property
    def last_line(self) -> str:
        """The last line of its log that is not empty."""
        return self._last_line

    def open(self) -> None:
        """Start the worker."""
        self._open = True
        self._transport.on_drained = self._fill
        self._transport.start(self._receive, self._log, self._ended)

    def close(self) -> None:
        """End the worker with all that it started."""
        self._open = False
        self._uploads.clear()
        self._transport.on_drained = None
        self._transport.stop()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            ProtocolError: It is too large.
        """
        self._transport.write(encode(message))

    def upload(self, number: int, parts: Parts, on_broken: OnBroken) -> None:
        """Send a payload after its request, bit by bit.

        Args:
            number: The request's id.
            parts: The parts, and whether each is the last.
            on_broken: Called when they cannot be read; none is sent after that.
        """
        self._uploads.append(_Upload(number, parts, on_broken))
        self._fill()

    def drop_upload(self, number: int) -> bool:
        """Send no further part of a payload; returns whether some were left."""
        before = len(self._uploads)
        self._uploads = deque(upload for upload in self._uploads if upload.number != number)
        return len(self._uploads) < before

    def _fill(self) -> None:
        """Write parts until enough wait in the transport."""
        while self._open and self._uploads and self._transport.pending_bytes < _MOST_PENDING:
            upload = self._uploads[0]
            part = self._next_part(upload)
            if part is None:
                continue
            data, last = part
            self.send({"id": upload.number, "part": upload.sent, "data": data, "last": last})
            upload.sent += 1
            if last:
                self._uploads.remove(upload)

    def _next_part(self, upload: _Upload) -> tuple[bytes, bool] | None:
        """Read a part; None, and the payload is dropped, where that fails."""
        try:
            return next(upload.parts)
        except VoxelFeatError as error:
            self._uploads.remove(upload)
            upload.on_broken(error)
            return None
        except Exception:
            self._uploads.remove(upload)
            upload.on_broken(VoxelFeatError("What was to be sent could not be read."))
            raise

    def _receive(self, data: bytes) -> None:
        if self._banner is not None:
            data = self._after_greeting(data)
        if not self._open or self._banner is not None:
            return
        messages: list[Message] = []
        error = None
        try:
            for message in self._decoder.feed(data):
                messages.append(message)  # noqa: PERF402 - those before rubbish count
        except ProtocolError as raised:
            error = raised
        calls: list[Callable[[], object]] = [partial(self._deliver, each) for each in messages]
        if error is not None:
            calls.append(partial(self._end, End(None, "it sent what is no message")))
        run_all(calls)

    def _after_greeting(self, data: bytes) -> bytes:
        """Skip what a remote shell prints before the worker speaks, but show it in the log."""
        banner = self._banner or bytearray()
        banner += data
        before, greeting, rest = bytes(banner).partition(GREETING)
        if not greeting:
            self._banner = banner[-_MOST_BANNER:]
            return b""
        self._banner = None
        self._log_banner(before)
        self._on_greeted()
        return rest

    def _log_banner(self, banner: bytes) -> None:
        for line in banner.decode("utf-8", errors="replace").splitlines():
            self._log(line)

    def _deliver(self, message: Message) -> None:
        if self._open:
            self._on_message(message)

    def _log(self, line: str) -> None:
        if self._open:
            self._last_line = line.strip() or self._last_line
            self._on_log(line)

    def _ended(self, code: int | None, reason: str) -> None:
        if self._open and self._banner and not self._last_line:
            self._log_banner(bytes(self._banner))
        self._end(End(code, reason, self._last_line))

    def _end(self, end: End) -> None:
        if self._open:
            self.close()
            self._on_end(end)
