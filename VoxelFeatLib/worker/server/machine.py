"""The request `hello`: who answers, and what there is to work with."""

from __future__ import annotations

import logging
import os
import platform
import socket

import psutil
import torch

import VoxelFeatLib
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.fitting.presets import PRESETS
from VoxelFeatLib.worker.protocol import PROTOCOL, VERSION, Message
from VoxelFeatLib.worker.server import backbones
from VoxelFeatLib.worker.server.cache import fields_folder
from VoxelFeatLib.worker.server.failures import Refused
from VoxelFeatLib.worker.server.requests import Request

_log = logging.getLogger(__name__)


def hello(request: Request) -> Message:
    """Say who answers; Refused where the client speaks another version of the protocol."""
    wanted = request.arguments.whole("protocol")
    if wanted != VERSION:
        raise Refused(
            PROTOCOL,
            f"The worker speaks version {VERSION} of the protocol, and was asked for {wanted}.",
            "Use the same version of VoxelFeat on both sides.",
        )
    found = devices()
    default = _default_device(found)
    return {
        "protocol": VERSION,
        "version": VoxelFeatLib.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "devices": found,
        "backbones": backbones.described(),
        "encodings": backbones.encodings(),
        "presets": [{"name": p.name, "summary": p.summary} for p in PRESETS.values()],
        "default_device": default,
        "default_preset": {device["name"]: default_preset(device["name"]) for device in found},
        "cache": str(fields_folder()),
    }


def devices() -> list[Message]:
    """List where can be fitted; the processor comes last."""
    found = []
    if torch.cuda.is_available():
        found = [_gpu(number) for number in range(torch.cuda.device_count())]
    memory = psutil.virtual_memory()
    processor = {
        "name": "cpu",
        "label": f"Processor ({os.cpu_count()} cores)",
        "free_bytes": int(memory.available),
        "total_bytes": int(memory.total),
    }
    return [*(gpu for gpu in found if gpu is not None), processor]


def device_named(name: str) -> torch.device:
    """Turn a device's name into a device; "auto" or "" is the best there is.

    Raises:
        InputError: No such device, or it is not there.
    """
    try:
        device = torch.device(_default_device(devices()) if name in {"", "auto"} else name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device “{name}” cannot be used on this machine.") from error
    return device


def default_preset(device: str) -> str:
    """Return the preset that suits a device."""
    return "fast" if device.startswith("cpu") else "balanced"


def _default_device(found: list[Message]) -> str:
    """Return the GPU with most free memory, or the processor where there is none."""
    gpus = [device for device in found if device["name"] != "cpu"]
    best = max(gpus, key=lambda device: device["free_bytes"], default=None)
    return "cpu" if best is None else str(best["name"])


def _gpu(number: int) -> Message | None:
    try:
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
    except RuntimeError as error:  # a driver too old, or a GPU that others keep to themselves
        _log.warning("GPU %d cannot be used: %s", number, error)
        return None
    return {
        "name": f"cuda:{number}",
        "label": f"{name} ({total / 1e9:.0f} GB)",
        "free_bytes": int(free),
        "total_bytes": int(total),
    }
