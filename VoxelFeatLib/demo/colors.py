"""Features of slices as colours: the backbone's own cells, and the field at the same place.

Both go through one projection, fitted to the backbone's features alone, so that equal colours mean
equal features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.demo.figures import LevelColors
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.views import View, axis_view
from VoxelFeatLib.segmenting.projection import ColorProjection, pca_colors

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.volume import Volume

Colors = npt.NDArray[np.float32]
Maps = npt.NDArray[np.floating]

_AXIAL = 2
# Slices whose features give the principal components.
_SLICES = 8
# Cells darker than this (-800 HU in CT) show air around the body, which would take most colours.
_AIR = 0.1


class FeatureColors:
    """Colours of the features of one volume.

    Args:
        volume: The volume.
        backbone: Gives the raw features, of axial slices.
        field: The volume's field.
    """

    def __init__(self, volume: Volume, backbone: Backbone, field: FeatureField) -> None:
        self._volume = volume
        self._field = field
        self._encoder = SliceEncoder(volume, backbone)
        self._projections = self._fit()

    def axial(self, k: int) -> list[LevelColors]:
        """Colour an axial slice: rows to the back, columns to the patient's left."""
        _, j, i = self._volume.geometry.shape_kji
        field = self._of_field((k, 0, 0), (k + 1, j, i))
        return [
            LevelColors(_title(level.stride), projection.apply(maps), colors[0])
            for level, projection, maps, colors in zip(
                self._field.levels, self._projections, self._maps(k), field, strict=True
            )
        ]

    def coronal(self, j: int) -> list[LevelColors]:
        """Colour a coronal slice, the head up; a row of the backbone's cells is one axial slice."""
        slices, rows, columns = self._volume.geometry.shape_kji
        field = self._of_field((0, j, 0), (slices, j + 1, columns))
        stacks: list[list[Colors]] = [[] for _ in self._projections]
        for k in reversed(range(slices)):
            for stack, projection, maps in zip(
                stacks, self._projections, self._maps(k), strict=True
            ):
                row = int((j + 0.5) / rows * maps.shape[0])
                stack.append(projection.apply(maps[row]))
        return [
            LevelColors(_title(level.stride), np.stack(stack), colors[::-1, 0])
            for level, stack, colors in zip(self._field.levels, stacks, field, strict=True)
        ]

    def _fit(self) -> list[ColorProjection]:
        count = self._volume.geometry.shape_kji[0]
        chosen = np.unique(np.linspace(0, count - 1, min(count, _SLICES) + 2)[1:-1].astype(int))
        samples: list[list[Maps]] = [[] for _ in self._field.levels]
        for k in chosen:
            for level, maps in enumerate(self._maps(int(k))):
                positions = self._view(int(k)).cell_positions(maps.shape[0])[:, :, 0, 0]
                grey = self._volume.intensity_at(positions.reshape(-1, 3))
                samples[level].append(maps.reshape(-1, maps.shape[-1])[grey > _AIR])
        return [
            _standardised(np.concatenate(parts), mean, std)
            for parts, mean, std in zip(
                samples, self._split(self._field.mean), self._split(self._field.std), strict=True
            )
        ]

    def _view(self, k: int) -> View:
        return axis_view(self._volume.geometry, _AXIAL, float(k))

    def _maps(self, k: int) -> list[Maps]:
        """Raw (G, G, C) features of an axial slice, one a level."""
        levels = self._encoder.maps([self._view(k)])
        return [maps[0].movedim(0, -1).cpu().numpy() for maps in levels]

    def _of_field(
        self, start_kji: tuple[int, int, int], stop_kji: tuple[int, int, int]
    ) -> Iterator[Colors]:
        """Yield (nk, nj, ni, 3) of the field in each voxel of a box, a level at a time."""
        lattice = Lattice.of_voxels(start_kji, stop_kji)
        first = 0
        for projection in self._projections:
            channels = projection.weight.shape[1]
            weight = torch.zeros(3, self._field.channels)
            weight[:, first : first + channels] = torch.from_numpy(projection.weight)
            first += channels
            colors = self._field.project_on(lattice, weight, torch.from_numpy(projection.bias))
            yield colors.clamp(0, 1).movedim(0, -1).cpu().numpy()

    def _split(self, values: torch.Tensor) -> Sequence[Maps]:
        parts = values.cpu().split([level.channels for level in self._field.levels])
        return [part.double().numpy() for part in parts]


def _standardised(samples: Maps, mean: Maps, std: Maps) -> ColorProjection:
    """Fit colours to channels on one scale, as a projection of the raw features."""
    projection = pca_colors((samples - mean) / std)
    weight = projection.weight / std
    return ColorProjection(weight, projection.bias - weight @ mean)


def _title(stride: int) -> str:
    return f"stride {stride}"
