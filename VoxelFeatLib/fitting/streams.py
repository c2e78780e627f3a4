"""Independent random streams, addressed by seed, purpose and number, whatever the order."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are drawn for."""

    PLANES = 1
    VIEWS = 2
    HELD_OUT = 3
    STEPS = 4


def generator_for(seed: int, stream: Stream, number: int) -> np.random.Generator:
    """Return the generator of one item of a stream."""
    return np.random.default_rng([seed, stream, number])
