"""Fits kept in a folder: what their files are called, and finding them again."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelFeatLib.errors import FieldFileError
from VoxelFeatLib.field.files import FieldHeader, check_volume, jsonable, read_header

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.volume import Volume

_log = logging.getLogger(__name__)

FIELD, CHECKPOINT = ".voxelfeat", ".checkpoint"
# A volume or a checkpoint of one's own may have a long name, and a file name has an end.
_MOST_NAME = 60
# Digits of checksums in names: of the volume, of the settings, and those of the volume that names
# of every version have.
_VOLUME, _SETTINGS, _ALWAYS = 16, 12, 12


@dataclass(frozen=True, eq=False)
class FitKey:
    """A fit, told from all whose field would be another.

    Attributes:
        volume: The volume.
        backbone: Its fingerprint says version, encoding, input size and weights.
        preset: All numbers of the fit.
        seed: Decides every random choice.
    """

    volume: Volume
    backbone: Backbone
    preset: Preset
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the field besides the volume, as field files keep it."""
        return {
            "preset": jsonable(self.preset),
            "backbone": self.backbone.fingerprint,
            "seed": self.seed,
        }

    def path(self, folder: Path, ending: str = FIELD, title: str = "") -> Path:
        """Return where the fit is kept; a title is for people, and finds nothing."""
        settings = json.dumps(self.settings, sort_keys=True).encode()
        words = [
            self.volume.sha256()[:_VOLUME],
            _cleaned(title),
            _cleaned(self.backbone.name),
            self.preset.name,
            hashlib.sha256(settings).hexdigest()[:_SETTINGS],
        ]
        return folder / ("-".join(word for word in words if word) + ending)

    def fields(self, folder: Path) -> list[Path]:
        """List the fields of this very fit, whatever another version called them."""
        return [
            path
            for path, header in fields_of(folder, self.volume)
            if header.record.get("settings") == self.settings
        ]


def fields_of(folder: Path, volume: Volume) -> Iterator[tuple[Path, FieldHeader]]:
    """Go through a volume's fields in a folder, in the order of names; only headers are read."""
    for path in sorted(folder.glob(f"*{volume.sha256()[:_ALWAYS]}*{FIELD}")):
        try:
            header = read_header(path)
            check_volume(path, header, volume)
        except FieldFileError as error:
            _log.warning("A kept field is left out: %s", error)
        else:
            if header.kind == "field":
                yield path, header


def _cleaned(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:_MOST_NAME]
