"""Backbones on the worker's machine: what there is, what a fit asks for, and making it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import torch

from VoxelFeatLib.backbones.encodings import ENCODINGS
from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.backbones.registry import BACKBONES, BackboneOptions, create_backbone
from VoxelFeatLib.backbones.weights.availability import (
    availability,
    check_available,
    missing_packages,
)
from VoxelFeatLib.backbones.weights.catalogue import CATALOGUE, find_weights
from VoxelFeatLib.backbones.weights.download import DownloadProgress, DownloadSettings
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker.protocol import Message
from VoxelFeatLib.worker.server.arguments import Arguments

# Seconds between two looks at the thread; other requests wait no longer.
_PACE = 0.02

_LABELS = {
    "filters": "Filters (built in)",
    **{name: name.replace("sam2.1-", "SAM 2.1 ").replace("-plus", "+") for name in CATALOGUE},
}


def described() -> list[Message]:
    """List the backbones, whether each can be used here, and what its first use downloads."""
    return [_described(name) for name in BACKBONES]


def encodings() -> list[str]:
    """List the view encodings that SAM 2.1's backbones take, the default first."""
    return list(ENCODINGS)


def _described(name: str) -> Message:
    available, reason = availability(name)
    absent = available and name in CATALOGUE and find_weights(CATALOGUE[name]) is None
    return {
        "name": name,
        "label": _LABELS[name],
        "available": available,
        "reason": reason,
        "missing": list(missing_packages()) if name in CATALOGUE else [],
        "download_bytes": CATALOGUE[name].bytes if absent else 0,
        "options": name in CATALOGUE,
    }


@dataclass(frozen=True)
class BackboneOrder:
    """The backbone that a fit asks for.

    Attributes:
        name: Its name, or a path of a checkpoint on this machine.
        options: What was chosen of it.
    """

    name: str
    options: BackboneOptions

    @classmethod
    def read(cls, values: Arguments, device: torch.device) -> BackboneOrder:
        """Read a request's arguments.

        Raises:
            BadMessageError: One is of another kind.
            WeightsError: The backbone lacks something that only a person can install.
        """
        name = values.text("backbone", "filters")
        options = BackboneOptions(
            device,
            values.text("encoding", ""),
            values.whole("input_size", 0) or None,
            DownloadSettings(mirror=values.text("mirror", "")),
        )
        check_available(name)
        return cls(name, options)

    def made(
        self, volume: Volume, report: Callable[[DownloadProgress], None]
    ) -> Generator[None, None, Backbone]:
        """Make the backbone in a thread, so that the loop goes on meanwhile.

        Args:
            volume: What it is set up for.
            report: Called now and then while weights are downloaded.

        Raises:
            VoxelFeatError: As ``create_backbone`` raises.
        """
        making = _Making(self, volume)
        making.start()
        try:
            while making.is_alive():
                making.join(_PACE)
                if making.progress is not None:
                    report(making.progress)
                yield
        finally:
            making.unwanted.set()  # it ends with the block or weight that it waits for
        if making.error is not None:
            raise making.error
        assert making.backbone is not None  # noqa: S101 - the thread has ended without an error
        return making.backbone


class _Making(threading.Thread):
    """Makes a backbone; it ends soon after nobody wants it any more, or with the process."""

    def __init__(self, order: BackboneOrder, volume: Volume) -> None:
        super().__init__(daemon=True)
        self.unwanted = threading.Event()
        self.progress: DownloadProgress | None = None
        self.backbone: Backbone | None = None
        self.error: Exception | None = None
        self._order = order
        self._volume = volume

    def run(self) -> None:
        options = self._order.options
        download = replace(options.download, progress=self._note, cancelled=self.unwanted.is_set)
        try:
            self.backbone = create_backbone(
                self._order.name, self._volume, replace(options, download=download)
            )
        except Exception as error:  # noqa: BLE001 - raised where the reply is made
            self.error = error

    def _note(self, progress: DownloadProgress) -> None:
        self.progress = progress
