"""What clicks and probe ask of the nodes of a graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from VoxelFeatLib.segmenting.graph import Graph
from VoxelFeatLib.segmenting.walker import NodePriors

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.aliases import FloatArray, Mask
    from VoxelFeatLib.imaging.geometry import Geometry
    from VoxelFeatLib.segmenting.segment import Wish

Array = npt.NDArray[np.float32]

# The unit of length: this part of the volume's half extent, 3 mm in an abdominal CT.
_UNIT = 1 / 60
# How strongly the prior holds a node whose cell is a unit wide.
_STRENGTH = 0.01
# A probe with few clicks is too sure: its logits are divided by this. And it is too strict, with
# the whole volume as negatives: its logits are raised by `_LIFT` over the number of clicks.
_TEMPERATURE = 3.0
_LIFT = 1.0
# What the segment was so far is worth this much of a logit, at nodes up to a unit wide.
_SO_FAR = 0.75
# Around a click what looks alike belongs with it, in a ball of so many units, up to this contrast.
_BALL = 3.0
_ALIKE = 0.1
# Clicks this near to one another (parts of the ball's radius) share a ball.
_CELLS_IN_REACH = 4
# Nodes of balls looked at together.
_NODES_AT_ONCE = 1 << 19


def lift_of(wish: Wish, volume_logits: Array, click_logits: Array) -> float:
    """Return what is added to the probe's logits.

    Never more than would bring half of the volume half-way to the segment. A probe that takes most
    of the volume for the segment, which it can with few clicks in unlike parts, is lowered instead:
    then the clicks lie as far inside as half of the volume lies outside.

    Args:
        wish: The clicks.
        volume_logits: Of places all over the volume.
        click_logits: Of the positive clicks.
    """
    if wish.base is not None:
        return 0.0
    usual = float(np.median(volume_logits))
    if usual > 0 and len(click_logits):
        return -(usual + float(click_logits.min())) / 2
    clicks = len(wish.positive) + len(wish.negative)
    return min(_LIFT / max(1, clicks - 1), max(0.0, -usual / 2))


def so_far_logits(so_far: Mask, graph: Graph, geometry: Geometry) -> Array:
    """Return what the segment so far adds to the logits of a graph's nodes: (nk, nj, ni).

    A new click changes the probe everywhere; this keeps what it says little about as it is. Wide
    nodes, which the prior holds the more, get the less of it.

    Args:
        so_far: (K, J, I).
        graph: The nodes.
        geometry: The volume's.
    """
    nearest = []
    for axis, size in enumerate(so_far.shape):
        index = graph.lattice.axis(2 - axis, torch.device("cpu")).round().long().numpy()
        nearest.append(np.clip(index, 0, size - 1))
    worth = np.float32(_SO_FAR / max(1.0, _width(graph, geometry)))
    return np.where(so_far[np.ix_(*nearest)], worth, -worth)


def potentials_for(
    wish: Wish, graph: Graph, logits: Array, geometry: Geometry, start: torch.Tensor | None = None
) -> NodePriors:
    """Say what a graph's nodes should be, and where.

    Args:
        wish: The clicks.
        graph: The nodes.
        logits: (nk, nj, ni) the probe's, raised by `lift_of`, at the nodes.
        geometry: The volume's.
        start: Potentials from outside; kept on those faces of the box inside the volume.
    """
    device = graph.contrast.device
    # With an existing mask the probe has many samples of both kinds.
    temperature = _TEMPERATURE if wish.base is None else 1.0
    prior = torch.sigmoid(torch.from_numpy(logits).to(device) / temperature)
    seeds = torch.from_numpy(seeds_of(wish, graph, geometry)).to(device)
    fixed = seeds >= 0
    prior = torch.where(fixed, seeds.to(prior.dtype), prior)
    if start is not None:
        faces = torch.from_numpy(_inner_faces(graph, geometry)).to(device) & ~fixed
        prior, fixed = torch.where(faces, start, prior), fixed | faces
    strength = _STRENGTH * _width(graph, geometry) ** 2
    return NodePriors(prior, torch.full_like(prior, strength), fixed)


def seeds_of(wish: Wish, graph: Graph, geometry: Geometry) -> npt.NDArray[np.int8]:
    """Say what clicks tell of the nodes, (nk, nj, ni): 1 inside, 0 outside, -1 nothing.

    A click tells of its own node and of those of a ball around it that look alike; of several
    clicks the nearest counts. Where clicks are dense, as in a scribble, not every one has a ball.
    """
    seeds = np.full(graph.lattice.shape_kji, -1, dtype=np.int8)
    nearest = np.full(graph.lattice.shape_kji, np.inf, dtype=np.float32)
    reach = ball_radius(geometry)
    spans = [int(reach // step) for step in graph.spacing_kji]
    at_once = max(1, _NODES_AT_ONCE // math.prod(2 * span + 1 for span in spans))
    for positions, label in ((wish.positive, 1), (wish.negative, 0)):
        places = node_coordinates(positions, graph, geometry)
        nodes = np.rint(places).astype(np.int64)
        inside = ((nodes >= 0) & (nodes < seeds.shape)).all(axis=1)
        places, nodes = places[inside], nodes[inside]
        if any(spans):
            leading = _leading(places, nodes, graph, reach)
            for first in range(0, len(leading), at_once):
                some = leading[first : first + at_once]
                _plant_balls(seeds, nearest, graph, places[some], label, reach)
        _plant_points(seeds, nearest, graph, places, nodes, label)
    return seeds


def _width(graph: Graph, geometry: Geometry) -> float:
    """How wide a node's cell is, in units."""
    return float(np.prod(graph.spacing_kji) ** (1 / 3)) / (_UNIT * geometry.radius)


