"""Addresses of the web, and the user and password that stand in some of them."""

from __future__ import annotations

import base64
import re
import string
import urllib.parse
import urllib.request
from dataclasses import dataclass, field

from VoxelFeatLib.errors import WeightsError

# The user and password of an address, even of one that is none; with a slash in the password, too.
_LOGIN = re.compile(r"(?s)^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """Where a file lies, and who asks for it.

    Attributes:
        url: http or https, without user and password.
        authorization: What the server is told of them; empty where the address has none.
    """

    url: str
    authorization: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """The server's name."""
        return urllib.parse.urlsplit(self.url).hostname or ""

    def file(self, name: str) -> Address:
        """Return the address of a file in this folder."""
        return Address(f"{self.url.rstrip('/')}/{name}", self.authorization)


def address_of(text: str) -> Address:
    """Read the address of a folder of the web: ``https://user:password@host/folder``.

    Raises:
        WeightsError: It is none; the password is not in the sentence.
    """
    if not _is_of_the_web(text):
        raise WeightsError(
            f"“{without_login(text)}” is no address to load weights from: it begins with https:// "
            "or http://, and names the folder that has the file.",
            "In a user or password write %40 for @, %3A for :, %2F for / and %25 for %."
            if "@" in text
            else "",
        )
    parts = urllib.parse.urlsplit(text)
    login, _, place = parts.netloc.rpartition("@")
    # An umlaut or a space cannot be sent as it is.
    url = urllib.parse.quote(parts._replace(netloc=place).geturl(), safe=string.punctuation)
    return Address(url, _basic(login) if login else "")


def without_login(text: str) -> str:
    """Return an address, or what was meant to be one, for a sentence."""
    return _LOGIN.sub(r"\1…@", text)


class Login(urllib.request.BaseHandler):
    """Tells the server of an address who asks, and no other that a redirect leads to."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._server = _server(address.url)

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Say so in every request."""
        if self._address.authorization and _server(request.full_url) == self._server:
            request.add_unredirected_header("Authorization", self._address.authorization)
        return request

    https_request = http_request


def _is_of_the_web(text: str) -> bool:
    try:
        text.encode()  # bytes of the command line that are no text cannot be sent
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    # An @ so late means that the password has a ? or # in it, and the host is not the host.
    whole = "@" not in parts.query + parts.fragment
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and whole


def _server(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _basic(login: str) -> str:
    user, _, password = login.partition(":")
    words = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}"
    return "Basic " + base64.b64encode(words.encode()).decode()
