"""The pipe's two ends in the worker: a reader thread with a bounded inbox, and a writer."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from VoxelFeatLib.worker.framing import Decoder
from VoxelFeatLib.worker.protocol import Message, ProtocolError

# Payload bytes that may wait; then the pipe fills up and the other side waits.
_MOST_BYTES = 64 << 20
_READ = 1 << 20
# What any message is taken to weigh.
_MESSAGE_BYTES = 1 << 10


@dataclass(frozen=True)
class Ended:
    """The stream is over.

    Attributes:
        error: Why, where it did not simply end.
    """

    error: ProtocolError | None = None


class Inbox:
    """Messages in order, from the reader thread to the loop."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._items: deque[tuple[Message | Ended, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, item: Message | Ended) -> None:
        """Add a message; waits while too much is waiting already."""
        data = item.get("data") if isinstance(item, dict) else None
        size = _MESSAGE_BYTES + (len(data) if isinstance(data, bytes) else 0)
        with self._changed:
            self._changed.wait_for(
                lambda: self._bytes + size <= self._most_bytes or not self._items
            )
            self._items.append((item, size))
            self._bytes += size
            self._changed.notify_all()

    def get(self, *, wait: bool) -> Message | Ended | None:
        """Take the oldest message; None when there is none and one is not to wait."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._items)
            if not self._items:
                return None
            item, size = self._items.popleft()
            self._bytes -= size
            self._changed.notify_all()
            return item


def read_into(inbox: Inbox, descriptor: int, after: Callable[[], None] = lambda: None) -> None:
    """Read messages until the stream ends or breaks; the reader thread's work.

    Args:
        inbox: Where they go; the last item is an ``Ended``.
        descriptor: What is read.
        after: Called at the end.
    """
    decoder = Decoder()
    end = Ended()
    try:
        while data := os.read(descriptor, _READ):
            for message in decoder.feed(data):
                inbox.put(message)
    except ProtocolError as error:
        end = Ended(error)
    except OSError:
        pass  # as good as its end
    inbox.put(end)
    after()


def start_reader(inbox: Inbox, descriptor: int, after: Callable[[], None] = lambda: None) -> None:
    """Start the reader thread."""
    threading.Thread(target=read_into, args=(inbox, descriptor, after), daemon=True).start()


def write_to(descriptor: int, data: bytes) -> None:
    """Write everything."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
