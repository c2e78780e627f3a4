"""Segments' binary labelmaps as arrays on a volume's grid.

Slicer keeps the labels of several segments in one labelmap (a layer). A labelmap covers an extent
of its grid that may start anywhere, and its matrix maps indices of that grid to the segmentation
node's own space.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util import numpy_support

from VoxelFeatLib.imaging.aliases import FloatArray, Triple
from VoxelFeatLib.scene.nodes.volume_nodes import (
    array_of,
    geometry_of,
    local_from_world,
    vtk_matrix,
    world_from_local,
)
from VoxelFeatLib.segmenting.extent import Extent

LABELMAP = "Binary labelmap"

Labels = npt.NDArray[Any]

# Grids are the same when no corner of the volume is further apart than this, in voxels.
_TOLERANCE = 0.01
# Voxels copied between two looks at the mouse.
_COPIED = 2 << 20


@dataclass(frozen=True, eq=False)
class Grid:
    """A volume's grid as a segmentation node sees it.

    Attributes:
        shape_kji: Shape of the volume.
        ijk_to_local: 4x4 from the volume's indices to the segmentation node's own space, mm.
    """

    shape_kji: Triple
    ijk_to_local: FloatArray

    @classmethod
    def of(cls, segmentation_node: Any, volume_node: Any) -> Grid:
        """Return the grid of a volume; both nodes may be under different linear transforms.

        Raises:
            InputError: The volume holds no image, or a transform is not linear.
        """
        geometry = geometry_of(volume_node)
        to_segmentation = local_from_world(segmentation_node) @ world_from_local(volume_node)
        return cls(geometry.shape_kji, to_segmentation @ geometry.ijk_to_ras)

    def holds(self, image: Any) -> bool:
        """Whether a labelmap's indices are those of this grid."""
        across = np.linalg.solve(self.ijk_to_local, matrix_of(image))
        corners = np.array([(*c, 1.0) for c in product(*((0, n) for n in self.shape_kji[::-1]))])
        return bool(np.abs(corners @ across.T - corners).max() < _TOLERANCE)

    def extent_of(self, image: Any) -> Extent:
        """Return the extent around a labelmap's voxels, those outside the volume included."""
        own = extent_of(image)
        if not own.size or self.holds(image):
            return own
        to_grid = np.linalg.solve(self.ijk_to_local, matrix_of(image))
        ends = zip(own.start_kji[::-1], own.stop_kji[::-1], strict=True)
        corners = np.array([(*c, 1.0) for c in product(*((a - 0.5, b - 0.5) for a, b in ends))])
        found = (corners @ to_grid.T)[:, 2::-1]
        return Extent.of(
            np.floor(found.min(axis=0) + 0.5).astype(int),
            np.ceil(found.max(axis=0) + 0.5).astype(int),
        )


def matrix_of(image: Any) -> FloatArray:
    """Return the (4, 4) map from a labelmap's indices to the segmentation node's own space."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return array_of(matrix)


def extent_of(image: Any) -> Extent:
    """Return the voxels that an image has, in indices of its own grid."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    return Extent((k0, j0, i0), (k1 + 1, j1 + 1, i1 + 1))


def voxels_of(image: Any) -> Labels:
    """Return an image's voxels, (K, J, I), in place; more than one component stays behind."""
    scalars = image.GetPointData().GetScalars()
    shape = extent_of(image).shape
    if scalars is None or not scalars.GetNumberOfTuples() or 0 in shape:
        return np.zeros((0, 0, 0), dtype=np.uint8)
    voxels = numpy_support.vtk_to_numpy(scalars)
    return voxels.reshape(*shape, -1)[..., 0]


def place(image: Any, matrix: FloatArray) -> None:
    """Set the map from an image's indices to space."""
    image.SetImageToWorldMatrix(vtk_matrix(matrix))


def new_labelmap(grid: Grid, extent: Extent, scalar_type: int = vtk.VTK_UNSIGNED_CHAR) -> Any:
    """Make a labelmap on a grid; its voxels are not set yet."""
    image = slicer.vtkOrientedImageData()
    place(image, grid.ijk_to_local)
    image.SetExtent(*_vtk_extent(extent))
    image.AllocateScalars(scalar_type, 1)
    return image


def labels_on(image: Any, grid: Grid, extent: Extent) -> Labels:
    """Return an image's labels at a grid's voxels, 0 outside the image.

    Where the image has the same grid and covers the extent the result is the image's own memory;
    elsewhere each voxel gets the label of the image's nearest one.
    """
    own = extent_of(image)
    if own.size and not grid.holds(image):
        return resampled(image, grid, extent)
    shared = own.clipped(extent)
    voxels = voxels_of(image)
    if shared == extent and extent.size:
        return voxels[extent.within(own)]
    labels = np.zeros(extent.shape, dtype=voxels.dtype)
    if shared.size:
        labels[shared.within(extent)] = voxels[shared.within(own)]
    return labels


def resampled(
    image: Any, grid: Grid, extent: Extent, *, linear: bool = False, outside: float = 0.0
) -> Labels:
    """Return an image's values at a grid's voxels: of the nearest voxel, or linear in between."""
    reference, result = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    place(reference, grid.ijk_to_local)
    reference.SetExtent(*_vtk_extent(extent))
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    resample(image, reference, result, linear, False, None, outside)
    # The array is the image's memory, which is gone with it.
    return voxels_of(result).copy()


def copied(
    image: Any, grid: Grid, extent: Extent, value: int | None = None
) -> Generator[None, None, Any]:
    """Copy a labelmap onto a grid, a slab at a time.

    Args:
        image: The labelmap, on any grid.
        grid: The new one's grid.
        extent: The new one's voxels.
        value: The only label to be copied, which becomes 1; None for all as they are.

    Returns:
        The new labelmap, by ``yield from``.
    """
    scalar_type = vtk.VTK_UNSIGNED_CHAR
    if value is None and image.GetPointData().GetScalars() is not None:
        scalar_type = image.GetScalarType()
    result = new_labelmap(grid, extent, scalar_type)
    voxels = voxels_of(result)
    for slab in extent.pieces(_COPIED):
        labels = labels_on(image, grid, slab)
        voxels[slab.within(extent)] = labels if value is None else labels == value
        yield
    return result


def _vtk_extent(extent: Extent) -> tuple[int, ...]:
    k, j, i = extent.slices
    return (i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1)
