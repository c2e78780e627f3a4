"""The requests `open_volume` and `close_volume`."""

from __future__ import annotations

import math

import numpy as np
import psutil

from VoxelFeatLib.errors import InputError, NotEnoughMemoryError
from VoxelFeatLib.imaging.volume import VOXEL_TYPES, Modality, Volume, guess_modality
from VoxelFeatLib.worker.protocol import TOO_LARGE, BadMessageError, Message, whole_numbers
from VoxelFeatLib.worker.server.cache import cached_fields
from VoxelFeatLib.worker.server.failures import Refused
from VoxelFeatLib.worker.server.requests import Reporter, Request
from VoxelFeatLib.worker.server.workspace import Workspace


def close_volume(workspace: Workspace, request: Request) -> Message:  # noqa: ARG001 - a handler
    """Forget volume, field and masks."""
    workspace.open(None)
    return {}


class VolumeSink:
    """Takes a volume's voxels part by part; the old volume goes first, to make room."""

    def __init__(self, workspace: Workspace, request: Request) -> None:
        values = request.arguments
        self._workspace = workspace
        self._report = Reporter(request)
        self._name = values.text("name", "")
        self._modality = values.text("modality", "")
        kind = _voxel_type(values.text("dtype"))
        k, j, i = whole_numbers(values.raw("shape_kji"), 3, "shape_kji")
        if min(k, j, i) < 1:
            raise BadMessageError("A volume has at least one voxel along every axis.")
        self._geometry = values.geometry((k, j, i))
        workspace.open(None)
        size = math.prod((k, j, i)) * kind.itemsize
        if size > psutil.virtual_memory().available:
            raise NotEnoughMemoryError(
                f"The volume has {size / 1e9:.1f} GB, which is more than the worker has free.",
                "Close other programs, or crop the volume.",
            )
        self._voxels = np.empty((k, j, i), dtype=kind)
        self._bytes = self._voxels.reshape(-1).view(np.uint8)
        self._received = 0

    def add(self, data: bytes) -> None:
        """Take the next part."""
        end = self._received + len(data)
        if end > len(self._bytes):
            raise Refused(TOO_LARGE, "More voxels were sent than the volume has.")
        self._bytes[self._received : end] = np.frombuffer(data, dtype=np.uint8)
        self._received = end
        self._report(stage="receiving the volume", fraction=end / len(self._bytes))

    def finish(self) -> Message:
        """Open the volume; all its parts are there."""
        if self._received != len(self._bytes):
            raise BadMessageError(
                f"{self._received} bytes were sent for a volume of {len(self._bytes)}."
            )
        voxels = self._voxels.astype(self._voxels.dtype.newbyteorder("="), copy=False)
        if voxels.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in voxels):
            raise InputError("The volume has voxels that are not finite; replace them first.")
        modality = _modality(self._modality, voxels)
        volume = Volume(voxels, self._geometry, modality, self._name)
        sha256 = volume.sha256()
        self._workspace.open(volume)
        return {"sha256": sha256, "modality": modality, "cached": cached_fields(volume)}

    def close(self) -> None:
        """Give up; nothing is kept."""


def _voxel_type(text: str) -> np.dtype[np.generic]:
    kinds = {kind.newbyteorder("<").str: kind.newbyteorder("<") for kind in VOXEL_TYPES}
    if text not in kinds:
        raise BadMessageError(f"Voxels are of type {', '.join(kinds)}, not “{text}”.")
    return kinds[text]


def _modality(text: str, voxels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Modality:
    match text:
        case "CT" | "MR" | "other":
            return text
        case "":
            return guess_modality(voxels)
        case _:
            raise BadMessageError(f"There is no modality “{text}”; it is CT, MR or other.")
