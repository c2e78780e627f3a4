"""What the tests of the refinement experiment share."""

from __future__ import annotations

import numpy as np

from VoxelFeatLib.evaluation.refinement.results import RefinementResult
from VoxelFeatLib.imaging.geometry import Geometry

SHAPE = (16, 24, 24)
GEOMETRY = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))
TARGET = np.zeros(SHAPE, dtype=bool)
TARGET[3:12, 5:17, 4:15] = True


def result(method="anti-aliasing", label="liver", dice=0.9, hd95=3.0, case="a") -> RefinementResult:
    return RefinementResult(case, label, method, dice, hd95, 1.0, 2.0, 0.5)
