"""The request `hello`: who answers, and what there is to work with."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import asdict

import torch

import VoxelFeatLib
from VoxelFeatLib.devices.choice import best_device, devices
from VoxelFeatLib.fitting.default_preset import default_preset
from VoxelFeatLib.fitting.presets import PRESETS
from VoxelFeatLib.worker.protocol import PROTOCOL, VERSION, Message
from VoxelFeatLib.worker.server import backbones
from VoxelFeatLib.worker.server.cache import fields_folder
from VoxelFeatLib.worker.server.failures import Refused
from VoxelFeatLib.worker.server.requests import Request


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
    return {
        "protocol": VERSION,
        "version": VoxelFeatLib.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "devices": [asdict(device) for device in found],
        "backbones": backbones.described(),
        "encodings": backbones.encodings(),
        "presets": [{"name": p.name, "summary": p.summary} for p in PRESETS.values()],
        "default_device": str(best_device()),
        "default_preset": {d.name: default_preset(torch.device(d.name)) for d in found},
        "cache": str(fields_folder()),
    }
