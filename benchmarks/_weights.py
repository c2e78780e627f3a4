"""Checkpoints of random numbers: as fast as the real ones, and nothing to download."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from safetensors.torch import save_file

# What the names of backbones and of their encoders' sizes differ by.
_FAMILY = "sam2.1-"


def weights_for(backbone: str, *, wanted: bool) -> AbstractContextManager[Path | None]:
    """Return a random checkpoint for the time of a `with`; None if none is wanted or needed."""
    if wanted and backbone.startswith(_FAMILY):
        return random_weights(backbone)
    return nullcontext(None)


@contextmanager
def random_weights(backbone: str) -> Iterator[Path]:
    """Write weights of the encoder's own initialisation under the official names."""
    from VoxelFeatLib.backbones.sam2.model import (  # noqa: PLC0415 - needs the package sam2
        ARCHITECTURES,
        Encoder,
    )

    torch.manual_seed(0)
    encoder = Encoder(ARCHITECTURES[backbone.removeprefix(_FAMILY)])
    state = {
        f"sam_mask_decoder.{name}" if name.startswith("conv_s") else name: tensor.contiguous()
        for name, tensor in encoder.state_dict().items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{backbone}-random.safetensors"
        save_file(state, path)
        yield path
