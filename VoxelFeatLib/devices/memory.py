"""How much memory a device has free."""

from __future__ import annotations

import psutil
import torch


def free_memory(device: torch.device) -> int:
    """Return the bytes free on a device now; what torch holds back for reuse is free to us too."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    available = int(psutil.virtual_memory().available)
    if device.type == "mps":
        # It shares the system's memory, of which Metal advises to leave some.
        kept = torch.mps.driver_allocated_memory() - torch.mps.current_allocated_memory()
        left = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return max(0, min(available + kept, left))
    return available


def total_memory(device: torch.device) -> int:
    """Return the bytes that a device has in all."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(psutil.virtual_memory().total)


def release_memory() -> None:
    """Give back what torch holds back for reuse on GPUs: others can have it."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
