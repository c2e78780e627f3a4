"""What slice views show of a volume: its voxels, and planes to draw pictures on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.scene.nodes.volume_nodes import array_of, geometry_of, local_from_world, moved
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker.protocol import MAX_PLANE_SIDE, Plane

# Edge of the tiles that an oblique plane is covered with, in voxels along two of the axes.
_TILE = 32
# One box around all tiles may have this many times their voxels.
_ROOMY = 4
# Most voxels of all tiles of one plane; those in the middle of the view come first.
_MOST_VOXELS = 2 << 20
# A plane is along a volume's axis if it leaves it by less than this many voxels over the view.
_ALONG = 0.25
# A position this near to a view's edge, as a part of the view, is hardly in sight.
_EDGE = 0.08


def mapped_slice_nodes(scene: Any) -> list[Any]:
    """Return the slice nodes of the views that the layout shows."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLSliceNode") for n in range(count)]
    return [node for node in nodes if node.IsMappedInLayout()]


def jump(scene: Any, world: Position) -> None:
    """Have all slice views go through a position, world RAS mm; it comes in sight in each."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *world)
    for node in mapped_slice_nodes(scene):
        to_slice = np.asarray(np.linalg.inv(array_of(node.GetSliceToRAS())), dtype=np.float64)
        low, high = _view(node)
        place = (moved(to_slice, [world])[0, :2] - low) / (high - low)
        if (np.minimum(place, 1 - place) < _EDGE).any():
            node.JumpSliceByCentering(*world)


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
            extents += _tiles(corners, whole)
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


def _tiles(corners_ijk: FloatArray, whole: Extent) -> list[Extent]:
    """Cover an oblique plane with boxes that are no thicker than the plane needs there.

    One box around all is preferred where it is not much larger: previews are corrected in each
    extent alone, and what is connected in the view should be so there.
    """
    origin, across, up = corners_ijk[0], corners_ijk[2] - corners_ijk[0], corners_ijk[1]
    edges = np.column_stack([across, up - origin, np.cross(across, up - origin)])
    start, stop = _crossed(origin, edges[:, 2], np.array(whole.stop_kji[::-1]))
    low, high = (np.floor(corners_ijk.min(axis=0) + 0.5), np.floor(corners_ijk.max(axis=0) + 1.5))
    start, stop = (np.clip(edge, low, high).astype(int) for edge in (start, stop))
    # Does the view reach there? It goes from 0 to 1 along its edges.
    to_view = np.linalg.inv(edges)[:2]
    place = ((start + stop - 1) / 2 - origin) @ to_view.T
    reach = (stop - start) / 2 @ np.abs(to_view).T
    seen = ((place + reach >= 0) & (place - reach <= 1)).all(axis=1) & (stop > start).all(axis=1)
    order = np.flatnonzero(seen)[np.argsort(((place[seen] - 0.5) ** 2).sum(axis=1), kind="stable")]
    if not order.size:
        return []
    sizes = np.cumsum((stop - start)[order].prod(axis=1))
    around = Extent.of(start[order].min(axis=0)[::-1], stop[order].max(axis=0)[::-1])
    if around.size <= min(_MOST_VOXELS, _ROOMY * sizes[-1]):
        return [around]
    kept = order[: max(1, int((sizes <= _MOST_VOXELS).sum()))]
    return [Extent.of(start[n][::-1], stop[n][::-1]) for n in kept]


def _crossed(
    origin: FloatArray, normal: FloatArray, shape_ijk: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut a volume's voxels along two axes into tiles, as thick as a plane needs along the third.

    Returns:
        Start and stop of the tiles, (N, 3) i, j, k; equal where the plane misses the volume.
    """
    thin = int(np.argmax(np.abs(normal)))
    flat = [axis for axis in range(3) if axis != thin]
    grids = np.meshgrid(*(np.arange(0, shape_ijk[axis], _TILE) for axis in flat), indexing="ij")
    start = np.zeros((grids[0].size, 3), dtype=np.int64)
    start[:, flat] = np.column_stack([grid.ravel() for grid in grids])
    stop = np.minimum(start + _TILE, shape_ijk)
    slope = normal[flat] / normal[thin]
    middle, half = (start + stop - 1)[:, flat] / 2, (stop - start)[:, flat] / 2
    at_middle = origin[thin] - (middle - origin[flat]) @ slope
    rise = half @ np.abs(slope)
    start[:, thin] = np.clip(np.floor(at_middle - rise + 0.5), 0, shape_ijk[thin])
    stop[:, thin] = np.clip(np.floor(at_middle + rise + 0.5) + 1, 0, shape_ijk[thin])
    return start, stop


def _position(values: FloatArray) -> Position:
    r, a, s = (float(value) for value in values)
    return r, a, s
