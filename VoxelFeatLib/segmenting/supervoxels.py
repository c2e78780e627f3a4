"""Supervoxels: SLIC on the field's features.

Source: VISTA3D (CVPR 2025), which clusters the upsampled features of a foundation model; here the
field gives them. Compactness 0.01, 100 to 400 segments, sigma 3, air left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import slic

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.components import largest_component
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.projection import principal_axes

COMPACTNESS = 0.01
SIGMA = 3.0

_AIR_HU = -800
# Points that SLIC clusters: bounds time and memory on any volume.
_MOST_POINTS = 250_000
_COMPONENTS = 12
# SLIC holds a matrix of the distances between all pairs of supervoxels.
_MOST_SUPERVOXELS = 5_000
# Points that the principal axes are computed from.
_AXES_POINTS = 20_000


def supervoxels(
    volume: Volume,
    field: FeatureField,
    *,
    count: int = 200,
    compactness: float = COMPACTNESS,
    sigma: float = SIGMA,
    seed: int = 0,
) -> npt.NDArray[np.int32]:
    """Divide a volume into regions of like features.

    The field is sampled on a lattice of at most 250,000 nearly cubic cells, its features are
    standardised and reduced to 12 principal components, and SLIC clusters these.

    Args:
        volume: The volume.
        field: Its field.
        count: About so many supervoxels.
        compactness: Weight of nearness beside likeness of features.
        sigma: Width of SLIC's smoothing, in lattice points.
        seed: Chooses the points that the principal components are computed from.

    Returns:
        (K, J, I) int32 on the volume's grid, from 1 on; 0 is air outside the body (CT).

    Raises:
        InputError: Fewer than two or more than 5,000 supervoxels asked for, or nothing but air.
    """
    if count < 2:
        raise InputError(f"Ask for at least two supervoxels, not {count}.")
    if count > _MOST_SUPERVOXELS:
        raise InputError(f"Ask for at most {_MOST_SUPERVOXELS:,} supervoxels, not {count:,}.")
    shape = volume.geometry.shape_kji
    body = ~air(volume)
    box = bounding_box(body)
    if box is None:
        raise InputError("The volume holds nothing but air.")
    extent = Extent.of([part.start for part in box], [part.stop for part in box])
    spacing = volume.geometry.spacing[::-1]
    lattice = Lattice.covering(extent.start_kji, extent.stop_kji, spacing, _MOST_POINTS)
    nearest = [_nearest(lattice, axis) for axis in range(3)]
    inside = body[np.ix_(*nearest)]
    image = _principal(volume, field, lattice, inside, np.random.default_rng(seed))
    step_mm = np.asarray(lattice.step_ijk) * volume.geometry.spacing
    labels = slic(
        image,
        n_segments=count,
        compactness=compactness,
        sigma=sigma,
        spacing=(step_mm / step_mm.min())[::-1],
        mask=inside,
        channel_axis=-1,
        convert2lab=False,
        start_label=1,
    ).astype(np.int32)
    # Body voxels whose lattice point lies in the air outside belong to the nearest supervoxel.
    labels = _filled(labels)
    looked_up = [_lattice_index(lattice, axis, shape[axis]) for axis in range(3)]
    result = labels[np.ix_(*looked_up)]
    result[~body] = 0
    return np.asarray(result, dtype=np.int32)


def air(volume: Volume) -> Mask:
    """Return the largest 26-neighbour component under -800 HU; nothing where it is no CT."""
    if volume.modality != "CT":
        return np.zeros(volume.voxels.shape, dtype=bool)
    return largest_component(volume.voxels < _AIR_HU)


def _nearest(lattice: Lattice, axis: int) -> npt.NDArray[np.int64]:
    """Voxel index of every lattice point along array axis 0 = k, 1 = j, 2 = i."""
    start, step = lattice.start_ijk[2 - axis], lattice.step_ijk[2 - axis]
    return np.rint(start + step * np.arange(lattice.shape_kji[axis])).astype(np.int64)


def _lattice_index(lattice: Lattice, axis: int, size: int) -> npt.NDArray[np.int64]:
    """Lattice point of every voxel index along array axis 0 = k, 1 = j, 2 = i."""
    start, step = lattice.start_ijk[2 - axis], lattice.step_ijk[2 - axis]
    index = np.rint((np.arange(size) - start) / step)
    return np.clip(index, 0, lattice.shape_kji[axis] - 1).astype(np.int64)


def _principal(
    volume: Volume,
    field: FeatureField,
    lattice: Lattice,
    inside: Mask,
    generator: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Return (nk, nj, ni, M) principal components of the standardised features."""
    found = np.argwhere(inside)
    kept = found[np.sort(generator.permutation(len(found))[:_AXES_POINTS])]
    ijk = np.asarray(lattice.start_ijk) + np.asarray(lattice.step_ijk) * kept[:, ::-1]
    positions = torch.as_tensor(volume.geometry.to_ras(ijk), dtype=torch.float32)
    sample = field.features(positions.to(field.device)).cpu().double().numpy()
    mean, scale = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-6)
    standardised = (sample - mean) / scale
    _, axes = principal_axes(standardised, _COMPONENTS)
    weight = torch.as_tensor(axes / scale, dtype=torch.float32, device=field.device)
    bias = torch.as_tensor(-(axes / scale) @ mean, dtype=torch.float32, device=field.device)
    components = field.project_on(lattice, weight, bias).movedim(0, -1)
    return np.ascontiguousarray(components.float().cpu().numpy())


def _filled(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Give points without a supervoxel that of the nearest one."""
    nearest = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])
