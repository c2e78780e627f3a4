"""A volume as a graph: nodes on a lattice, neighbours joined as strongly as they look alike.

Sources: Grady, Random walks for image segmentation, IEEE TPAMI 28, 2006, for the weights; Pizer et
al., Adaptive histogram equalization and its variations, CVGIP 39, 1987, for contrast outside CT.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.windows import CT_WINDOWS, subsample

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.volume import Volume
    from VoxelFeatLib.segmenting.extent import Extent

Array = npt.NDArray[np.float32]

# w = exp(-SHARPNESS * difference^2): 1/e at 23 HU of soft tissue.
SHARPNESS = 300.0
# Even the strongest edge lets a little through, so that the equations stay well conditioned.
_LEAST_WEIGHT = 1e-4
# Voxels pooled between two pauses.
_VOXELS_AT_ONCE = 1 << 24
# Outside the soft-tissue window HU count a quarter: lung, bone and air differ by hundreds.
_OUTER_SLOPE = 0.25
# In other modalities so much of the contrast goes where values are frequent, the rest evenly; a
# value that is more frequent than this, of the mean, gets no more, or noise would count.
_SHARE_OF_FREQUENT = 0.5
_MOST_FREQUENT = 5.0
_BINS = 100


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes of a lattice, their values and the weights of the edges between neighbours.

    Attributes:
        lattice: Where the nodes are, in the volume's index space.
        values: (nk, nj, ni) mean voxel value of each node's cell, float32, on the device.
        contrast: Likewise, in units in which differences count (`contrast`).
        spacing_kji: Distances of nodes, mm.
    """

    lattice: Lattice
    values: torch.Tensor
    contrast: torch.Tensor
    spacing_kji: tuple[float, float, float]

    @cached_property
    def seen(self) -> Array:
        """The contrast as an array in this process' own memory."""
        return np.asarray(self.contrast.cpu().numpy())

    @cached_property
    def weights(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights of the edges along k, j and i; one less than nodes along that axis.

        Longer edges count less, by the square of their length: the graph's Laplacian is that of
        the space between the nodes.
        """
        shortest = min(self.spacing_kji)
        k, j, i = (
            (torch.exp(-SHARPNESS * torch.diff(self.contrast, dim=axis).square()) + _LEAST_WEIGHT)
            * (shortest / length) ** 2
            for axis, length in enumerate(self.spacing_kji)
        )
        return k, j, i

    @cached_property
    def degree(self) -> torch.Tensor:
        """(nk, nj, ni) sum of the weights of each node's edges."""
        total = torch.zeros_like(self.contrast)
        for axis, weights in enumerate(self.weights):
            lower(total, axis).add_(weights)
            upper(total, axis).add_(weights)
        return total


def lower(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Return a view of the values at the lower ends of the edges along an axis."""
    return values.narrow(axis, 0, values.shape[axis] - 1)


def upper(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Return a view of the values at the upper ends of the edges along an axis."""
    return values.narrow(axis, 1, values.shape[axis] - 1)


def graph_of(
    volume: Volume, extent: Extent, most: int, device: torch.device
) -> Generator[None, None, Graph]:
    """Make the graph of a box of a volume, of at most `most` nodes, none smaller than a voxel.

    Pauses between parts of a large volume.
    """
    lattice, spacing_kji = nodes_of(volume, extent, most)
    values = yield from _pooled(volume.voxels[extent.slices], lattice.shape_kji)
    return Graph(
        lattice,
        torch.from_numpy(values).to(device),
        torch.from_numpy(contrast(volume, values)).to(device),
        spacing_kji,
    )


def nodes_of(
    volume: Volume, extent: Extent, most: int
) -> tuple[Lattice, tuple[float, float, float]]:
    """Return where the nodes of such a graph are, and their distances along k, j, i in mm."""
    spacing = volume.geometry.spacing[::-1]
    lattice = Lattice.covering(extent.start_kji, extent.stop_kji, spacing, most)
    k, j, i = (float(s * d) for s, d in zip(lattice.step_ijk[::-1], spacing, strict=True))
    return lattice, (k, j, i)


def contrast(volume: Volume, values: npt.ArrayLike) -> Array:
    """Bring voxel values to a scale on which differences mean much the same everywhere.

    CT: the soft-tissue window becomes 0 to 1; what lies beyond goes on less steeply. Others: what
    lies between the 0.5 and 99.5 percentiles becomes 0 to 1, half-way to an equalised histogram:
    where most tissues share a small part of the range, it is there that differences tell.
    """
    if volume.modality != "CT":
        knots = _equalised(ref(volume))
        places = np.linspace(0, 1, len(knots))
        scaled = volume.intensity_window(values)
        return np.interp(scaled, places, knots).astype(np.float32)
    window = CT_WINDOWS["soft"]
    scaled = (np.asarray(values, dtype=np.float32) - window.low) / window.width
    inner = np.clip(scaled, 0, 1)
    return np.asarray(inner + _OUTER_SLOPE * (scaled - inner), dtype=np.float32)


@lru_cache(maxsize=4)
def _equalised(of: ref[Volume]) -> Array:
    """Contrast at evenly spaced values of a volume's range; a volume is looked at once."""
    volume = of()
    assert volume is not None  # noqa: S101 - who asks holds it
    values = volume.intensity_window(subsample(volume.voxels))
    counts, _ = np.histogram(values[(values > 0) & (values < 1)], _BINS, (0, 1))
    frequent = np.minimum(counts / max(float(counts.mean()), 1.0), _MOST_FREQUENT)
    slope = 1 - _SHARE_OF_FREQUENT + _SHARE_OF_FREQUENT * frequent
    knots = np.concatenate([[0.0], np.cumsum(slope)])
    return np.asarray(knots / knots[-1], dtype=np.float32)


def _pooled(
    voxels: npt.NDArray[np.generic], shape_kji: tuple[int, int, int]
) -> Generator[None, None, Array]:
    """Mean voxel of each cell; cells that share voxels where their number does not divide."""
    if voxels.shape == shape_kji:
        return voxels.astype(np.float32)
    size, count = voxels.shape[0], shape_kji[0]
    result = np.empty(shape_kji, dtype=np.float32)
    looked_at = 0
    for k in range(count):
        # Slab by slab, so that no second copy of a large volume is made.
        slab = voxels[k * size // count : -(-(k + 1) * size // count)]
        plane = torch.from_numpy(slab.mean(0, dtype=np.float32))
        result[k] = functional.adaptive_avg_pool2d(plane[None], shape_kji[1:])[0].numpy()
        looked_at += slab.size
        if looked_at >= _VOXELS_AT_ONCE:
            looked_at = 0
            yield
    return result
