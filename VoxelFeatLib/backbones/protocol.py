"""What every backbone is: a frozen function from a square image to feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from VoxelFeatLib.imaging.windows import Window


@dataclass(frozen=True)
class FeatureLevel:
    """One feature map of a backbone.

    Attributes:
        name: Short name, unique in the backbone, such as "stride4".
        stride: Input pixels per cell and axis.
        channels: Number of feature channels.
    """

    name: str
    stride: int
    channels: int

    def cells(self, input_size: int) -> int:
        """Return cells along each side of the map for a square input of this many pixels."""
        return input_size // self.stride


class Backbone(Protocol):
    """A frozen 2D network.

    Attributes:
        name: The registered name.
        fingerprint: Changes whenever the features would: version, settings, hash of the weights.
        input_size: Side of the square input, pixels; a multiple of every stride.
        windows: The intensity windows that make the input's channels.
        levels: The feature maps, finest stride first.
    """

    name: str
    fingerprint: str
    input_size: int
    windows: tuple[Window, ...]
    levels: tuple[FeatureLevel, ...]

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Maps (N, channels, G, G), one a level, of images (N, len(windows), S, S) in [0, 1]."""
        ...
