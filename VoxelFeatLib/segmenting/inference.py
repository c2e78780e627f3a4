"""What heads say of a volume: logits at positions and on lattices, and masks voxel by voxel."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.graph import Graph, graph_of

if TYPE_CHECKING:
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.volume import Volume
    from VoxelFeatLib.segmenting.probe import AffineHead, FeatureHead

Array = npt.NDArray[np.float32]

# Positions, and values (positions times channels), that are evaluated at once.
_POINTS_AT_ONCE = 1 << 18
_VALUES_AT_ONCE = 1 << 23


class VolumeInference:
    """Answers of heads in one volume. Make a new one when the field has changed.

    Args:
        field: The volume's feature field.
        volume: The volume; its voxels must not change.
        frugality: Pieces of work are so many times smaller, and graphs have as many times fewer
            nodes: less memory, and coarser answers.

    Raises:
        InputError: The field is of a volume at another place or of another shape.
    """

    def __init__(self, field: FeatureField, volume: Volume, *, frugality: int = 1) -> None:
        if not field.geometry.matches(volume.geometry):
            raise InputError("The field belongs to another volume; choose its own or fit anew.")
        self.field = field
        self.volume = volume
        self.frugality = frugality
        self.whole = Extent.whole(volume.geometry.shape_kji)
        self._graphs: dict[tuple[int, torch.device], Graph] = {}

    def renewed(self, field: FeatureField, *, frugality: int = 1) -> VolumeInference:
        """Return the same for a field that has changed; what depends on the volume alone stays."""
        other = VolumeInference(field, self.volume, frugality=frugality)
        other._graphs = self._graphs
        return other

    def graph(self, most: int) -> Generator[None, None, Graph]:
        """The whole volume as a graph of at most so many nodes; made once a device.

        Fewer where memory is short.
        """
        key = (most // self.frugality, self.field.device)
        if key not in self._graphs:
            self._graphs[key] = yield from graph_of(self.volume, self.whole, *key)
        return self._graphs[key]

    def logits_at(self, head: AffineHead, ras: npt.ArrayLike) -> Array:
        """Evaluate any positions, (N, 3) RAS mm: (N,) logits."""
        positions = np.asarray(ras, dtype=np.float64).reshape(-1, 3)
        result = np.empty(len(positions), dtype=np.float32)
        most = _POINTS_AT_ONCE // self.frugality
        for first in range(0, len(positions), most):
            part = slice(first, first + most)
            points = torch.as_tensor(positions[part], dtype=torch.float32, device=self.field.device)
            values = self.field.project(points, *_folded(head))[:, 0]
            intensity = self.volume.intensity_at(positions[part])
            result[part] = _numpy(values) + head.intensity_weight * intensity
            if head.spatial is not None:
                result[part] += head.spatial.at(positions[part])
        return result

    def logits_on(self, head: AffineHead, lattice: Lattice, intensity: Array) -> Array:
        """Evaluate a regular box of positions, (nk, nj, ni), given their intensities in [0, 1]."""
        values = _numpy(self.field.project_on(lattice, *_folded(head))[0])
        values = values + head.intensity_weight * intensity
        return values if head.spatial is None else values + head.spatial.on(lattice)

    def masks(self, head: FeatureHead, box: Extent) -> Iterator[tuple[Extent, Mask]]:
        """Evaluate every voxel of a box, piece by piece: where, and which are in the segment."""
        most = min(_POINTS_AT_ONCE, _VALUES_AT_ONCE // self.field.channels) // self.frugality
        for extent in box.clipped(self.whole).pieces(max(1, most)):
            lattice = Lattice.of_voxels(extent.start_kji, extent.stop_kji)
            features = self.field.features_on(lattice).flatten(end_dim=-2)
            intensity = self.volume.intensity_window(self.volume.voxels[extent.slices])
            logits = head.logits(features, torch.from_numpy(intensity.ravel()).to(features))
            yield extent, _numpy(logits).reshape(extent.shape) > 0


def _folded(head: AffineHead) -> tuple[torch.Tensor, torch.Tensor]:
    return head.weight[None], torch.tensor([head.bias], dtype=torch.float32)


def _numpy(values: torch.Tensor) -> Array:
    return np.asarray(values.float().cpu().numpy())
