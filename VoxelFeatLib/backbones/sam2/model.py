"""SAM2.1's image encoder and the decoder's two projections, of the `sam2` package's own classes.

Nothing else of that package is imported: what needs torchvision stays out, and so do the
configuration files that Hydra reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from torch import nn

_WIDTH = 256
# Channels of the decoder's projections of the two finer maps.
FINE_CHANNELS, MIDDLE_CHANNELS = _WIDTH // 8, _WIDTH // 4
COARSE_CHANNELS = _WIDTH


@dataclass(frozen=True)
class Architecture:
    """One size of the encoder, as in the official configuration files sam2.1_hiera_*.yaml.

    Attributes:
        name: Its size.
        channels: Channels of the first stage; they double with every further one.
        heads: Attention heads of the first stage; they double likewise.
        stages: Blocks of the four stages.
        global_blocks: Blocks that attend to the whole image.
        windows: Sides of the other blocks' windows by stage, cells.
        background: Side of the positional embedding that is stretched over the image.
    """

    name: str
    channels: int
    heads: int
    stages: tuple[int, ...]
    global_blocks: tuple[int, ...]
    windows: tuple[int, ...] = (8, 4, 14, 7)
    background: int = 7


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        a.name: a
        for a in (
            Architecture("tiny", 96, 1, (1, 2, 7, 2), (5, 7, 9)),
            Architecture("small", 96, 1, (1, 2, 11, 2), (7, 10, 13)),
            Architecture("base-plus", 112, 2, (2, 3, 16, 3), (12, 16, 20), background=14),
            Architecture("large", 144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8)),
        )
    }
)


class _NoPositions(nn.Module):
    """In place of the neck's positional encoding, which is for the decoder and costs memory."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.new_empty(0)


class Encoder(nn.Module):
    """What `SAM2Base.forward_image` computes, without the rest of SAM2.

    Weights have the names that they have in official checkpoints, but for those of `conv_s0` and
    `conv_s1`, which are `sam_mask_decoder`'s there.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        trunk = Hiera(
            embed_dim=architecture.channels,
            num_heads=architecture.heads,
            stages=architecture.stages,
            global_att_blocks=architecture.global_blocks,
            window_pos_embed_bkg_spatial_size=(architecture.background,) * 2,
            window_spec=architecture.windows,
        )
        neck = FpnNeck(
            position_encoding=_NoPositions(),
            d_model=_WIDTH,
            backbone_channel_list=trunk.channel_list,
            fpn_top_down_levels=[2, 3],
            fpn_interp_model="nearest",
        )
        self.image_encoder = ImageEncoder(trunk, neck, scalp=1)
        self.conv_s0 = nn.Conv2d(_WIDTH, FINE_CHANNELS, 1)
        self.conv_s1 = nn.Conv2d(_WIDTH, MIDDLE_CHANNELS, 1)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Maps at strides 4, 8 and 16 of normalised images (N, 3, S, S), S a multiple of 32."""
        fine, middle, coarse = self.image_encoder(images)["backbone_fpn"]
        return [self.conv_s0(fine), self.conv_s1(middle), coarse]
