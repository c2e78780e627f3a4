"""What slice views show of a volume: its voxels, and planes to draw pictures on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.scene.volume_nodes import array_of, geometry_of, local_from_world, moved
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker.protocol import MAX_PLANE_SIDE, Plane

# Edge of the blocks that an oblique plane is covered with, in voxels.
_BLOCK = 16
# Most voxels of all blocks of one plane; those in the middle of the view come first.
_MOST_VOXELS = 2 << 20
# A plane is along a volume's axis if it leaves it by less than this many voxels over the view.
_ALONG = 0.25


def mapped_slice_nodes(scene: Any) -> list[Any]:
    """Return the slice nodes of the views that the layout shows."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLSliceNode") for n in range(count)]
    return [node for node in nodes if node.IsMappedInLayout()]


def visible_extents(slice_nodes: Iterable[Any], volume: Any) -> list[Extent]:
    """Return the voxels of a volume that slice views show.

    Args:
        slice_nodes: The views' vtkMRMLSliceNodes.
        volume: The volume node.

    Returns:
        One extent a view whose plane is along the volume's axes, many small ones for another.

    Raises:
        InputError: The volume has no image, or is under a transform that is not linear.
    """
    geometry = geometry_of(volume)
    to_ijk = geometry.ras_to_ijk @ local_from_world(volume)
    whole = Extent.whole(geometry.shape_kji)
    extents: list[Extent] = []
    for node in slice_nodes:
        corners = moved(to_ijk @ array_of(node.GetSliceToRAS()), _corners(node))
        along = np.flatnonzero(np.ptp(corners, axis=0) < _ALONG)
        if along.size:
            extents += _slab(corners, int(along[0]), whole)
        else:
            extents += _blocks(corners, whole)
    return list(dict.fromkeys(extents))


def plane_of(slice_node: Any, volume: Any, most_pixels: int) -> Plane | None:
    """Return the part of a view's plane that lies in a volume's bounding box.

    Args:
        slice_node: The view's vtkMRMLSliceNode.
        volume: The volume node.
        most_pixels: Rows times columns, at most.

    Returns:
        The plane in the volume's own space; None where the view does not show the volume.

    Raises:
        InputError: The volume has no image, or is under a transform that is not linear.
    """
    geometry = geometry_of(volume)
    to_own = local_from_world(volume) @ array_of(slice_node.GetSliceToRAS())
    edges = np.array([np.array(geometry.shape_kji[::-1]) - 0.5, [-0.5] * 3])
    box_ijk = np.array([[edges[a][0], edges[b][1], edges[c][2]] for a, b, c in np.ndindex(2, 2, 2)])
    box = moved(
        np.asarray(np.linalg.inv(to_own), dtype=np.float64), geometry.to_ras(box_ijk)
    )  # in the slice's axes
    if box[:, 2].min() > 0 or box[:, 2].max() < 0:
        return None
    view = _view(slice_node)
    low = np.maximum(box[:, :2].min(axis=0), view[0])
    high = np.minimum(box[:, :2].max(axis=0), view[1])
    size = high - low
    if (size <= 0).any():
        return None
    step = float(np.sqrt(size.prod() / most_pixels))
    columns, rows = (min(max(1, int(n)), MAX_PLANE_SIDE) for n in size // step)
    right, down = size[0] / columns, size[1] / rows
    first = moved(to_own, [[low[0] + right / 2, low[1] + down / 2, 0.0]])[0]
    return Plane(
        _position(first), _position(to_own[:3, 0] * right), _position(to_own[:3, 1] * down),
        rows, columns,
    )  # fmt: skip


def _view(node: Any) -> FloatArray:
    """Return two opposite corners of a view in the slice's axes, (2, 2) mm.

    Dragging a view, or zooming it at the mouse, moves its XYZOrigin and not its SliceToRAS.
    """
    half = np.array(node.GetFieldOfView()[:2]) / 2
    middle = np.array(node.GetXYZOrigin()[:2])
    return np.array([middle - half, middle + half])


def _corners(node: Any) -> FloatArray:
    """Return the four corners of a view in the slice's axes, (4, 3) mm."""
    return np.array([[x, y, 0.0] for x in _view(node)[:, 0] for y in _view(node)[:, 1]])


def _slab(corners_ijk: FloatArray, axis: int, whole: Extent) -> list[Extent]:
    """Return the one-voxel-thick extent of a plane across an axis (of i, j, k)."""
    start = np.floor(corners_ijk.min(axis=0) + 0.5).astype(int)
    stop = np.floor(corners_ijk.max(axis=0) + 0.5).astype(int) + 1
    start[axis] = int(np.floor(corners_ijk[:, axis].mean() + 0.5))
    stop[axis] = start[axis] + 1
    extent = Extent.of(start[::-1].tolist(), stop[::-1].tolist()).clipped(whole)
    return [extent] if extent.size else []


def _blocks(corners_ijk: FloatArray, whole: Extent) -> list[Extent]:
    """Cover an oblique plane with blocks, runs of them along i being one extent."""
    origin, across, up = corners_ijk[0], corners_ijk[2] - corners_ijk[0], corners_ijk[1]
    up = up - origin
    to_view = np.linalg.inv(np.column_stack([across, up, np.cross(across, up)]))
    shape = np.array(whole.stop_kji[::-1])
    blocks = np.stack(np.meshgrid(*(np.arange(-(-n // _BLOCK)) for n in shape), indexing="ij"), -1)
    blocks = blocks.reshape(-1, 3)
    low = blocks * _BLOCK - 0.5
    half = (np.minimum(low + _BLOCK, shape - 0.5) - low) / 2
    # Middle and reach of each block along the view's edges (0 to 1 inside) and off its plane (0).
    middle = (low + half - origin) @ to_view.T
    reach = half @ np.abs(to_view).T
    crossed = (middle + reach >= 0) & (middle - reach <= np.array([1.0, 1.0, 0.0]))
    found = crossed.all(axis=1)
    order = np.argsort(((middle[found, :2] - 0.5) ** 2).sum(axis=1), kind="stable")
    return _runs(blocks[found][order][: _MOST_VOXELS // _BLOCK**3, ::-1], whole)


def _runs(blocks_kji: npt.NDArray[np.int64], whole: Extent) -> list[Extent]:
    extents = []
    ordered = sorted(map(tuple, blocks_kji.tolist()))
    while ordered:
        k, j, i = ordered.pop(0)
        last = i
        while ordered and ordered[0] == (k, j, last + 1):
            last = ordered.pop(0)[2]
        start, stop = np.array([k, j, i]) * _BLOCK, (np.array([k, j, last]) + 1) * _BLOCK
        extents.append(Extent.of(start.tolist(), stop.tolist()).clipped(whole))
    return extents


def _position(values: FloatArray) -> Position:
    r, a, s = (float(value) for value in values)
    return r, a, s
