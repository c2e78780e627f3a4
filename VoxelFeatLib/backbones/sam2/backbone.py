"""SAM2.1 as a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.backbones.sam2.model import (
    ARCHITECTURES,
    COARSE_CHANNELS,
    FINE_CHANNELS,
    MIDDLE_CHANNELS,
)
from VoxelFeatLib.errors import InputError

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.encodings import Encoding
    from VoxelFeatLib.backbones.sam2.checkpoints import Checkpoint

_VERSION = 1
# Of the photographs that SAM2 was trained on.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The coarsest of the encoder's four maps.
STRIDE = 32
_CHANNELS = 3
# Tensors alive at once while one view is encoded, bytes per input pixel and channel of the first
# stage, in whose MLP they peak: counted on a CPU, the same for all sizes of encoder and input.
_WORK_FLOAT, _WORK_HALF = 2.75, 1.75
# The normalised image, and the maps once in each precision, bytes per input pixel.
_IMAGE_AND_MAPS = 12 + 6 * 4
# What allocators and libraries take besides.
_RESERVE = 1.25


class Sam2Backbone:
    """SAM2's image features: what `SAM2Base.forward_image` returns, without `no_mem_embed`.

    Weights stay float32; matrix products are computed in the device's fast precision. On a CPU
    with bfloat16 that halves the time of a view (tiny at 512 pixels on two cores: from 1.7 to
    0.8 s) and moves features by about 1 %. There torch.compile took minutes and saved nothing.

    Args:
        checkpoint: The encoder with its weights.
        encoding: Makes three channels.
        input_size: Side of the square input, pixels, a multiple of 32; SAM2 was trained at 1024.
        device: Where it works.
        precision: Of matrix products; None for the fastest that is safe on the device.

    Raises:
        InputError: The input size or the encoding does not fit.
    """

    levels: tuple[FeatureLevel, ...] = (
        FeatureLevel("stride4", 4, FINE_CHANNELS),
        FeatureLevel("stride8", 8, MIDDLE_CHANNELS),
        FeatureLevel("stride16", 16, COARSE_CHANNELS),
    )

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoding: Encoding,
        input_size: int,
        device: torch.device,
        precision: torch.dtype | None = None,
    ) -> None:
        if input_size < STRIDE or input_size % STRIDE:
            raise InputError(
                f"SAM2 takes input sizes that are multiples of {STRIDE}, not {input_size}."
            )
        if encoding.channels != _CHANNELS:
            raise InputError(
                f"SAM2 takes {_CHANNELS} channels, and the view encoding “{encoding.name}” makes "
                f"{encoding.channels}: choose another."
            )
        self.name = checkpoint.name
        self.encoding = encoding
        self.input_size = input_size
        self.architecture = checkpoint.architecture
        self.precision = precision or fast_precision(device)
        kind = str(self.precision).removeprefix("torch.")
        self.fingerprint = (
            f"sam2-v{_VERSION};size={checkpoint.architecture};weights={checkpoint.sha256};"
            f"maps=forward_image without no_mem_embed;input={input_size};precision={kind};"
            f"encoding={encoding.fingerprint}"
        )
        self.device = device
        self._encoder = checkpoint.encoder.to(device)
        self._mean = torch.tensor(MEAN, device=device).view(-1, 1, 1)
        self._std = torch.tensor(STD, device=device).view(-1, 1, 1)

    def work_bytes(self) -> int:
        """Return the memory that one view needs on the device while it is encoded."""
        per_channel = _WORK_FLOAT if self.precision is torch.float32 else _WORK_HALF
        channels = ARCHITECTURES[self.architecture].channels
        per_pixel = _RESERVE * (per_channel * channels + _IMAGE_AND_MAPS)
        return round(per_pixel * self.input_size**2)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Maps (N, 32 | 64 | 256, G, G) of images (N, 3, S, S) in [0, 1] on its device."""
        normal = (images - self._mean) / self._std
        maps = self._encoded(normal, self.precision)
        if self.precision is torch.float16 and not all(bool(m.isfinite().all()) for m in maps):
            # Half precision ends at 65504; the rare image that exceeds it somewhere is done over.
            maps = self._encoded(normal, torch.float32)
        return maps

    def _encoded(self, images: torch.Tensor, precision: torch.dtype) -> list[torch.Tensor]:
        half = None if precision is torch.float32 else precision
        with torch.autocast(self.device.type, half, enabled=half is not None):
            maps: list[torch.Tensor] = self._encoder(images)
        return [m.float() for m in maps]


def fast_precision(device: torch.device) -> torch.dtype:
    """Return the fastest precision of matrix products that is safe on a device."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float16
    if device.type == "cpu" and _has_bfloat16():
        return torch.bfloat16
    return torch.float32


def _has_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 itself; emulated it is slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.10
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
