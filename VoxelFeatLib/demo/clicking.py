"""A simulated user who clicks one structure after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from VoxelFeatLib.evaluation.metrics import dice
from VoxelFeatLib.evaluation.mistakes import next_click
from VoxelFeatLib.imaging.aliases import Color

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.aliases import Mask
    from VoxelFeatLib.imaging.phantom import Phantom
    from VoxelFeatLib.segmenting.clicks import Click
    from VoxelFeatLib.segmenting.session import Session


@dataclass(frozen=True, eq=False)
class Structure:
    """What is to be segmented.

    Attributes:
        name: Its name.
        color: Red, green, blue, 0 to 1.
        mask: (K, J, I) the truth.
    """

    name: str
    color: Color
    mask: Mask

    @classmethod
    def of(cls, phantom: Phantom, name: str) -> Structure:
        """Take a structure of the phantom."""
        values = {title: value for value, title in phantom.names.items()}
        r, g, b = (part / 255 for part in phantom.colors[values[name]])
        return cls(name, (r, g, b), phantom.mask(name))


@dataclass(eq=False)
class Clicked:
    """How a structure was segmented, click by click.

    Attributes:
        structure: What was wanted.
        mask: (K, J, I) the segment after the last click.
        clicks: In the order they were placed.
        dice: After each click.
        seconds: From each click to the whole new mask.
    """

    structure: Structure
    mask: Mask
    clicks: list[Click] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        return {
            "name": self.structure.name,
            "dice": [round(value, 4) for value in self.dice],
            "seconds": [round(value, 3) for value in self.seconds],
        }


def click_through(session: Session, structure: Structure, most: int) -> Iterator[Clicked]:
    """Segment a structure by clicks in the middle of its largest mistake.

    Args:
        session: Gets a segment of the structure's name.
        structure: What the user wants.
        most: The user stops after so many clicks, or when nothing is wrong.

    Yields:
        The same object after each click, with one click more.
    """
    name, wanted = structure.name, structure.mask
    session.add_segment(name, structure.color)
    done = Clicked(structure, np.zeros_like(wanted))
    for _ in range(most):
        click = next_click(wanted, done.mask, session.volume.geometry, clicked=done.clicks)
        if click is None:
            return
        began = time.perf_counter()
        session.add_click(name, click)
        deque(session.update(name), maxlen=0)
        done.seconds.append(time.perf_counter() - began)
        done.mask = session.mask(name)
        done.clicks.append(click)
        done.dice.append(dice(done.mask, wanted))
        yield done
