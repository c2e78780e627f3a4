"""From clicks to a prediction of the whole volume: probe, then random walker, coarse to fine.

The probe says what looks like the clicks, anywhere. The random walker makes the answer local: from
the clicks it reaches what is joined to them by nodes that look alike, and stops at edges; where
nothing is near it takes the probe's word. What the segment was so far counts a little, too, so that
a click changes little far away. It is solved on coarse graphs of the whole volume, then on a finer
one of the box around the segment.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from VoxelFeatLib.field.interpolation import interpolate_axis
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.components import touched_components
from VoxelFeatLib.segmenting.extent import Chunk, Extent
from VoxelFeatLib.segmenting.graph import Graph, graph_of, nodes_of
from VoxelFeatLib.segmenting.potential import Potential
from VoxelFeatLib.segmenting.seeding import (
    lift_of,
    node_coordinates,
    potentials_for,
    so_far_logits,
)
from VoxelFeatLib.segmenting.walker import solve

if TYPE_CHECKING:
    from VoxelFeatLib.segmenting.inference import VolumeInference
    from VoxelFeatLib.segmenting.probe import AffineHead
    from VoxelFeatLib.segmenting.segment import Wish

# Nodes of the graphs of the whole volume, and of that of the box around the segment.
_NODES = (20_000, 160_000)
_NODES_OF_BOX = 400_000
# The box reaches so many coarse nodes beyond the segment.
_MARGIN = 4
# A finer graph is worth its time when its nodes are this much closer.
_FINER = 0.9
# Voxels told at once.
_VOXELS_AT_ONCE = 1 << 20


def predict(
    wish: Wish,
    head: AffineHead,
    inference: VolumeInference,
    *,
    so_far: Mask | None = None,
    visible: Sequence[Extent] = (),
    box: Extent | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Chunk, None, Potential | None]:
    """Predict the visible extents, from the coarse graphs; then the whole box.

    Chunks of no voxels come in between, while equations are solved: each piece of work takes some
    tens of milliseconds at most.

    Args:
        wish: The clicks, and the existing mask where there is one.
        head: The probe fitted to them.
        inference: Of the field; evaluates the probe.
        so_far: (K, J, I) the segment before, where it is known what it was.
        visible: What the user looks at; the parts inside the box come first, in this order.
        box: Nothing is said outside of it. None: the whole volume.
        cancelled: Asked between pieces of work; True ends the iterator, without a final chunk.

    Returns:
        The closest potential of the segment, where it came to the end.
    """
    box = inference.whole if box is None else box.clipped(inference.whole)
    if not box.size:
        return None
    pieces = list(box.pieces(_VOXELS_AT_ONCE // inference.frugality))
    shown = [part for part in (extent.clipped(box) for extent in visible) if part.size]
    walk = _Walk(wish, head, inference, so_far)
    chunks = _chunks(walk, shown, pieces)
    while not cancelled():
        chunk = next(chunks, None)
        if chunk is None:
            return walk.potential
        yield chunk
    return None


def _chunks(
    walk: _Walk, visible: Sequence[Extent], pieces: Sequence[Extent]
) -> Generator[Chunk, None, None]:
    for most in _NODES:
        for _ in walk.solve(most):
            yield Chunk.pause()
    for shown in visible:
        yield Chunk(shown, walk.mask(shown), final=False)
    for _ in walk.solve_closer():
        yield Chunk.pause()
    for number, piece in enumerate(pieces, start=1):
        yield Chunk(piece, walk.mask(piece), number == len(pieces), number / len(pieces))


class _Walk:
    """The random walker on one graph after the other, coarse to fine."""

    def __init__(
        self, wish: Wish, head: AffineHead, inference: VolumeInference, so_far: Mask | None
    ) -> None:
        self._wish = wish
        # A probe of many samples, those of an existing mask, is taken at its word.
        self._so_far = so_far if wish.base is None else None
        self._head = head
        self._inference = inference
        self._geometry = inference.volume.geometry
        # Where a voxel has clicks of both kinds the positive one comes last, and counts.
        clicked = ((wish.negative, False), (wish.positive, True))
        self._told = [(self._geometry.voxels_of(places), label) for places, label in clicked]
        self._lift: float | None = None
        self._coarse: Potential | None = None
        self._closer: Potential | None = None

    def solve(self, most: int) -> Generator[None, None, None]:
        """Solve a graph of the whole volume, starting from the one before."""
        graph = yield from self._inference.graph(most)
        self._coarse = yield from self._solved(graph, self._inference.whole)

    def solve_closer(self) -> Generator[None, None, None]:
        """Solve a finer graph of the box around the segment, where it would be finer."""
        coarse = self._whole
        extent = _around(self._segment(), coarse.graph.lattice, self._inference.whole)
        inference = self._inference
        yield
        most = _NODES_OF_BOX // inference.frugality
        _, spacing_kji = nodes_of(inference.volume, extent, most)
        if min(spacing_kji) > _FINER * min(coarse.graph.spacing_kji):
            return
        graph = yield from graph_of(inference.volume, extent, most, inference.field.device)
        self._closer = yield from self._solved(graph, extent)

    def mask(self, extent: Extent) -> Mask:
        """Tell an extent's voxels from the closest potential there is; clicked ones are as told."""
        inner = None if self._closer is None else extent.clipped(self._closer.extent)
        if self._closer is not None and inner == extent:
            mask = self._closer.mask(extent)
        else:
            mask = self._whole.mask(extent)
            if self._closer is not None and inner is not None and inner.size:
                mask[inner.within(extent)] = self._closer.mask(inner)
        for voxels, label in self._told:
            within = ((voxels >= extent.start_kji) & (voxels < extent.stop_kji)).all(axis=1)
            mask[tuple((voxels[within] - extent.start_kji).T)] = label
        return mask

    @property
    def potential(self) -> Potential:
        """The closest potential of the segment."""
        return self._closer or self._whole

    @property
    def _whole(self) -> Potential:
        assert self._coarse is not None  # noqa: S101 - a volume has graphs, and they come first
        return self._coarse

    def _solved(self, graph: Graph, extent: Extent) -> Generator[None, None, Potential]:
        """Solve a graph; the coarser potential is where to start, and holds a box's faces."""
        volume, coarse = self._inference.volume, self._coarse
        intensity = volume.intensity_window(graph.values.cpu().numpy())
        logits = self._inference.logits_on(self._head, graph.lattice, intensity)
        if self._lift is None:
            clicked = self._inference.logits_at(self._head, self._wish.positive)
            self._lift = lift_of(self._wish, logits, clicked)
        start = None if coarse is None else _on(coarse, graph.lattice)
        faces = start if extent != self._inference.whole else None
        yield
        logits = logits + self._lift
        if self._so_far is not None:
            logits = logits + so_far_logits(self._so_far, graph, self._geometry)
        asked = potentials_for(self._wish, graph, logits, self._geometry, faces)
        values = yield from solve(graph, asked, start)
        return Potential(volume, graph, extent, np.asarray(values.cpu().numpy()))

    def _segment(self) -> Mask:
        """Nodes of the coarse graph that the answer may keep, and those of all clicks."""
        inside = self._whole.values > 0.5
        wish, graph = self._wish, self._whole.graph
        places = node_coordinates((*wish.positive, *wish.negative), graph, self._geometry)
        clicked = np.clip(np.rint(places).astype(np.int64), 0, np.array(inside.shape) - 1)
        if wish.local and wish.base is None:
            inside = touched_components(inside, clicked[: len(wish.positive)])
        inside[tuple(clicked.T)] = True
        return inside


def _around(inside: Mask, lattice: Lattice, whole: Extent) -> Extent:
    """The voxels of the box around some nodes, and a margin."""
    box = bounding_box(inside)
    if box is None:
        return whole
    start, stop = [], []
    for axis, part in enumerate(box):
        first, step = lattice.start_ijk[2 - axis], lattice.step_ijk[2 - axis]
        start.append(int(np.floor(first + (part.start - _MARGIN - 0.5) * step)))
        stop.append(int(np.ceil(first + (part.stop + _MARGIN - 0.5) * step)) + 1)
    return Extent.of(np.maximum(start, 0).tolist(), stop).clipped(whole)


def _on(potential: Potential, lattice: Lattice) -> torch.Tensor:
    """Interpolate a potential on another lattice."""
    device = potential.graph.contrast.device
    values = torch.from_numpy(potential.values).to(device)
    own = potential.graph.lattice
    for axis in range(3):
        index = lattice.axis(2 - axis, device)
        nodes = (index - own.start_ijk[2 - axis]) / own.step_ijk[2 - axis]
        values = interpolate_axis(values, axis, nodes)
    return values
