"""One target, one method: what a simulated user gets after each click."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.clicks.user import Habits, SimulatedUser
from VoxelFeatLib.evaluation.metrics import dice, hd95_mm
from VoxelFeatLib.evaluation.running import Method
from VoxelFeatLib.imaging.aliases import Mask, Position
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click


class ClickMethod(Method, Protocol):
    """Something that segments by clicks."""

    def start(self, volume: Volume) -> None:
        """Begin a new target; what belongs to the volume may be kept from the target before."""
        ...

    def segment(self, clicks: tuple[Click, ...]) -> Mask:
        """Return the (K, J, I) mask that follows from all clicks so far, oldest first."""
        ...


@runtime_checkable
class GuidingMethod(ClickMethod, Protocol):
    """One that says itself where it wants the clicks after the first."""

    def place(self) -> Position | None:
        """Return the RAS position for the next click; None where it needs none."""
        ...


@dataclass(eq=False)
class ClickRun:
    """What came out, click by click.

    Attributes:
        dice: After each click.
        hd95_mm: Likewise; infinite where nothing was segmented.
        seconds: From each click to the whole new mask.
        start_seconds: From the volume to the moment before the first click.
        clicks: All of them, the uncounted first one too; a stroke is many.
        mask: (K, J, I) after the last click.
    """

    dice: list[float] = field(default_factory=list)
    hd95_mm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    start_seconds: float = 0.0
    clicks: list[Click] = field(default_factory=list)
    mask: Mask | None = None


def clicking(
    volume: Volume, target: Mask, method: ClickMethod, habits: Habits
) -> Iterator[ClickRun]:
    """Let a simulated user segment a target.

    Args:
        volume: The volume.
        target: (K, J, I) what the user wants.
        method: Starts anew.
        habits: How the user clicks.

    Yields:
        The same object after each click, with one click more; fewer times than the user would
        click when all is well earlier.

    Raises:
        InputError: An empty target, or one of another shape; or a mask of another shape.
    """
    user = SimulatedUser(target, volume.geometry, habits)
    run = ClickRun(clicks=user.before())
    began = time.perf_counter()
    method.start(volume)
    run.start_seconds = time.perf_counter() - began
    for _ in range(habits.clicks):
        if run.mask is not None and isinstance(method, GuidingMethod):
            clicks = user.told(run.mask, method.place())
        else:
            clicks = user.next(run.mask)
        if not clicks:
            return
        run.clicks += clicks
        began = time.perf_counter()
        mask = method.segment(tuple(run.clicks))
        run.seconds.append(time.perf_counter() - began)
        if mask.shape != volume.voxels.shape:
            raise InputError(f"The method {method.name} gave a mask of shape {mask.shape}.")
        run.mask = np.asarray(mask, dtype=bool)
        run.dice.append(dice(run.mask, target))
        run.hd95_mm.append(hd95_mm(run.mask, target, volume.geometry.spacing.tolist()))
        yield run
