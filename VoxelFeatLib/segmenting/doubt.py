"""Where one more click would tell most: places where the answer is in doubt.

The potential of a node is the chance that it is inside, so the smaller one of it and its rest is
the chance that the answer is wrong there. A click settles a ball around it; so the doubt of a place
is the mean of these chances over as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.segmenting.seeding import ball_radius, node_coordinates
from VoxelFeatLib.segmenting.suggesting import Suggestion

if TYPE_CHECKING:
    from VoxelFeatLib.segmenting.graph import Graph
    from VoxelFeatLib.segmenting.potential import Potential
    from VoxelFeatLib.segmenting.segment import Wish

Array = npt.NDArray[np.float32]

_MOST = 5
# Places with less doubt are not worth a click.
_LEAST = 0.1
# A box with this half width has a ball's spread along each axis: sqrt(3 / 5) of its radius.
_HALF_WIDTH = 0.775
# Distances of a suggestion, in radii of a ball: from clicks, and from better suggestions.
_FROM_CLICKS = 0.5
_APART = 2.0


def suggest(potential: Potential, wish: Wish) -> tuple[Suggestion, ...]:
    """Return at most five places, the most doubtful first; none where all is sure.

    They lie in the wish's box, away from its clicks and from one another.

    Args:
        potential: What the answer was told from.
        wish: What it answers.
    """
    graph, geometry = potential.graph, potential.volume.geometry
    radius = ball_radius(geometry)
    doubt = _around(np.minimum(potential.values, 1 - potential.values), graph, radius)
    doubt[~_allowed(graph, wish)] = 0
    for place in node_coordinates((*wish.positive, *wish.negative), graph, geometry):
        _clear(doubt, place, graph, _FROM_CLICKS * radius)
    found: list[Suggestion] = []
    while len(found) < _MOST:
        node = np.array(np.unravel_index(doubt.argmax(), doubt.shape))
        most = float(doubt[tuple(node)])
        if most < _LEAST:
            break
        r, a, s = geometry.to_ras(_voxel(node, graph)).tolist()
        found.append(Suggestion((r, a, s), most))
        _clear(doubt, node, graph, _APART * radius)
    return tuple(found)


def _around(wrong: Array, graph: Graph, radius: float) -> Array:
    """Mean over as much as a ball around each node; beyond the nodes nothing is wrong."""
    sizes = [2 * round(_HALF_WIDTH * radius / step) + 1 for step in graph.spacing_kji]
    return np.asarray(uniform_filter(wrong, sizes, mode="constant"))


def _allowed(graph: Graph, wish: Wish) -> Mask:
    """Nodes whose voxel may change."""
    allowed = np.ones(graph.lattice.shape_kji, dtype=bool)
    if wish.box is not None:
        for axis, count in enumerate(allowed.shape):
            voxels = _voxels(np.arange(count), graph, 2 - axis)
            inside = (voxels >= wish.box.start_kji[axis]) & (voxels < wish.box.stop_kji[axis])
            np.moveaxis(allowed, axis, 0)[~inside] = False
    return allowed


def _clear(doubt: Array, place: npt.ArrayLike, graph: Graph, radius: float) -> None:
    """Leave out, in place, the nodes nearer to node coordinates k, j, i than so many mm."""
    parts, squares = [], []
    for at, step, count in zip(
        np.asarray(place, dtype=float), graph.spacing_kji, doubt.shape, strict=True
    ):
        first = int(np.clip(np.ceil(at - radius / step), 0, count))
        stop = int(np.clip(np.floor(at + radius / step) + 1, first, count))
        parts.append(slice(first, stop))
        squares.append(np.square((np.arange(first, stop) - at) * step))
    k, j, i = squares
    doubt[tuple(parts)][k[:, None, None] + j[:, None] + i <= radius**2] = 0


def _voxel(node_kji: npt.NDArray[np.int64], graph: Graph) -> list[int]:
    """The voxel (i, j, k) at a node's centre."""
    return [int(_voxels(node_kji[2 - axis], graph, axis)) for axis in range(3)]


def _voxels(nodes: npt.ArrayLike, graph: Graph, axis: int) -> npt.NDArray[np.int64]:
    """Voxels at nodes along axis 0 = i, 1 = j, 2 = k."""
    places = graph.lattice.start_ijk[axis] + np.asarray(nodes) * graph.lattice.step_ijk[axis]
    return np.floor(places + 0.5).astype(np.int64)
