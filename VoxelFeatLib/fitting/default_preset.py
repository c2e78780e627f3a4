"""Which preset suits a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from VoxelFeatLib.devices.memory import free_memory

if TYPE_CHECKING:
    import torch

# What `balanced` needs on a GPU, with what others use of it: less than 12 GB in all.
_BALANCED_BYTES = 10_000_000_000


def default_preset(device: torch.device) -> str:
    """Return the name of the preset that suits a device and its free memory."""
    if device.type == "cpu":
        return "fast"
    roomy = device.type == "cuda" and free_memory(device) >= _BALANCED_BYTES
    return "balanced" if roomy else "small-gpu"
