"""Oblique slices of a volume as a backbone's input images and feature maps, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from VoxelFeatLib.devices.memory import free_memory, release_memory
from VoxelFeatLib.devices.transfer import sent
from VoxelFeatLib.errors import is_out_of_memory

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.encodings import Encoding
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.imaging.views import Frame, View
    from VoxelFeatLib.imaging.volume import Volume


class SliceRenderer:
    """Renders views of one volume as square input images.

    Args:
        volume: The volume, kept once on the device as float32.
        encoding: Which planes and windows make the channels.
        input_size: Side of the square image, pixels.
        device: Where to render.
    """

    def __init__(
        self,
        volume: Volume,
        encoding: Encoding,
        input_size: int,
        device: torch.device,
    ) -> None:
        self.geometry = volume.geometry
        self.encoding = encoding
        self.input_size = input_size
        self.device = device
        # (1, 1, K, J, I): grid_sample's layout.
        self._voxels = torch.from_numpy(volume.voxels.astype(np.float32))[None, None].to(device)
        # With one voxel along an axis every coordinate maps to it.
        last = np.maximum(np.array(volume.geometry.shape_kji[::-1]) - 1, 1)
        self._last = torch.tensor(last, dtype=torch.float32, device=device)
        windows = encoding.windows
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
        grid = 2 * index / self._last - 1
        values = functional.grid_sample(
            self._voxels, grid[None, None], padding_mode="border", align_corners=True
        )
        return values[0, 0, 0]

    @torch.no_grad()
    def image(self, view: View) -> torch.Tensor:
        """Pad, zoom, crop and resize a view for the backbone: (channels, S, S) in [0, 1]."""
        frame, encoding = view.frame, self.encoding
        normal = np.cross(frame.e_u, frame.e_v) * encoding.step
        planes = [
            self._square(replace(view, frame=replace(frame, centre=frame.centre + n * normal)))
            for n in encoding.offsets
        ]
        windowed = (torch.stack(planes)[:, None] - self._low) / self._width
        return encoding(windowed.clamp(0, 1)[None])[0]

    def _square(self, view: View) -> torch.Tensor:
        """A view's values after its augmentation, at the input's size: (S, S)."""
        augmentation, shape = view.augmentation, view.frame.shape
        values = self.base_slice(view.frame)[None, None]
        if augmentation.pad:
            values = functional.pad(values, [augmentation.pad] * 4, mode="reflect")
        if values.shape[2:] != augmentation.zoomed:
            values = functional.interpolate(values, augmentation.zoomed, mode="bilinear")
        top, left = augmentation.offset
        values = values[:, :, top : top + shape[0], left : left + shape[1]]
        side = (self.input_size, self.input_size)
        return functional.interpolate(values, side, mode="bilinear", antialias=True)[0, 0]

    def _index_affine(self, frame: Frame) -> torch.Tensor:
        """Voxel index of pixel (0, 0) and its steps along rows and columns, (3, 3), i j k last."""
        corners = self.geometry.to_ijk(frame.points(np.array([0, 1, 0]), np.array([0, 0, 1])))
        affine = np.stack([corners[0], corners[1] - corners[0], corners[2] - corners[0]])
        return sent(torch.tensor(affine, dtype=torch.float32), self.device)


class SliceEncoder:
    """Feature maps of views, as many at once as half of the device's free memory allows.

    Args:
        volume: What is viewed; it is brought to the backbone's device.
        backbone: Encodes the views.

    Attributes:
        renderer: Renders the views' images.
    """

    def __init__(self, volume: Volume, backbone: Backbone) -> None:
        self.renderer = SliceRenderer(
            volume, backbone.encoding, backbone.input_size, backbone.device
        )
        self.backbone = backbone
        self._most = max(1, free_memory(backbone.device) // (2 * backbone.work_bytes()))

    @torch.no_grad()
    def maps(self, views: Sequence[View]) -> list[torch.Tensor]:
        """Return maps (len(views), C, G, G), one a level.

        When memory runs out, half as many views are encoded at once, from then on.

        Raises:
            RuntimeError: A single view does not fit.
        """
        most = min(self._most, len(views))
        try:
            parts = [self._encoded(views[n : n + most]) for n in range(0, len(views), most)]
        except RuntimeError as error:
            if most == 1 or not is_out_of_memory(error):
                raise
            self._most = most // 2
        else:
            return [torch.cat(maps) for maps in zip(*parts, strict=True)]
        # Outside the handler, so that the failed attempt's tensors are let go of first.
        release_memory()
        return self.maps(views)

    def _encoded(self, views: Sequence[View]) -> list[torch.Tensor]:
        return self.backbone(torch.stack([self.renderer.image(view) for view in views]))
