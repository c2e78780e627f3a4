"""Opening field files for commands; torch loads with this module."""

from __future__ import annotations

from pathlib import Path

from VoxelFeatLib.devices.choice import device_named
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field
from VoxelFeatLib.imaging.volume import Volume


def open_field(path: Path, volume: Volume, device: str) -> FeatureField:
    """Open a field and check that it belongs to the volume."""
    return load_field(path, volume, device_named(device))[0]
