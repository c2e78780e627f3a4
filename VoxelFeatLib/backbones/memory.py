"""How much memory a device has free."""

from __future__ import annotations

import psutil
import torch


def free_memory(device: torch.device) -> int:
    """Return the bytes free on a device now; a GPU that shares the system's memory has its."""
    if device.type == "cuda":
        # What torch holds back for reuse is free to us too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)
