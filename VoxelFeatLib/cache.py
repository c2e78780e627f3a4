"""Where VoxelFeat keeps what it can make or load again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Return the folder of kept files of one kind, such as "fields"; it need not exist yet.

    ``VOXELFEAT_CACHE`` names the folder that stands for the platform's ``voxelfeat`` one.
    """
    if chosen := os.environ.get("VOXELFEAT_CACHE"):
        return Path(chosen).expanduser() / kind
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "voxelfeat" / kind
