"""A place to click next."""

from __future__ import annotations

from dataclasses import dataclass

from VoxelFeatLib.imaging.aliases import Position


@dataclass(frozen=True)
class Suggestion:
    """A place where one more click would tell much.

    Attributes:
        ras: The centre of a voxel, mm, in the volume's own space.
        doubt: Expected share of wrong voxels around it, above 0, at most 1.
    """

    ras: Position
    doubt: float
