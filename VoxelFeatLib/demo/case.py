"""What the demo does: how large a phantom, which fit, which organs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.fitting.presets import Preset, preset_named


@dataclass(frozen=True)
class Case:
    """All choices of one run.

    Attributes:
        shape_kji: Voxels of the phantom along k, j, i.
        spacing_ijk: Voxel size along i, j, k in mm.
        preset: All numbers of the fit.
        clicked: Names of the structures that the simulated user segments.
        clicks: Most clicks for each of them.
        refined: Names of the structures that start from a coarse mask.
        coarse_factor: Voxels along an edge of that mask's voxels; odd, so that centres meet.
    """

    shape_kji: tuple[int, int, int]
    spacing_ijk: tuple[float, float, float]
    preset: Preset
    clicked: tuple[str, ...] = ("liver", "spleen", "right kidney")
    clicks: int = 10
    refined: tuple[str, ...] = ("liver", "right kidney", "vertebrae")
    coarse_factor: int = 3


def case_named(name: str) -> Case:
    """Return the demo of a size: "full", or "small" for tests.

    Raises:
        InputError: There is no such size.
    """
    cases = _cases()
    if name not in cases:
        raise InputError(f"There is no demo of size “{name}”; choose {' or '.join(cases)}.")
    return cases[name]


def _cases() -> Mapping[str, Case]:
    fast = preset_named("fast")
    return MappingProxyType(
        {
            "full": Case((64, 256, 256), (1.5, 1.5, 3.0), fast),
            "small": Case(
                (40, 128, 128),
                (3.0, 3.0, 5.0),
                replace(fast, views=24, pool=24, steps=120, planes=4, heldout_views=2),
                refined=("liver", "right kidney"),
            ),
        }
    )
