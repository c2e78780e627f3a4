"""A file over HTTP: from where an earlier attempt ended, as long as the server plays along."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import VoxelFeatLib
from VoxelFeatLib.backbones.weights.address import Address, Login
from VoxelFeatLib.errors import Cancelled

_BLOCK = 1 << 18
# Attempts in a row that brought hardly anything, and the pause before each but the first, seconds.
_PAUSES = (1.0, 2.0, 4.0)
# What hardly anything is, as a part of the file: a server that never sends more is given up.
_HARDLY = 1e-3
# Of what a server says of an error, characters.
_MOST_WORDS = 200
# Answers that a later attempt may not get.
_PASSING = (408, 429, 500, 502, 503, 504)


class TransferError(Exception):
    """The file cannot be had from there; says why."""


class ConnectionLost(TransferError):  # noqa: N818 - not yet an error: another attempt may go on
    """The server could not be reached, or stopped sending."""


class SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects in the web, but never from https to anything else."""

    def redirect_request(  # noqa: D102 - urllib's
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        parts = urllib.parse.urlsplit(newurl)
        leads = ""
        if req.type == "https" and parts.scheme != "https":
            leads = "to an address without https"
        elif parts.scheme not in {"http", "https"}:
            leads = "out of the web"
        elif "@" in parts.netloc:
            leads = "to an address with a user or password"
        if leads:
            fp.close()
            raise TransferError(f"{req.full_url} leads {leads}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Transfer:
    """Loads one file of known size, attempt after attempt, each from where the last one ended.

    Proxies are those of the environment (HTTPS_PROXY, NO_PROXY) or the system; a user and password
    in a proxy's address are told to it.

    Args:
        address: The file's.
        part: The file to fill; what it has already is kept.
        total: Bytes of the whole file.
        arrived: Called with the bytes there are, after every block.
        cancelled: Asked after every block and before every attempt.
        timeout: Longest silence of the server, seconds.
    """

    def __init__(
        self,
        address: Address,
        part: Path,
        total: int,
        *,
        arrived: Callable[[int], None],
        cancelled: Callable[[], bool],
        timeout: float,
    ) -> None:
        self.url = address.url
        self.part = part
        self.total = total
        self._arrived = arrived
        self._cancelled = cancelled
        self._timeout = timeout
        self._opener = urllib.request.build_opener(SecureRedirects, Login(address))

    def run(self) -> None:
        """Fill the file.

        Raises:
            Cancelled: The part stays, to go on from there.
            TransferError: The server has not this file, or cannot be reached; the part stays.
            OSError: The part cannot be written.
        """
        failures, most = 0, self._have()
        while (before := self._have()) != self.total:
            try:
                self._attempt(before)
                reason = "the connection was cut"
            except ConnectionLost as error:
                reason = str(error)
            # More than ever before: a file that is begun anew and anew gets nowhere.
            brought = self._have() - most
            failures = 0 if brought > _HARDLY * self.total else failures + 1
            most += max(brought, 0)
            if failures > len(_PAUSES):
                raise ConnectionLost(reason)
            if failures:
                self._pause(_PAUSES[failures - 1])

    def _have(self) -> int:
        size = self.part.stat().st_size if self.part.exists() else 0
        if size > self.total:
            self.part.unlink()
            return 0
        return size

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check()
            time.sleep(0.05)

    def _check(self) -> None:
        if self._cancelled():
            raise Cancelled

    def _attempt(self, have: int) -> None:
        """Append what the server sends, or start anew where it sends the file from its start."""
        self._check()
        response = self._asked(have)
        if response is None:
            return
        with response:
            done = have if response.status == http.client.PARTIAL_CONTENT else 0
            self._check_answer(response, done)
            with self.part.open("r+b" if done else "wb") as file:
                file.seek(done)
                while done < self.total and (block := _received(response)):
                    file.write(block[: self.total - done])
                    done = min(done + len(block), self.total)
                    self._arrived(done)
                    self._check()

    def _asked(self, have: int) -> http.client.HTTPResponse | None:
        """Ask for the rest; None where the server has no such rest, and the part is dropped."""
        headers = {
            "User-Agent": f"VoxelFeat/{VoxelFeatLib.__version__}",
            "Accept-Encoding": "identity",
            **({"Range": f"bytes={have}-"} if have else {}),
        }
        try:
            request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - http(s)
            return cast(
                "http.client.HTTPResponse", self._opener.open(request, timeout=self._timeout)
            )
        except urllib.error.HTTPError as error:
            error.close()
            answer = f"the server answered {error.code} {_words(str(error.reason))}"
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                self.part.unlink(missing_ok=True)
                return None
            if error.code in _PASSING:
                raise ConnectionLost(answer) from error
            raise TransferError(answer) from error
        except OSError as error:
            raise ConnectionLost(_reason(error)) from error
        except (ValueError, http.client.InvalidURL):  # what they say quotes passwords
            raise TransferError(
                "there is an address that cannot be: the proxy's, or one that the server leads to"
            ) from None
        except http.client.HTTPException as error:
            raise ConnectionLost(_reason(error)) from error

    def _check_answer(self, response: http.client.HTTPResponse, done: int) -> None:
        span = response.headers.get("Content-Range", "")
        if done and not span.startswith(f"bytes {done}-"):
            self.part.unlink(missing_ok=True)  # the next attempt asks for all of it
            raise ConnectionLost("the server sent another part of the file than was asked for")
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and done + int(length) != self.total:
            raise TransferError(
                f"the answer has {done + int(length)} bytes instead of {self.total}; a proxy may "
                "have sent a page of its own"
            )


def _received(response: http.client.HTTPResponse) -> bytes:
    """Wait for some bytes; none at the end."""
    try:
        return response.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionLost(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        return _reason(error.reason)
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    return _words(str(error)) or type(error).__name__


def _words(text: str) -> str:
    """What a server said, for a sentence: the first line, printable, not endless."""
    line = next(iter(text.strip().splitlines()), "")
    return "".join(filter(str.isprintable, line))[:_MOST_WORDS]
