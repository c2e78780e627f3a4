"""Which devices there are, and which is best."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch

from VoxelFeatLib.devices.memory import free_memory, total_memory
from VoxelFeatLib.errors import InputError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A processor or GPU of this machine.

    Attributes:
        name: As torch calls it, such as "cuda:0", "mps" or "cpu".
        label: For people.
        free_bytes: Free memory now; an Apple GPU shares the system's.
        total_bytes: All memory.
    """

    name: str
    label: str
    free_bytes: int
    total_bytes: int


def devices() -> list[Device]:
    """List what can be used; the processor comes last."""
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    found = [_described(torch.device(name)) for name in [*names, "cpu"]]
    return [device for device in found if device is not None]


def best_device() -> torch.device:
    """Return the GPU with most free memory, or the processor where there is none."""
    gpus = [device for device in devices() if device.name != "cpu"]
    best = max(gpus, key=lambda device: device.free_bytes, default=None)
    return torch.device("cpu" if best is None else best.name)


def device_named(name: str) -> torch.device:
    """Turn a device's name into a device; "auto" or "" is the best there is.

    Raises:
        InputError: No such device, or it is not there.
    """
    if name in {"", "auto"}:
        return best_device()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The device “{name}” cannot be used on this machine.", "Use cpu, cuda, mps or auto."
        ) from error
    return device


def _described(device: torch.device) -> Device | None:
    try:
        free, total = free_memory(device), total_memory(device)
        label = _label(device, total)
    except RuntimeError as error:  # a driver too old, or a GPU that others keep to themselves
        _log.warning("The device %s cannot be used: %s", device, error)
        return None
    return Device(str(device), label, free, total)


def _label(device: torch.device, total: int) -> str:
    if device.type == "cpu":
        return f"Processor ({os.cpu_count()} cores)"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "Apple GPU"
    return f"{name} ({total / 1e9:.0f} GB)"
