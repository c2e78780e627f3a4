"""A file to download, small and known, and what a download of it leaves."""

from __future__ import annotations

import hashlib

import numpy as np

from VoxelFeatLib.backbones.weights.catalogue import (
    OfficialWeights,
)
from VoxelFeatLib.backbones.weights.download import DownloadSettings, obtain_weights

CONTENT = np.random.default_rng(0).bytes(300_000)
WEIGHTS = OfficialWeights(
    "a-model", "a_model.pt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
)
PART = "a_model.pt.part"


def obtain(server, folder, **settings):
    settings = {"mirror": server.url + "/weights", "timeout": 10.0, **settings}
    return obtain_weights(WEIGHTS, DownloadSettings(**settings), folder)


def left(folder):
    """What a download leaves but its lock file."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
