"""A scalar 3D image with its geometry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.windows import Window, percentile_window, subsample

Modality = Literal["CT", "MR", "other"]

VOXEL_TYPES = (np.dtype("u1"), np.dtype("i2"), np.dtype("u2"), np.dtype("f4"))

# The probe's intensity of CT: air to dense bone, the same scale for every scan.
_CT_INTENSITY = Window.between(-1000, 1000)

# Positions this close (in voxels) to a voxel centre count as on it: rounding of the two affine
# maps stays far below, and masks on the voxel grid need one look-up instead of eight.
_ON_CENTRE = 1e-6


@dataclass(eq=False)
class Volume:
    """A scalar image; treat it as read-only once made (its hash and range are remembered).

    Attributes:
        voxels: (K, J, I) uint8, int16, uint16 or float32; HU when ``modality`` is CT.
        geometry: Where the voxels are.
        modality: "CT", "MR" or "other".
        name: For messages and file names.
        notes: What a user should know about how it was read, one sentence each.

    Raises:
        InputError: Voxels of another type, or not of the geometry's shape.
    """

    voxels: npt.NDArray[Any]
    geometry: Geometry
    modality: Modality = "other"
    name: str = ""
    notes: tuple[str, ...] = ()
    _sha256: str = field(default="", init=False, repr=False)
    _intensity_window: Window | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.voxels.dtype not in VOXEL_TYPES:
            names = ", ".join(str(kind) for kind in VOXEL_TYPES)
            raise InputError(f"Voxels must be one of {names}, not {self.voxels.dtype}.")
        if self.voxels.shape != self.geometry.shape_kji:
            raise InputError(
                f"The voxels have shape {self.voxels.shape}, "
                f"but the geometry says {self.geometry.shape_kji}."
            )

    def sha256(self) -> str:
        """Return the hex digest over voxel type, shape and voxels (k, j, i), computed once."""
        if not self._sha256:
            little_endian = self.voxels.dtype.newbyteorder("<")
            digest = hashlib.sha256(f"{little_endian.str} {self.voxels.shape} ".encode())
            for slice_ji in self.voxels:  # by slice: no copy of the volume when it is not C order
                digest.update(np.ascontiguousarray(slice_ji, dtype=little_endian).data)
            self._sha256 = digest.hexdigest()
        return self._sha256

    @property
    def intensity_window(self) -> Window:
        """The range that becomes 0 to 1: -1000 to 1000 HU in CT, else 0.5 to 99.5 percentiles."""
        if self.modality == "CT":
            return _CT_INTENSITY
        if self._intensity_window is None:
            self._intensity_window = percentile_window(self.voxels)
        return self._intensity_window

    def intensity_at(self, ras: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Interpolate trilinearly, in ``intensity_window``, at (N, 3) RAS mm, edge values outside.

        Returns:
            (N,) float32; at voxel centres exactly the voxel's intensity.
        """
        ijk = self.geometry.to_ijk(np.atleast_2d(np.asarray(ras, dtype=np.float64)))
        choices = [
            _neighbours(ijk[:, 2 - axis], size) for axis, size in enumerate(self.voxels.shape)
        ]
        window = self.intensity_window
        result = np.zeros(len(ijk), dtype=np.float32)
        for (k, weight_k), (j, weight_j), (i, weight_i) in product(*choices):
            weight = weight_k * weight_j * weight_i
            result += weight * window(self.voxels[k, j, i])
        return result


def guess_modality(voxels: npt.NDArray[Any], header_hint: str | None = None) -> Modality:
    """Tell CT from the rest by the header's word, or by the voxel range when it has none.

    Only CT has values far below zero where there is air (-1000 HU) together with tissue above
    0 HU; MR phase images reach down to -4096. A header's "MR" or other modality is believed.
    """
    hint = (header_hint or "").strip().upper()
    if hint == "CT":
        return "CT"
    if hint in {"MR", "MRI"}:
        return "MR"
    if hint:
        return "other"
    sample = subsample(voxels)
    low, high = float(sample.min()), float(sample.max())
    return "CT" if -4096 < low <= -500 and 0 <= high <= 65535 else "other"


def _neighbours(
    index: FloatArray, size: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Return lower and upper voxel along an axis with their weights; one when all are on it."""
    index = np.clip(index, 0, size - 1)
    nearest = np.rint(index)
    index = np.where(np.abs(index - nearest) < _ON_CENTRE, nearest, index)
    lower = np.floor(index).astype(np.int64)
    fraction = (index - lower).astype(np.float32)
    if not fraction.any():
        return [(lower, np.ones(1, dtype=np.float32))]
    return [(lower, 1 - fraction), (np.minimum(lower + 1, size - 1), fraction)]
