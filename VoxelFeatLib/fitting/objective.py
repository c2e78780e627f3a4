"""Eq. 1 of the method: agreement, magnitude, total variation and blur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from VoxelFeatLib.fitting.views import EncodedView

# Side of the patch, in native pixels, on which total variation and blur act.
_PATCH = 24
# FeatUp's low-pass: a 5 x 5 Gaussian of sigma 1.
_LOW_PASS_RADIUS, _LOW_PASS_SIGMA = 2, 1.0


@dataclass(frozen=True)
class ObjectiveWeights:
    """Factors of Eq. 1's terms beside the agreement."""

    magnitude: float = 0.001
    variation: float = 0.001
    blur: float = 0.1


@dataclass(frozen=True, eq=False)
class CellBatch:
    """Cells of one level with their targets.

    Attributes:
        positions: (n, K * K, 3) RAS mm, jittered sub-samples of every cell.
        targets: (n, C) standardised features.
    """

    positions: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Window:
    """A square of cells of one view, the same region on every level, in cells of the coarsest level."""

    row: int
    column: int
    side: int


def gather_cells(
    view: EncodedView,
    level: int,
    window: Window,
    samples: int,
    generator: torch.Generator,
) -> CellBatch:
    """The valid cells of a window on one level, with K x K stratified random positions each."""
    target, valid = view.targets[level], view.valid[level]
    cells = target.shape[0]
    scale = cells // view.targets[-1].shape[0]
    rows = slice(window.row * scale, (window.row + window.side) * scale)
    columns = slice(window.column * scale, (window.column + window.side) * scale)
    inside = valid[rows, columns].nonzero()
    device = target.device
    strata = torch.arange(samples, device=device)
    grid = torch.cartesian_prod(strata, strata).view(-1, 2)
    jitter = torch.rand(len(inside), samples**2, 2, generator=generator).to(device)
    corner = torch.tensor([rows.start, columns.start], device=device)
    st = ((inside + corner)[:, None] + (grid + jitter) / samples) / cells
    positions = view.affine[0] + st[..., :1] * view.affine[1] + st[..., 1:] * view.affine[2]
    return CellBatch(positions, target[rows, columns][inside[:, 0], inside[:, 1]].float())


def merge(batches: list[CellBatch]) -> CellBatch:
    """Several batches of one level as one."""
    return CellBatch(
        torch.cat([b.positions for b in batches]), torch.cat([b.targets for b in batches])
    )


def agreement(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Mean over cells of sum over channels of (F - f)^2 / (w + eps)."""
    return ((prediction - target).square() * weight).sum(1).mean()


def magnitude(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over cells of (|F| - |f|)^2, norms over channels."""
    # The norm's gradient is not defined at zero.
    norm = (prediction.square().sum(1) + 1e-12).sqrt()
    return (norm - target.norm(dim=1)).square().mean()


def gather_patch(view: EncodedView, generator: torch.Generator) -> torch.Tensor:
    """Positions of a random patch of the view's plane at native pitch, (P, P, 3) RAS mm."""
    st = torch.rand(2, generator=generator).to(view.affine)
    corner = view.affine[0] + st[0] * view.affine[1] + st[1] * view.affine[2]
    steps = torch.arange(_PATCH, device=corner.device, dtype=corner.dtype) - (_PATCH - 1) / 2
    down = steps[:, None, None] * view.pixel_steps[0]
    return corner + down + steps[:, None] * view.pixel_steps[1]


def variation(patches: torch.Tensor) -> torch.Tensor:
    """Mean over points of the L1 norm of the in-plane differences; patches (N, P, P, C)."""
    down = (patches[:, 1:] - patches[:, :-1]).abs().sum(-1).mean()
    return down + (patches[:, :, 1:] - patches[:, :, :-1]).abs().sum(-1).mean()


def blur(patches: torch.Tensor) -> torch.Tensor:
    """Mean over inner points of |LowPass(F) - F|^2; patches (N, P, P, C)."""
    radius = _LOW_PASS_RADIUS
    offsets = torch.arange(-radius, radius + 1, dtype=patches.dtype, device=patches.device)
    kernel = torch.exp(-0.5 * (offsets / _LOW_PASS_SIGMA).square())
    kernel = kernel / kernel.sum()
    size = patches.shape[1] - 2 * radius
    rows = torch.stack([w * patches[:, n : n + size] for n, w in enumerate(kernel)]).sum(0)
    smooth = torch.stack([w * rows[:, :, n : n + size] for n, w in enumerate(kernel)]).sum(0)
    inner = patches[:, radius:-radius, radius:-radius]
    return (smooth - inner).square().sum(-1).mean()
