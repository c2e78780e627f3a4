"""The pool of encoded views that a fit trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from VoxelFeatLib.devices.transfer import sent

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.slicing import SliceEncoder
    from VoxelFeatLib.fitting.channels import ChannelScaling
    from VoxelFeatLib.imaging.views import View


@dataclass(frozen=True, eq=False)
class EncodedView:
    """One view's targets and its map to space.

    Attributes:
        affine: (3, 3) RAS mm: position at input coordinates (0, 0), steps per unit s and t.
        pixel_steps: (2, 3) RAS mm: one native pixel along rows and along columns.
        targets: Standardised features, one (G, G, C) float16 a level.
        valid: Cells that count, one (G, G) bool a level, on the CPU: what is drawn depends on it.
    """

    affine: torch.Tensor
    pixel_steps: torch.Tensor
    targets: list[torch.Tensor]
    valid: list[torch.Tensor]


class ViewEncoder:
    """Encodes views and standardises the result: targets of the fit."""

    def __init__(
        self, encoder: SliceEncoder, scaling: ChannelScaling, samples: tuple[int, ...]
    ) -> None:
        self.encoder = encoder
        self.scaling = scaling
        self.samples = samples

    @torch.no_grad()
    def encode(self, views: Sequence[View]) -> list[EncodedView]:
        """Make everything that training needs of some views, on the renderer's device."""
        targets = [
            self.scaling.standardise(maps.movedim(1, -1), level).half()
            for level, maps in enumerate(self.encoder.maps(views))
        ]
        return [
            self._encoded(view, [maps[number] for maps in targets])
            for number, view in enumerate(views)
        ]

    def _encoded(self, view: View, targets: list[torch.Tensor]) -> EncodedView:
        renderer = self.encoder.renderer
        device = renderer.device
        valid = [
            torch.from_numpy(view.valid_cells(target.shape[0], samples, renderer.geometry))
            for target, samples in zip(targets, self.samples, strict=True)
        ]
        frame = view.frame
        steps = np.stack([frame.pitch * frame.e_v, frame.pitch * frame.e_u])
        return EncodedView(_tensor(view.affine(), device), _tensor(steps, device), targets, valid)


class ViewPool:
    """A bounded pool of encoded views, stacked; the oldest leave first.

    View number n always stands in place n modulo capacity, so that a pool that was filled again
    after a resume equals the one that was lost.

    Attributes:
        affine: (capacity, 3, 3) as `EncodedView.affine`.
        pixel_steps: (capacity, 2, 3) likewise.
        targets: (capacity, G, G, D) a level: what the learner keeps of features.
        valid: (capacity, G, G) bool a level, on the CPU.
        count: Places in use.
    """

    affine: torch.Tensor
    pixel_steps: torch.Tensor
    targets: list[torch.Tensor]
    valid: list[torch.Tensor]

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.count = 0

    def add(self, number: int, view: EncodedView) -> None:
        """Add view `number`, replacing the oldest one when the pool is full."""
        if self.count == 0:
            self._allocate(view)
        place = number % self.capacity
        self.affine[place] = view.affine
        self.pixel_steps[place] = view.pixel_steps
        for level, (targets, valid) in enumerate(zip(view.targets, view.valid, strict=True)):
            self.targets[level][place] = targets
            self.valid[level][place] = valid
        self.count = min(self.count + 1, self.capacity)

    def _allocate(self, view: EncodedView) -> None:
        def stack(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.new_empty(self.capacity, *tensor.shape)

        self.affine, self.pixel_steps = stack(view.affine), stack(view.pixel_steps)
        self.targets = [stack(t) for t in view.targets]
        self.valid = [stack(v) for v in view.valid]


def _tensor(values: np.ndarray, device: torch.device) -> torch.Tensor:
    return sent(torch.tensor(values, dtype=torch.float32), device)
