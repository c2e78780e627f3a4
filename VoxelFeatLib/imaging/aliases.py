"""Short names for types that many modules share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Three numbers along k, j, i: a voxel, or a shape.
Triple = tuple[int, int, int]
# RAS, mm.
Position = tuple[float, float, float]
# Red, green, blue, 0 to 1.
Color = tuple[float, float, float]
# (K, J, I).
Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
