"""A web server on this machine that serves one file, well or badly; and a proxy before it."""

from __future__ import annotations

import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WeightsServer:
    """Serves `content` under every path.

    Attributes:
        ranges: Whether it heeds Range.
        cuts: Bytes after which each of the next answers is cut off.
        statuses: What the next requests are answered instead.
        says: The words beside such a status; its usual ones if empty.
        pause: Seconds between blocks.
        redirect: Where every request is sent instead.
        length: Whether it says how long its answers are.
        shift: By how much what it sends of a range begins elsewhere than asked for.
        requests: Path and Range of every request.
        logins: Authorization of every request.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ranges = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.says = ""
        self.pause = 0.0
        self.block = 1 << 14
        self.redirect = ""
        self.length = True
        self.shift = 0
        self.requests: list[tuple[str, str]] = []
        self.logins: list[str] = []
        self.url = ""
        self.on_block: Callable[[], None] = lambda: None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range", "")
        self.requests.append((handler.path, wanted))
        self.logins.append(handler.headers.get("Authorization", ""))
        if self.statuses:
            handler.send_error(self.statuses.pop(0), self.says or None)
            return
        if self.redirect:
            handler.send_response(302)
            handler.send_header("Location", self.redirect)
            handler.end_headers()
            return
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if first >= len(self.content):
            handler.send_error(416)
            return
        self._send(handler, self.content[first:], 206 if first else 200)

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes, status: int) -> None:
        handler.send_response(status)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        if status == 206:
            last = len(self.content) - 1
            span = f"bytes {last + 1 - len(body) + self.shift}-{last}/{last + 1}"
            handler.send_header("Content-Range", span)
        handler.end_headers()
        body = body[: self.cuts.pop(0)] if self.cuts else body
        for start in range(0, len(body), self.block):
            handler.wfile.write(body[start : start + self.block])
            handler.wfile.flush()
            self.on_block()
            time.sleep(self.pause)


def _handler(answer: Callable[[BaseHTTPRequestHandler], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client went away, as some tests have it

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def listening(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answer))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def proxied(server: WeightsServer, login: str = "") -> Iterator[tuple[str, list[str]]]:
    """A proxy for plain http that answers for any host with what the server has.

    Where it wants a login, others are turned away.
    """
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        if handler.headers.get("Proxy-Authorization", "") != login:
            handler.send_error(407)
            return
        handler.path = urllib.parse.urlsplit(handler.path).path
        server.answer(handler)

    with listening(answer) as url:
        yield url, seen
