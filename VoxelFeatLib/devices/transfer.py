"""From main memory to a device, without waiting for what the device is still doing."""

from __future__ import annotations

import torch


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return values of the CPU on a device; the copy takes its turn behind work given out before.

    A plain copy to a GPU begins when all of its work is done, and holds up who asked for it.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
