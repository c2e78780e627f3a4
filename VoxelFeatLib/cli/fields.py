"""Opening field files for commands; torch loads with this module."""

from __future__ import annotations

from pathlib import Path

import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field
from VoxelFeatLib.imaging.volume import Volume


def torch_device(name: str) -> torch.device:
    """Turn what a user typed into a device; `auto` is a GPU where there is one.

    Raises:
        InputError: No such device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The device {name} cannot be used here.", "Use cpu, cuda, or auto."
        ) from error
    return device


def default_preset(device: torch.device) -> str:
    """Return the preset that `auto` stands for."""
    return "fast" if device.type == "cpu" else "balanced"


def open_field(path: Path, volume: Volume, device: str) -> FeatureField:
    """Open a field and check that it belongs to the volume."""
    return load_field(path, volume, torch_device(device))[0]
