"""Eq. 1 of the method: agreement, magnitude, total variation and blur."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.devices.transfer import sent

if TYPE_CHECKING:
    from VoxelFeatLib.fitting.views import ViewPool

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
        targets: (n, D) what the learner kept of their standardised features.
    """

    positions: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True, eq=False)
class CellWindows:
    """Squares of cells, each of one view of a pool, the same region on every level; on the CPU.

    Attributes:
        places: (W,) places in the pool.
        corners: (W, 2) first row and column, in cells of the coarsest level.
        side: In cells of the coarsest level.
    """

    places: torch.Tensor
    corners: torch.Tensor
    side: int


def draw_windows(pool: ViewPool, count: int, side: int, generator: torch.Generator) -> CellWindows:
    """Draw random windows, at most as large as a view."""
    cells = pool.targets[-1].shape[1]
    side = min(side, cells)
    places = torch.randint(pool.count, (count,), generator=generator)
    corners = torch.randint(cells - side + 1, (count, 2), generator=generator)
    return CellWindows(places, corners, side)


def gather_cells(
    pool: ViewPool, level: int, windows: CellWindows, samples: int, generator: torch.Generator
) -> CellBatch:
    """Take the windows' valid cells on one level, with K x K stratified random positions each.

    What is chosen is worked out on the CPU: every device takes the same cells, and a GPU is not
    waited for.
    """
    targets, valid = pool.targets[level], pool.valid[level]
    cells, device = targets.shape[1], targets.device
    scale = cells // pool.targets[-1].shape[1]
    along = torch.arange(windows.side * scale)
    rows = (windows.corners[:, :1] * scale + along)[:, :, None]
    columns = (windows.corners[:, 1:] * scale + along)[:, None, :]
    place = windows.places[:, None, None]
    place, rows, columns = torch.broadcast_tensors(place, rows, columns)
    inside = valid[place, rows, columns]
    place, rows, columns = place[inside], rows[inside], columns[inside]
    strata = torch.arange(samples)
    jitter = torch.rand(len(place), samples**2, 2, generator=generator)
    offsets = (torch.cartesian_prod(strata, strata).view(-1, 2) + jitter) / samples
    st = sent((torch.stack([rows, columns], dim=1)[:, None] + offsets) / cells, device)
    affine = pool.affine[sent(place, device)]
    positions = torch.baddbmm(affine[:, :1], st, affine[:, 1:])
    chosen = sent((place * cells + rows) * cells + columns, device)
    return CellBatch(positions, targets.flatten(end_dim=2)[chosen].float())


def as_numbers(terms: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return terms as numbers, with a single wait for the device."""
    values = torch.stack(list(terms.values())).tolist()
    return dict(zip(terms, values, strict=True))


def agreement(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean over cells of the sum over channels of (F - f)^2 / (w + eps)."""
    return ((prediction - target).square() * weight).sum(1).mean()


def magnitude(prediction: torch.Tensor, target_norms: torch.Tensor) -> torch.Tensor:
    """Return the mean over cells of (|F| - |f|)^2, norms over channels; |f| is (n,)."""
    # The norm's gradient is not defined at zero.
    norm = (prediction.square().sum(1) + 1e-12).sqrt()
    return (norm - target_norms).square().mean()


def gather_patches(
    pool: ViewPool, places: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Place a random patch in each view's plane, at native pitch: (N, P, P, 3) RAS mm."""
    places = sent(places, pool.affine.device)
    affine, pixel_steps = pool.affine[places], pool.pixel_steps[places]
    st = sent(torch.rand(len(places), 1, 2, generator=generator), affine.device)
    corner = torch.baddbmm(affine[:, :1], st, affine[:, 1:])
    steps = torch.arange(_PATCH, device=affine.device, dtype=affine.dtype) - (_PATCH - 1) / 2
    down = steps[:, None] * pixel_steps[:, :1]
    right = steps[:, None] * pixel_steps[:, 1:]
    return (corner + down)[:, :, None] + right[:, None]


def variation(patches: torch.Tensor) -> torch.Tensor:
    """Return the points' mean L1 norm of the in-plane differences; patches (N, P, P, C)."""
    down = (patches[:, 1:] - patches[:, :-1]).abs().sum(-1).mean()
    return down + (patches[:, :, 1:] - patches[:, :, :-1]).abs().sum(-1).mean()


def blur(patches: torch.Tensor) -> torch.Tensor:
    """Return the mean over inner points of |LowPass(F) - F|^2; patches (N, P, P, C)."""
    radius = _LOW_PASS_RADIUS
    offsets = torch.arange(-radius, radius + 1, dtype=patches.dtype, device=patches.device)
    kernel = torch.exp(-0.5 * (offsets / _LOW_PASS_SIGMA).square())
    kernel = kernel / kernel.sum()
    size = patches.shape[1] - 2 * radius
    rows = torch.stack([w * patches[:, n : n + size] for n, w in enumerate(kernel)]).sum(0)
    smooth = torch.stack([w * rows[:, :, n : n + size] for n, w in enumerate(kernel)]).sum(0)
    inner = patches[:, radius:-radius, radius:-radius]
    return (smooth - inner).square().sum(-1).mean()
