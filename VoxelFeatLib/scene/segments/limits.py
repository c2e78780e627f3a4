"""What a segment may become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.segmenting.extent import Extent

Inside = Callable[[Extent], Mask | None]


@dataclass(frozen=True)
class Limits:
    """Where a segment may change, and which of its parts are kept.

    Attributes:
        local: Keep only components that a positive click touches.
        box: Where voxels may change; everywhere when None.
        inside: Voxels of an extent that may change, where the box is not along the volume's axes;
            None for all.
    """

    local: bool = True
    box: Extent | None = None
    inside: Inside = lambda _extent: None
