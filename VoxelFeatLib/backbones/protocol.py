"""What every backbone is: a frozen function from a square image to feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from VoxelFeatLib.backbones.encodings import Encoding


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
        encoding: What makes the input's channels of planes of the volume.
        levels: The feature maps, finest stride first.
        device: Where it works; who renders for it or fits to it does so there, too.
    """

    name: str
    fingerprint: str
    input_size: int
    encoding: Encoding
    levels: tuple[FeatureLevel, ...]
    device: torch.device

    def work_bytes(self) -> int:
        """Return the memory that one view needs on the device while it is encoded."""
        ...

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Maps of images (N, encoding.channels, S, S) in [0, 1] on its device.

        One float32 (N, channels, G, G) a level, on its device, too; an image's maps do not depend
        on what else is in the batch.
        """
        ...
