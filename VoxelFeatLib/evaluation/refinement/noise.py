"""The noisy masks of the experiment: a reference on a coarse grid, and back.

Source: the method's refinement experiment, where references are down-sampled by nearest neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.resampling import resample_labels_nearest
from VoxelFeatLib.segmenting.coarse import coarsen


@dataclass(frozen=True, eq=False)
class NoisyMask:
    """What a method is given in place of the reference.

    Attributes:
        mask: (K, J, I) on the volume's voxels.
        coarse: The same on its own grid.
        grid: Of the coarse one.
    """

    mask: Mask
    coarse: Mask
    grid: Geometry


@dataclass(frozen=True)
class Noise:
    """How references are made coarse; nearest neighbour, centred, and back.

    Attributes:
        factor: Coarse voxels are so many voxels wide; or
        mm: their edge in millimetres, where no axis becomes finer.
    """

    factor: float | None = 4.0
    mm: float | None = None

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.mm is None):
            raise InputError("Give either a factor or a size in mm for the coarse voxels.")
        value = self.factor if self.mm is None else self.mm
        if value is None or not 0 < value < np.inf:
            raise InputError("Coarse voxels need a positive, finite size.")

    def of(self, reference: Mask, geometry: Geometry) -> NoisyMask:
        """Return the noisy mask of a (K, J, I) reference; it may have become empty.

        Raises:
            InputError: The coarse voxels are larger than the volume.
        """
        coarse, grid = coarsen(reference, geometry, factor=self.factor, mm=self.mm)
        return NoisyMask(resample_labels_nearest(coarse, grid, geometry), coarse, grid)

    def __str__(self) -> str:
        if self.mm is not None:
            return f"blocks of {self.mm:g} mm"
        return f"blocks of {self.factor:g} × {self.factor:g} × {self.factor:g} voxels"
