"""Coarse masks of the truth, refined, and how near both come to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from VoxelFeatLib.evaluation.metrics import dice, hd95_mm
from VoxelFeatLib.imaging.resampling import resample_labels_nearest
from VoxelFeatLib.segmenting.coarse import coarsen, smoothed
from VoxelFeatLib.segmenting.refinement import refine_steps

if TYPE_CHECKING:
    from VoxelFeatLib.demo.clicking import Structure
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.aliases import Mask
    from VoxelFeatLib.imaging.geometry import Geometry
    from VoxelFeatLib.imaging.volume import Volume


@dataclass(frozen=True)
class Agreement:
    """A mask beside the truth: Dice, and the 95th percentile of the surface distance in mm."""

    dice: float
    hd95_mm: float

    @classmethod
    def of(cls, mask: Mask, truth: Mask, geometry: Geometry) -> Agreement:
        """Compare two (K, J, I) masks."""
        return cls(dice(mask, truth), hd95_mm(mask, truth, geometry.spacing.tolist()))


@dataclass(frozen=True, eq=False)
class Refined:
    """A structure whose coarse mask was refined.

    Attributes:
        structure: With the truth.
        coarse: (K, J, I) on ``coarse_geometry``.
        coarse_geometry: Of the coarse voxels.
        coarse_mask: The coarse mask on the volume's voxels.
        mask: The refined mask on the volume's voxels.
        before: The coarse mask beside the truth.
        smoothed: The coarse mask after a Gaussian, the simplest remedy, beside the truth.
        after: The refined mask beside the truth.
    """

    structure: Structure
    coarse: Mask
    coarse_geometry: Geometry
    coarse_mask: Mask
    mask: Mask
    before: Agreement
    smoothed: Agreement
    after: Agreement

    def summary(self) -> dict[str, Any]:
        """Return the numbers as JSON; what is infinite becomes null."""
        return {
            "name": self.structure.name,
            "coarse_dice": round(self.before.dice, 4),
            "refined_dice": round(self.after.dice, 4),
            "coarse_hd95_mm": _finite(self.before.hd95_mm),
            "refined_hd95_mm": _finite(self.after.hd95_mm),
        }


def refine_coarse(
    volume: Volume,
    field: FeatureField,
    structure: Structure,
    coarse_factor: int,
    told: Callable[[float], None],
    *,
    seed: int = 0,
) -> Refined:
    """Coarsen the truth of a structure to voxels so many times as long, and refine it again.

    ``told`` learns how far it is, 0 to 1.
    """
    geometry = volume.geometry
    coarse, grid = coarsen(structure.mask, geometry, factor=coarse_factor)
    mask = structure.mask
    for step in refine_steps(volume, field, coarse, grid, seed=seed):
        told(step.fraction)
        if step.mask is not None:
            mask = step.mask
    blocky = resample_labels_nearest(coarse, grid, geometry)
    smooth = smoothed(blocky, geometry.spacing, grid.spacing / 2) > 0.5
    truth = structure.mask
    return Refined(
        structure,
        coarse,
        grid,
        blocky,
        mask,
        Agreement.of(blocky, truth, geometry),
        Agreement.of(smooth, truth, geometry),
        Agreement.of(mask, truth, geometry),
    )


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
