"""From the potentials of a graph's nodes to masks of voxels.

Between nodes the potential is interpolated; among the eight around a voxel those count most that
look like it, so that the border follows edges finer than the nodes. Source: Kopf et al., Joint
bilateral upsampling, SIGGRAPH 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.graph import SHARPNESS, Graph, contrast

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.volume import Volume

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

# Nodes that look nothing like the voxel still count this much, should all be like that.
_LEAST_LIKENESS = 1e-3


@dataclass(frozen=True, eq=False)
class Potential:
    """The potential of a box of the volume, at the nodes of a graph.

    Attributes:
        volume: The volume.
        graph: The nodes.
        extent: The box.
        values: (nk, nj, ni); above 1/2 is inside.
    """

    volume: Volume
    graph: Graph
    extent: Extent
    values: Array

    def mask(self, extent: Extent) -> Mask:
        """Tell the voxels of an extent, which lies in the box: (K, J, I)."""
        mask = np.zeros(extent.shape, dtype=bool)
        box = self._box
        if box is None:
            return mask
        places = [self._places(axis, extent).within(cells) for axis, cells in enumerate(box)]
        k, j, i = (place.lower for place in places)
        sides = self._sides.take(k, 0).take(j, 1).take(i, 2)
        inside = sides > 0
        mixed = np.unravel_index(np.flatnonzero(sides == 0), sides.shape)
        if len(mixed[0]):
            inside[mixed] = self._between(places, mixed) > 0.5
        part = Extent.of(*zip(*((p.first, p.first + len(p.lower)) for p in places), strict=True))
        mask[part.within(extent)] = inside
        return mask

    @cached_property
    def _box(self) -> tuple[slice, slice, slice] | None:
        """Cells between nodes that are not all outside."""
        return bounding_box(self._sides >= 0)

    @cached_property
    def _sides(self) -> npt.NDArray[np.int8]:
        """Of each cell between nodes: 1 all inside, -1 all outside, 0 mixed."""
        inside = self.values > 0.5
        every, some = inside, inside
        for axis in range(3):
            if inside.shape[axis] > 1:
                first = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
                second = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
                every = every[first] & every[second]
                some = some[first] | some[second]
        return every.astype(np.int8) + some - 1

    def _places(self, axis: int, extent: Extent) -> _Places:
        lattice = self.graph.lattice
        voxels = np.arange(extent.start_kji[axis], extent.stop_kji[axis])
        nodes = (voxels - lattice.start_ijk[2 - axis]) / lattice.step_ijk[2 - axis]
        last = lattice.shape_kji[axis] - 1
        nodes = np.clip(nodes, 0, last)
        lower = np.minimum(np.floor(nodes).astype(np.int64), max(last - 1, 0))
        share = (nodes - lower).astype(np.float32)
        return _Places(extent.start_kji[axis], lower, np.minimum(lower + 1, last), share)

    def _between(self, places: list[_Places], voxels: tuple[Index, ...]) -> Array:
        """The potential of some voxels, given as indices into their places: (n,)."""
        numbers = tuple(v + place.first for v, place in zip(voxels, places, strict=True))
        own = contrast(self.volume, self.volume.voxels[numbers])
        contrasts, values = self.graph.seen.ravel(), self.values.ravel()
        total = np.zeros(len(own), dtype=np.float32)
        share = np.zeros(len(own), dtype=np.float32)
        for corner in product((False, True), repeat=3):
            node, weight = np.zeros(len(own), dtype=np.int64), np.ones_like(own)
            for upper, place, along, count in zip(
                corner, places, voxels, self.values.shape, strict=True
            ):
                node = node * count + (place.upper if upper else place.lower)[along]
                weight *= (place.share if upper else 1 - place.share)[along]
            difference = contrasts[node] - own
            weight *= np.exp(-SHARPNESS * difference * difference) + np.float32(_LEAST_LIKENESS)
            total += weight * values[node]
            share += weight
        return np.asarray(total / share)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where a row of voxels lies between the nodes along an axis.

    Attributes:
        first: Number of the first voxel.
        lower: (n,) nodes at or before the voxels.
        upper: (n,) the next ones; the same where there is one only.
        share: (n,) of the upper one, 0 to 1.
    """

    first: int
    lower: Index
    upper: Index
    share: Array

    def within(self, cells: slice) -> _Places:
        """Return the voxels whose lower nodes lie in a range; they lie together."""
        start, stop = np.searchsorted(self.lower, (cells.start, cells.stop)).tolist()
        kept = slice(start, stop)
        return _Places(self.first + start, self.lower[kept], self.upper[kept], self.share[kept])
