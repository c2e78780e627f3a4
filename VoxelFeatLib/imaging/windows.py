"""Intensity windows: which range of a volume's values becomes black to white."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.volume import Volume

# More samples change a percentile by less than a grey level, and would cost seconds on large CTs.
_PERCENTILE_SAMPLES = 2_000_000


@dataclass(frozen=True)
class Window:
    """A range of intensities, in the volume's own unit (HU in CT).

    Attributes:
        width: high - low, positive.
        level: Middle of the range.
    """

    width: float
    level: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and math.isfinite(self.level) and self.width > 0):
            raise InputError(
                f"A window needs a positive width, not width {self.width:g}, level {self.level:g}."
            )

    @classmethod
    def between(cls, low: float, high: float) -> Window:
        """Make the window from ``low`` to ``high``."""
        return cls(high - low, (low + high) / 2)

    @property
    def low(self) -> float:
        """The value that becomes 0."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """The value that becomes 1."""
        return self.level + self.width / 2

    def __call__(self, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map values of any shape to float32 in [0, 1], clipped."""
        scaled = np.array(values, dtype=np.float32)
        scaled -= np.float32(self.low)
        scaled /= np.float32(self.width)
        return np.clip(scaled, 0, 1, out=scaled)


# Width/level in HU, as radiology uses them.
CT_WINDOWS = MappingProxyType(
    {
        "soft": Window(400, 40),
        "lung": Window(1500, -160),
        "brain": Window(80, 40),
        "bone": Window(1800, 400),
    }
)


def percentile_window(voxels: npt.NDArray[Any], low: float = 0.5, high: float = 99.5) -> Window:
    """Make the window between two percentiles (0 to 100) of the voxels.

    Large arrays are sampled at a fixed stride, so the answer is the same every time. A constant
    array gives a narrow window that starts at its value, and so maps it to 0.
    """
    bottom, top = (float(v) for v in np.percentile(subsample(voxels), (low, high)))
    narrowest = max(1e-6, 1e-5 * max(abs(bottom), abs(top)))  # float32 must tell the ends apart
    return Window.between(bottom, max(top, bottom + narrowest))


def subsample(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Take at most about two million values evenly; (n,), always the same."""
    flat = voxels.reshape(-1)
    if flat.size <= _PERCENTILE_SAMPLES:
        return flat
    step = flat.size // _PERCENTILE_SAMPLES
    # A stride that shares a factor with the row or slice size would visit some columns only.
    slice_size = math.prod(voxels.shape[1:])
    while math.gcd(step, slice_size) != 1:
        step += 1
    return flat[::step]


def default_windows(volume: Volume) -> tuple[Window, ...]:
    """Choose the windows for a volume: soft tissue for CT, else its 0.5 to 99.5 percentiles."""
    if volume.modality == "CT":
        return (CT_WINDOWS["soft"],)
    return (percentile_window(volume.voxels),)
