"""Oblique slices of a volume as a backbone's input images, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.views import Frame, View
    from VoxelFeatLib.imaging.volume import Volume
    from VoxelFeatLib.imaging.windows import Window


class SliceRenderer:
    """Renders views of one volume as windowed square images.

    Args:
        volume: The volume, kept once on the device as float32.
        windows: One output channel each.
        input_size: Side of the square image, pixels.
        device: Where to render.
    """

    def __init__(
        self,
        volume: Volume,
        windows: tuple[Window, ...],
        input_size: int,
        device: torch.device,
    ) -> None:
        self.geometry = volume.geometry
        self.input_size = input_size
        self.device = device
        # (1, 1, K, J, I): grid_sample's layout.
        self._voxels = torch.from_numpy(volume.voxels.astype(np.float32))[None, None].to(device)
        self._low = torch.tensor([w.low for w in windows], device=device).view(-1, 1, 1)
        self._width = torch.tensor([w.width for w in windows], device=device).view(-1, 1, 1)

    @torch.no_grad()
    def base_slice(self, frame: Frame) -> torch.Tensor:
        """Return the values on a frame's pixels, (H0, W0); outside the volume the edge's."""
        height, width = frame.shape
        corner, row, column = self._index_affine(frame)
        v = torch.arange(height, device=self.device, dtype=torch.float32)
        u = torch.arange(width, device=self.device, dtype=torch.float32)
        index = corner + v[:, None, None] * row + u[None, :, None] * column
        sizes = index.new_tensor(self.geometry.shape_kji[::-1])
        # With one voxel along an axis every coordinate maps to it.
        grid = 2 * index / (sizes - 1).clamp(min=1) - 1
        values = functional.grid_sample(
            self._voxels, grid[None, None], padding_mode="border", align_corners=True
        )
        return values[0, 0, 0]

    @torch.no_grad()
    def image(self, view: View) -> torch.Tensor:
        """Pad, zoom, crop and resize a view for the backbone: (windows, S, S) in [0, 1]."""
        augmentation, shape = view.augmentation, view.frame.shape
        values = self.base_slice(view.frame)[None, None]
        if augmentation.pad:
            values = functional.pad(values, [augmentation.pad] * 4, mode="reflect")
        if values.shape[2:] != augmentation.zoomed:
            values = functional.interpolate(values, augmentation.zoomed, mode="bilinear")
        top, left = augmentation.offset
        values = values[:, :, top : top + shape[0], left : left + shape[1]]
        side = (self.input_size, self.input_size)
        values = functional.interpolate(values, side, mode="bilinear", antialias=True)
        return ((values[0] - self._low) / self._width).clamp(0, 1)

    def _index_affine(self, frame: Frame) -> torch.Tensor:
        """Voxel index of pixel (0, 0) and its steps along rows and columns, (3, 3), i j k last."""
        corners = self.geometry.to_ijk(frame.points(np.array([0, 1, 0]), np.array([0, 0, 1])))
        affine = np.stack([corners[0], corners[1] - corners[0], corners[2] - corners[0]])
        return torch.tensor(affine, dtype=torch.float32, device=self.device)
