"""The pool of encoded views that a fit trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.backbones.slicing import SliceRenderer
    from VoxelFeatLib.fitting.channels import ChannelScaling
    from VoxelFeatLib.imaging.views import View


@dataclass(frozen=True, eq=False)
class EncodedView:
    """One view's targets and its map to space.

    Attributes:
        affine: (3, 3) RAS mm: position at input coordinates (0, 0), step per unit s, step per unit t.
        pixel_steps: (2, 3) RAS mm: one native pixel along rows and along columns.
        targets: standardised features, one (G, G, C) float16 a level.
        valid: cells that count, one (G, G) bool a level.
    """

    affine: torch.Tensor
    pixel_steps: torch.Tensor
    targets: list[torch.Tensor]
    valid: list[torch.Tensor]


class ViewEncoder:
    """Renders views, runs the backbone on them and standardises the result."""

    def __init__(
        self,
        renderer: SliceRenderer,
        backbone: Backbone,
        scaling: ChannelScaling,
        samples: tuple[int, ...],
    ) -> None:
        self.renderer = renderer
        self.backbone = backbone
        self.scaling = scaling
        self.samples = samples

    @torch.no_grad()
    def encode(self, view: View) -> EncodedView:
        """Everything training needs of one view, on the renderer's device."""
        device = self.renderer.device
        maps = self.backbone(self.renderer.image(view)[None])
        targets = [
            self.scaling.standardise(m[0].movedim(0, -1), level).half()
            for level, m in enumerate(maps)
        ]
        valid = [
            torch.from_numpy(
                view.valid_cells(target.shape[0], samples, self.renderer.geometry)
            ).to(device)
            for target, samples in zip(targets, self.samples, strict=True)
        ]
        frame = view.frame
        steps = np.stack([frame.pitch * frame.e_v, frame.pitch * frame.e_u])
        return EncodedView(_tensor(view.affine(), device), _tensor(steps, device), targets, valid)


class ViewPool:
    """A bounded pool of encoded views; the oldest leave first.

    View number n always stands in place n modulo capacity, so that a pool that was filled again after a
    resume equals the one that was lost.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._places: dict[int, EncodedView] = {}

    @property
    def views(self) -> list[EncodedView]:
        """The views, in the order of their places."""
        return [self._places[place] for place in sorted(self._places)]

    def add(self, number: int, view: EncodedView) -> None:
        """Add view `number`, replacing the oldest one when the pool is full."""
        self._places[number % self.capacity] = view


def _tensor(values: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)