def ball_radius(geometry: Geometry) -> float:
    """How far from a click what looks alike belongs with it, mm."""
    return _BALL * _UNIT * geometry.radius


def node_coordinates(positions: npt.ArrayLike, graph: Graph, geometry: Geometry) -> FloatArray:
    """Return node coordinates k, j, i of RAS positions: (N, 3)."""
    ras = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    ijk = (geometry.to_ijk(ras) - graph.lattice.start_ijk) / graph.lattice.step_ijk
    return ijk[:, ::-1]


def _leading(
    places: FloatArray, nodes: npt.NDArray[np.int64], graph: Graph, reach: float
) -> npt.NDArray[np.int64]:
    """Numbers of the clicks whose balls stand for those of all: the first of near and like ones."""
    cells = np.floor(places * graph.spacing_kji * (_CELLS_IN_REACH / reach))
    shades = np.floor(graph.seen[tuple(nodes.T)] * (2 / _ALIKE))
    _, first = np.unique(np.column_stack([cells, shades]), axis=0, return_index=True)
    return np.sort(first)


def _plant_balls(
    seeds: npt.NDArray[np.int8],
    nearest: Array,
    graph: Graph,
    places: FloatArray,
    label: int,
    reach: float,
) -> None:
    """Make the nodes around clicks that look like them seeds, in place, where none was nearer."""
    middle = np.rint(places).astype(np.int64)
    numbers, squares = [], []
    for axis, (step, size) in enumerate(zip(graph.spacing_kji, seeds.shape, strict=True)):
        span = int(reach // step)
        nodes = middle[:, axis, None] + np.arange(-span, span + 1)
        square = np.square((nodes - places[:, axis, None]) * step).astype(np.float32)
        square[(nodes < 0) | (nodes >= size)] = np.inf
        numbers.append(nodes * math.prod(seeds.shape[axis + 1 :]))
        squares.append(square)
    square = _outer_sum(squares)
    near = square <= np.float32(reach**2)
    nodes, distance = _outer_sum(numbers)[near], np.sqrt(square[near])
    seen = graph.seen.ravel()
    own = graph.seen[tuple(middle.T)].repeat(np.count_nonzero(near, axis=1))
    alike = np.abs(seen[nodes] - own) < _ALIKE
    nodes, distance = nodes[alike], distance[alike]
    seeds.ravel()[nodes[distance < nearest.ravel()[nodes]]] = label
    np.minimum.at(nearest.ravel(), nodes, distance)


def _outer_sum(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Sum (n, K), (n, J), (n, I) over all combinations of the second axes: (n, K J I)."""
    k, j, i = parts
    return (k[:, :, None, None] + j[:, None, :, None] + i[:, None, None]).reshape(len(k), -1)


def _plant_points(
    seeds: npt.NDArray[np.int8],
    nearest: Array,
    graph: Graph,
    places: FloatArray,
    nodes: npt.NDArray[np.int64],
    label: int,
) -> None:
    """Make the nodes of clicks their seeds, in place, where no click of another label is nearer."""
    steps = ((nodes - places) * graph.spacing_kji).astype(np.float32)
    distance = np.sqrt(np.square(steps).sum(axis=1))
    own = tuple(nodes[distance < nearest[tuple(nodes.T)]].T)
    seeds[own] = label
    np.minimum.at(nearest, tuple(nodes.T), distance)


def _inner_faces(graph: Graph, geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Nodes on those faces of the box behind which the volume goes on."""
    faces = np.zeros(graph.lattice.shape_kji, dtype=bool)
    for axis, size in enumerate(geometry.shape_kji):
        start = graph.lattice.start_ijk[2 - axis]
        step = graph.lattice.step_ijk[2 - axis]
        last = start + step * (graph.lattice.shape_kji[axis] - 1)
        moved = np.moveaxis(faces, axis, 0)
        if start - step / 2 > 0:
            moved[0] = True
        if last + step / 2 < size - 1:
            moved[-1] = True
    return faces
