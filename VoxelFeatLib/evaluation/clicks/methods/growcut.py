"""Slicer's own "Grow from seeds": the filter of the segment editor's effect, fed as it feeds it."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.clicks.methods.seeds import INSIDE, seed_labels
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click

Box = tuple[slice, slice, slice]

# SegmentEditorGrowFromSeedsEffect: the margin around all seeds, at least so many voxels and this
# fraction of their extent; the box is made anew when seeds come this close to its edge.
_MARGIN = 3
_GROWTH = 0.2


class GrowFromSeeds:
    """Fast grow-cut of `vtkImageGrowCutSegment`, which the wheel slicer-core brings.

    Args:
        name: For the tables.
        seed_mm: Radius of the brush that paints the seeds; 0 for single voxels.
        cropped: Work in the box of the seeds and a margin, as Slicer's segment editor does; else in
            the whole volume.
        locality: Slicer's "Seed locality".

    Raises:
        InputError: slicer-core is not installed.
    """

    def __init__(
        self,
        name: str = "growcut",
        *,
        seed_mm: float = 3.0,
        cropped: bool = True,
        locality: float = 0.0,
    ) -> None:
        self.name = name
        self.settings: dict[str, object] = {
            "seed_mm": seed_mm,
            "cropped": cropped,
            "locality": locality,
        }
        self._seed_mm, self._cropped, self._locality = seed_mm, cropped, locality
        self._vtk = _Vtk()
        self._volume: Volume | None = None
        self._box: Box | None = None
        self._filter: Any = None

    def start(self, volume: Volume) -> None:
        """Begin a new target.

        Raises:
            InputError: The filter cannot work on so few slices.
        """
        if min(volume.voxels.shape) < _MARGIN:
            raise InputError("Grow from seeds needs a volume of three voxels or more each way.")
        self._volume, self._box, self._filter = volume, None, None

    def segment(self, clicks: tuple[Click, ...]) -> Mask:
        """Return the (K, J, I) part that grew from positive clicks."""
        assert self._volume is not None  # noqa: S101 - start comes first
        seeds = seed_labels(clicks, self._volume.geometry, self._seed_mm)
        box = self._room(seeds)
        if self._filter is None:
            self._filter = self._vtk.grow_cut(self._locality)
            self._filter.SetIntensityVolume(self._image(self._volume.voxels[box]))
        self._filter.SetSeedLabelVolume(self._image(seeds[box]))
        self._filter.Update()
        mask = np.zeros(seeds.shape, dtype=bool)
        mask[box] = self._vtk.array(self._filter.GetOutput()).reshape(mask[box].shape) == INSIDE
        return mask

    def _room(self, seeds: npt.NDArray[np.int16]) -> Box:
        """Return where to grow, and forget what grew before where that has changed."""
        if not self._cropped:
            self._box = (
                slice(0, seeds.shape[0]),
                slice(0, seeds.shape[1]),
                slice(0, seeds.shape[2]),
            )
            return self._box
        used = bounding_box(seeds != 0)
        assert used is not None  # noqa: S101 - there is a click
        old = self._box
        if old is None or not all(map(_has_room, old, used, seeds.shape)):
            k, j, i = (_grown(part, size) for part, size in zip(used, seeds.shape, strict=True))
            self._box, self._filter = (k, j, i), None
        assert self._box is not None  # noqa: S101 - set just above
        return self._box

    def _image(self, voxels: npt.NDArray[Any]) -> Any:
        assert self._volume is not None  # noqa: S101 - start comes first
        return self._vtk.image(voxels, self._volume.geometry.spacing)


def _has_room(box: slice, used: slice, size: int) -> bool:
    low = box.start == 0 or box.start <= used.start - _MARGIN
    high = box.stop == size or box.stop >= used.stop + _MARGIN
    return bool(low and high)


def _grown(used: slice, size: int) -> slice:
    margin = max(_MARGIN, int(_GROWTH * (used.stop - 1 - used.start)))
    return slice(max(0, used.start - margin), min(size, used.stop + margin))


class _Vtk:
    """What is needed of VTK and slicer-core, imported only where this method is asked for."""

    def __init__(self) -> None:
        try:
            self._slicer = importlib.import_module("slicer_core")
            self._data: ModuleType = importlib.import_module("vtkmodules.vtkCommonDataModel")
            self._numpy: ModuleType = importlib.import_module("vtkmodules.util.numpy_support")
        except ImportError as error:
            raise InputError(
                "Slicer's Grow from seeds needs the package slicer-core.",
                "Install it with `pip install slicer-core`, or leave the method growcut out.",
            ) from error

    def grow_cut(self, locality: float) -> Any:
        made = self._slicer.vtkImageGrowCutSegment()
        made.SetDistancePenalty(locality)
        return made

    def image(self, voxels: npt.NDArray[Any], spacing_ijk: npt.NDArray[np.float64]) -> Any:
        made = self._data.vtkImageData()
        made.SetDimensions(*voxels.shape[::-1])
        made.SetSpacing(*spacing_ijk.tolist())
        values = self._numpy.numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True)
        made.GetPointData().SetScalars(values)
        return made

    def array(self, image: Any) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = self._numpy.vtk_to_numpy(image.GetPointData().GetScalars())
        return values
