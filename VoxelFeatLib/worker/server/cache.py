"""Finished fits kept in a folder of the machine that fitted them, found again by the voxels."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from VoxelFeatLib.cache import cache_folder
from VoxelFeatLib.field.files import FieldHeader
from VoxelFeatLib.fitting.kept import CHECKPOINT, fields_of
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker.protocol import Message

_log = logging.getLogger(__name__)

# A checkpoint that nobody resumed for so long is removed.
_ABANDONED_SECONDS = 7 * 86400.0


def fields_folder() -> Path:
    """Return the folder of kept fields; it need not exist yet."""
    return cache_folder("fields")


def cached_fields(volume: Volume) -> list[Message]:
    """List the fields kept for a volume, the newest first; only their headers are read."""
    found = []
    with contextlib.suppress(OSError):
        for path, header in fields_of(fields_folder(), volume):
            with contextlib.suppress(OSError):  # it is just being removed
                found.append({**described(header, path), "finished": path.stat().st_mtime})
    return sorted(found, key=lambda entry: -entry["finished"])


def described(header: FieldHeader, path: Path) -> Message:
    """Return what replies say of a field file."""
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "backbone": header.backbone,
        "preset": preset_of(header.record),
        "encoding": str(header.record.get("encoding", "")),
        "input_size": header.record.get("input_size"),
        **agreement_of(header.record),
    }


def preset_of(record: Mapping[str, Any]) -> str:
    """Return the preset's name in the record of a fit; empty where it has none."""
    try:
        return str(record["settings"]["preset"]["name"])
    except (KeyError, TypeError):
        return ""


def agreement_of(record: Mapping[str, Any]) -> Message:
    """Return held-out measures by level of the record of a fit, and the mean cosine."""
    try:
        levels = {
            str(name): {kind: plain(level[kind]) for kind in ("field", "upsampling")}
            for name, level in record["heldout"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {"heldout": {}, "upsampling": {}, "mean_cosine": None}
    heldout = {name: level["field"] for name, level in levels.items()}
    upsampling = {name: level["upsampling"] for name, level in levels.items()}
    return {"heldout": heldout, "upsampling": upsampling, "mean_cosine": mean_cosine(heldout)}


def mean_cosine(heldout: Mapping[str, Mapping[str, float]]) -> float | None:
    """Return the mean over levels; None before anything was measured."""
    cosines = [level["cosine"] for level in heldout.values() if "cosine" in level]
    return sum(cosines) / len(cosines) if cosines else None


def plain(values: Mapping[str, Any]) -> dict[str, float]:
    """Return names and numbers as a message carries them."""
    return {str(name): float(value) for name, value in values.items()}


def remove_abandoned() -> None:
    """Remove unfinished fits that nobody went on with for a week."""
    with contextlib.suppress(OSError):
        for path in fields_folder().glob(f"*{CHECKPOINT}"):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def made_folder(path: Path) -> bool:
    """Make the folder of a file to be kept; tell whether it is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("Nothing is kept: %s", error)
        return False
    return True
