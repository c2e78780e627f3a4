"""Methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.clicks.methods.growcut import GrowFromSeeds
from VoxelFeatLib.evaluation.clicks.methods.randomwalker import RandomWalker
from VoxelFeatLib.evaluation.clicks.methods.threshold import ThresholdRegion
from VoxelFeatLib.evaluation.clicks.runs import ClickMethod
from VoxelFeatLib.evaluation.running import check_names

OURS = "voxelfeat"

# What needs no field. `growcut` is what a user of Slicer gets, painting with a small brush;
# `growcut-whole` the filter alone: a voxel for a click, and the whole volume to grow in.
BASELINES: Mapping[str, Callable[[], ClickMethod]] = MappingProxyType(
    {
        "growcut": GrowFromSeeds,
        "growcut-whole": lambda: GrowFromSeeds("growcut-whole", seed_mm=0.0, cropped=False),
        "randomwalker": RandomWalker,
        "threshold": ThresholdRegion,
    }
)

# Those of them that are compared unless a user names some.
_USUAL = ("growcut", "randomwalker", "threshold")


def usual_methods(ours: Callable[[], ClickMethod]) -> tuple[list[ClickMethod], list[str]]:
    """Make the methods that are compared where none are named.

    Returns:
        Ours, made by the given function, and those whose packages are installed; and a sentence
        about each of the others.
    """
    made, left_out = [ours()], []
    for name in _USUAL:
        try:
            made.append(BASELINES[name]())
        except InputError as error:
            left_out.append(f"{name}: {error}")
    return made, left_out


def methods_named(names: Sequence[str], ours: Callable[[], ClickMethod]) -> list[ClickMethod]:
    """Make methods by their names, ours by the given function.

    Raises:
        InputError: An unknown name, or one twice; or a method's package is not installed.
    """
    makers = {OURS: ours, **BASELINES}
    check_names(names, makers)
    return [makers[name]() for name in names]
