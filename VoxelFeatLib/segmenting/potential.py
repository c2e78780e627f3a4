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
        places = [self._places(axis, extent) for axis in range(3)]
        lower = [place[0] for place in places]
        sides = self._sides[np.ix_(*lower)]
        mask = sides > 0
        mixed = np.argwhere(sides == 0)
        if len(mixed):
            mask[tuple(mixed.T)] = self._between(mixed, extent, places) > 0.5
        return mask

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

    @cached_property
    def _contrast(self) -> Array:
        return np.asarray(self.graph.contrast.cpu().numpy())

    def _places(self, axis: int, extent: Extent) -> tuple[Index, Index, Array]:
        """Lower and upper node of each voxel along an axis, and the upper one's share."""
        lattice = self.graph.lattice
        voxels = np.arange(extent.start_kji[axis], extent.stop_kji[axis])
        nodes = (voxels - lattice.start_ijk[2 - axis]) / lattice.step_ijk[2 - axis]
        last = lattice.shape_kji[axis] - 1
        nodes = np.clip(nodes, 0, last)
        lower = np.minimum(np.floor(nodes).astype(np.int64), max(last - 1, 0))
        return lower, np.minimum(lower + 1, last), (nodes - lower).astype(np.float32)

    def _between(
        self, voxels: Index, extent: Extent, places: list[tuple[Index, Index, Array]]
    ) -> Array:
        """The potential of some voxels (n, 3), counted from the extent's start: (n,)."""
        own = contrast(self.volume, self.volume.voxels[extent.slices][tuple(voxels.T)])
        total = np.zeros(len(voxels), dtype=np.float32)
        share = np.zeros(len(voxels), dtype=np.float32)
        for corner in product((0, 1), repeat=3):
            nodes, weight = [], np.ones(len(voxels), dtype=np.float32)
            for side, place, along in zip(corner, places, voxels.T, strict=True):
                nodes.append(place[side][along])
                weight *= place[2][along] if side else 1 - place[2][along]
            node = tuple(nodes)
            alike = np.exp(-SHARPNESS * (self._contrast[node] - own) ** 2) + _LEAST_LIKENESS
            weight *= alike
            total += weight * self.values[node]
            share += weight
        return np.asarray(total / share)
