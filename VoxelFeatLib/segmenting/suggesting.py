"""Where one more click would tell most: places where the answer may be wrong.

The potential of a node is the chance that it is inside, so it says how likely the answer is wrong
there. A click settles a ball around it; the doubt of a place is therefore a mean over as much: then
a border, which is always in doubt but thin, counts less than a part that may be wrong as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, uniform_filter

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.segmenting.seeding import ball_radius, node_coordinates
from VoxelFeatLib.segmenting.suggestion import Suggestion

if TYPE_CHECKING:
    from VoxelFeatLib.segmenting.graph import Graph
    from VoxelFeatLib.segmenting.potential import Potential
    from VoxelFeatLib.segmenting.segment import Wish

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

_MOST = 5
# Places with less doubt are not worth a click.
_LEAST = 0.1
# A box with this half width has a ball's spread along each axis: sqrt(3 / 5) of its radius.
_HALF_WIDTH = 0.775
# Away from the segment doubt counts less, by 1/e in so many radii of a ball: what looks like it far
# away is rarely part of it. Distances are taken on every second node.
_REACH = 7.0
_STRIDE = 2
# Distances, in radii: of a suggestion from clicks, and from better suggestions.
_FROM_CLICKS = 0.5
_APART = 2.0


def suggest(potential: Potential, answer: Mask, wish: Wish) -> tuple[Suggestion, ...]:
    """Return at most five places, the most doubtful first; none where all is sure.

    They lie in the wish's box, away from its clicks and from one another.

    Args:
        potential: What the answer was told from.
        answer: (K, J, I) the segment; where it is not what the potential says, that is in doubt.
        wish: What it answers.
    """
    graph, geometry = potential.graph, potential.volume.geometry
    radius = ball_radius(geometry)
    voxels = [_voxels(np.arange(n), graph, axis) for axis, n in enumerate(potential.values.shape)]
    inside = answer[np.ix_(*voxels)]
    wrong = np.where(inside, 1 - potential.values, potential.values)
    doubt = _around(wrong, graph, radius)
    doubt *= _nearness(inside, graph, _REACH * radius)
    if wish.box is not None:
        for axis, numbers in enumerate(voxels):
            first, stop = wish.box.start_kji[axis], wish.box.stop_kji[axis]
            np.moveaxis(doubt, axis, 0)[(numbers < first) | (numbers >= stop)] = 0
    clicks = node_coordinates((*wish.positive, *wish.negative), graph, geometry)
    _clear_clicks(doubt, clicks, graph, _FROM_CLICKS * radius)
    found: list[Suggestion] = []
    while len(found) < _MOST:
        node = np.unravel_index(doubt.argmax(), doubt.shape)
        most = float(doubt[node])
        if most < _LEAST:
            break
        k, j, i = (numbers[n] for numbers, n in zip(voxels, node, strict=True))
        r, a, s = geometry.to_ras((i, j, k)).tolist()
        found.append(Suggestion((r, a, s), most))
        _clear(doubt, np.array(node, dtype=float), graph, _APART * radius)
    return tuple(found)


def _around(wrong: Array, graph: Graph, radius: float) -> Array:
    """Mean over as much as a ball around each node; beyond the nodes nothing is wrong."""
    sizes = [2 * round(_HALF_WIDTH * radius / step) + 1 for step in graph.spacing_kji]
    return np.asarray(uniform_filter(wrong, sizes, mode="constant"))


def _nearness(inside: Mask, graph: Graph, reach: float) -> Array:
    """1 at the segment, falling with the distance; 1 everywhere where there is no segment."""
    some = inside[::_STRIDE, ::_STRIDE, ::_STRIDE]
    if not some.any():
        return np.ones(inside.shape, dtype=np.float32)
    spacing = [step * _STRIDE for step in graph.spacing_kji]
    near = np.exp(-distance_transform_edt(~some, sampling=spacing) / reach).astype(np.float32)
    for axis, count in enumerate(inside.shape):
        near = near.repeat(_STRIDE, axis).take(range(count), axis)
    return near


def _clear_clicks(
    doubt: Array, places: npt.NDArray[np.float64], graph: Graph, radius: float
) -> None:
    """Leave out, in place, the nodes of clicks and those near to them."""
    nodes = np.rint(places).astype(np.int64)
    doubt[tuple(nodes[((nodes >= 0) & (nodes < doubt.shape)).all(axis=1)].T)] = 0
    # Of a scribble's clicks in one small cell, each within the radius of all, one does.
    cells = np.floor(places * graph.spacing_kji * (2 / radius))
    _, first = np.unique(cells, axis=0, return_index=True)
    for place in places[first]:
        _clear(doubt, place, graph, radius)


def _clear(doubt: Array, place: npt.NDArray[np.float64], graph: Graph, radius: float) -> None:
    """Leave out, in place, the nodes within so many mm of node coordinates k, j, i."""
    parts, squares = [], []
    for at, step, count in zip(place, graph.spacing_kji, doubt.shape, strict=True):
        first = int(np.clip(np.ceil(at - radius / step), 0, count))
        stop = int(np.clip(np.floor(at + radius / step) + 1, first, count))
        parts.append(slice(first, stop))
        squares.append(np.square((np.arange(first, stop) - at) * step))
    k, j, i = squares
    doubt[tuple(parts)][k[:, None, None] + j[:, None] + i <= radius**2] = 0


def _voxels(nodes: Index, graph: Graph, axis: int) -> Index:
    """Voxels at nodes along axis 0 = k, 1 = j, 2 = i."""
    start, step = graph.lattice.start_ijk[2 - axis], graph.lattice.step_ijk[2 - axis]
    return np.floor(start + nodes * step + 0.5).astype(np.int64)
