"""Downloads of official weights: resumed, verified, and never half there."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from VoxelFeatLib.backbones.weights.address import Address, address_of
from VoxelFeatLib.backbones.weights.catalogue import (
    OfficialWeights,
    by_hand,
    find_weights,
    sha256_of,
    weights_folder,
)
from VoxelFeatLib.backbones.weights.locking import only_process
from VoxelFeatLib.backbones.weights.transfer import Transfer, TransferError
from VoxelFeatLib.errors import Cancelled, WeightsError

_MIRROR = "VOXELFEAT_WEIGHTS_URL"
_TIMEOUT_SECONDS = 20.0
_HINT = (
    f"Behind a proxy set HTTPS_PROXY; {_MIRROR} may name a folder of the web that has the file. "
    "Where either asks who you are, its address is https://user:password@host."
)


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is.

    Attributes:
        bytes: What is there.
        total: What will be.
        seconds_left: An estimate; None until there is one.
    """

    bytes: int
    total: int
    seconds_left: float | None

    @property
    def fraction(self) -> float:
        """Between 0 and 1."""
        return self.bytes / self.total


@dataclass(frozen=True)
class DownloadSettings:
    """How to download.

    Attributes:
        mirror: Folder of the web that has the file, http or https, with user and password where it
            asks for them; empty for the one in ``VOXELFEAT_WEIGHTS_URL``, or else the authors'.
        progress: Called after every block that arrives, and while another process downloads.
        cancelled: Asked as often.
        timeout: Longest silence of the server, seconds.
    """

    mirror: str = ""
    progress: Callable[[DownloadProgress], None] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False
    timeout: float = _TIMEOUT_SECONDS


def obtain_weights(
    weights: OfficialWeights,
    settings: DownloadSettings | None = None,
    folder: Path | None = None,
) -> Path:
    """Return the path of official weights in a folder, by default the cache's; load what is not.

    Of processes that want the same file at once, one downloads it.

    Raises:
        WeightsError: It cannot be had; the sentence says what to do.
        Cancelled: What has arrived stays, and the next attempt goes on from there.
    """
    folder = folder or weights_folder()
    if (found := find_weights(weights, folder)) is not None:
        return found
    download = _Download(weights, settings or DownloadSettings(), folder)
    try:
        return download.run()
    except OSError as error:
        raise WeightsError(
            f"The weights of “{weights.name}” cannot be written to {folder}: "
            f"{error.strerror or error}.",
            "VOXELFEAT_CACHE may name another folder for what is kept.",
        ) from error
    except TransferError as error:
        raise WeightsError(
            f"The weights of “{weights.name}” could not be downloaded from "
            f"{download.address.host} ({error}): try again, "
            f"or {by_hand(weights, folder)}.",
            _HINT,
        ) from error


class _Download:
    def __init__(self, weights: OfficialWeights, settings: DownloadSettings, folder: Path) -> None:
        self.weights = weights
        self.settings = settings
        self.folder = folder
        self.path = folder / weights.file
        self.address = _address(weights, settings.mirror)
        self._part = folder / f"{weights.file}.part"
        self._started: tuple[float, int] | None = None

    def run(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / f".{self.weights.file}.lock"
        with only_process(lock, self._wait) as alone:
            # Another process may have brought it while this one waited.
            if found := find_weights(self.weights, self.folder):
                return found
            if alone:
                self._load()
            else:
                self._load_apart()
        return self.path

    def _load_apart(self) -> None:
        """Load into a file that no other process knows, and that none goes on with."""
        self._part = self.folder / f".{secrets.token_hex(4)}.{self.weights.file}.part"
        try:
            self._load()
        finally:
            self._part.unlink(missing_ok=True)

    def _load(self) -> None:
        have = self._have()
        free = shutil.disk_usage(self.folder).free
        if free < self.weights.bytes - have:
            raise WeightsError(
                f"There is too little space in {self.folder} for the weights of "
                f"“{self.weights.name}”: {self.weights.megabytes} MB are needed, "
                f"{round((free + have) / 1e6)} MB are free.",
                "Make room, or let VOXELFEAT_CACHE name another folder for what is kept.",
            )
        Transfer(
            self.address,
            self._part,
            self.weights.bytes,
            arrived=self._report,
            cancelled=self.settings.cancelled,
            timeout=self.settings.timeout,
        ).run()
        self._verify()
        with self._part.open("rb+") as file:
            os.fsync(file.fileno())
        self._part.replace(self.path)

    def _verify(self) -> None:
        if sha256_of(self._part, self.settings.cancelled) != self.weights.sha256:
            self._part.unlink()
            raise WeightsError(
                f"What came from {self.address.url} is not the official {self.weights.file} (its "
                "SHA-256 differs) and was removed: try again, or "
                f"{by_hand(self.weights, self.folder)}."
            )

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _wait(self) -> None:
        if self.settings.cancelled():
            raise Cancelled
        self._report(min(self._have(), self.weights.bytes))

    def _report(self, done: int) -> None:
        now, total = time.monotonic(), self.weights.bytes
        if self._started is None or done < self._started[1]:
            self._started = (now, done)
        seconds, arrived = now - self._started[0], done - self._started[1]
        left = (total - done) * seconds / arrived if arrived else None
        self.settings.progress(DownloadProgress(done, total, left))


def _address(weights: OfficialWeights, mirror: str) -> Address:
    mirror = mirror or os.environ.get(_MIRROR, "")
    return address_of(mirror).file(weights.file) if mirror else Address(weights.url)
