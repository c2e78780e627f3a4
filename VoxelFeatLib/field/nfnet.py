"""The paper's `nfnet` network: Fourier features and normaliser-free residual blocks.

Sources: VoxelFeat (MIDL 2025) for the layout; Brock et al. 2021 (NFNets) for scaled weight
standardisation, scaled activations and the residual form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from VoxelFeatLib.field.network import FieldNetwork, affine_of, apply_affine

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import FeatureLevel
    from VoxelFeatLib.field.lattice import Lattice
    from VoxelFeatLib.imaging.geometry import Geometry

# GELU's output on unit Gaussian input has this reciprocal standard deviation (NFNets).
_GELU_GAIN = 1.7015
_ALPHA = 0.2
# Levels of at least this many channels get a model of their own, as in the paper (96 + 256).
_WIDE = 128


def scaled_gelu(x: torch.Tensor) -> torch.Tensor:
    """Apply GELU, scaled to unit variance on unit Gaussian input."""
    return functional.gelu(x) * _GELU_GAIN


class FourierFeatures(nn.Module):
    """u, and pairs of sin(f u + phase) for log-spaced frequencies an axis.

    Args:
        frequencies: Count an axis, from pi/2 up to `highest`.
        highest: Largest angular frequency.
    """

    frequencies: torch.Tensor

    def __init__(self, frequencies: int, highest: float) -> None:
        super().__init__()
        steps = torch.linspace(math.log(math.pi / 2), math.log(highest), frequencies)
        self.register_buffer("frequencies", steps.exp(), persistent=False)
        # The second of each pair starts as the cosine.
        start = torch.tensor([0.0, math.pi / 2]).expand(3, frequencies, 2)
        self.phases = nn.Parameter(start.clone())
        self.width = 3 + 3 * frequencies * 2

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Encode unit coordinates (N, 3) as (N, width)."""
        angle = u[:, :, None, None] * self.frequencies[:, None] + self.phases
        return torch.cat([u, math.sqrt(2) * angle.sin().flatten(1)], dim=1)


class StandardisedLinear(nn.Linear):
    """Linear with scaled weight standardisation: W = (W - mean) gain / sqrt(max(N var, 1e-4))."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.gain = nn.Parameter(torch.ones(outputs, 1))

    def standardised(self) -> torch.Tensor:
        """Return the weight in use, (outputs, inputs)."""
        variance, mean = torch.var_mean(self.weight, dim=1, keepdim=True, correction=0)
        scale = torch.rsqrt((variance * self.in_features).clamp(min=1e-4))
        return (self.weight - mean) * scale * self.gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (N, inputs)."""
        return functional.linear(x, self.standardised(), self.bias)


class _ScaleGradient(torch.autograd.Function):
    """Identity; backward divides the gradient by max(1, RMS of the activation over the batch)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x.square().mean().sqrt().clamp(min=1))
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (scale,) = ctx.saved_tensors
        return gradients[0] / scale


class ResidualBlock(nn.Module):
    """x + alpha skip f(beta act(x)), f of two standardised layers, skip starting at 0 (SkipInit).

    Args:
        width: Neurons.
        beta: Reciprocal of the expected deviation of the block's input.
    """

    def __init__(self, width: int, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.first = StandardisedLinear(width, width)
        self.second = StandardisedLinear(width, width)
        self.skip = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (N, width)."""
        branch = self.second(scaled_gelu(self.first(scaled_gelu(x) * self.beta)))
        branch = _ScaleGradient.apply(branch)
        return x + _ALPHA * self.skip * branch


class PointwiseModel(nn.Module):
    """Fourier features, standardised input layer, residual blocks, linear output."""

    def __init__(self, encoding: FourierFeatures, width: int, blocks: int, outputs: int) -> None:
        super().__init__()
        self.encoding = encoding
        self.enter = StandardisedLinear(encoding.width, width)
        # Each block adds alpha^2 to the expected variance of a unit input.
        self.blocks = nn.ModuleList(
            ResidualBlock(width, 1 / math.sqrt(1 + n * _ALPHA**2)) for n in range(blocks)
        )
        self.leave = nn.Linear(width, outputs)

    def hidden(self, u: torch.Tensor) -> torch.Tensor:
        """Return activations before the last layer, (N, width)."""
        x = self.enter(self.encoding(u))
        for block in self.blocks:
            x = block(x)
        return scaled_gelu(x)


class NFNetwork(FieldNetwork):
    """Pointwise residual NFNets: one model for the narrow levels together, one for each wide level.

    Args:
        geometry: The volume's.
        levels: The backbone's levels.
        width: Neurons of the hidden layers.
        blocks: Residual blocks.
        frequencies: Fourier frequencies an axis.
    """

    name = "nfnet"
    to_unit: torch.Tensor

    def __init__(
        self,
        geometry: Geometry,
        levels: tuple[FeatureLevel, ...],
        width: int,
        blocks: int,
        frequencies: int,
    ) -> None:
        super().__init__(geometry, levels)
        self.width, self.block_count, self.frequency_count = width, blocks, frequencies
        self.register_buffer("to_unit", affine_of(geometry.ras_to_unit), persistent=False)
        narrow = [i for i, level in enumerate(levels) if level.channels < _WIDE]
        groups = [[i] for i in range(len(levels)) if i not in narrow]
        self.groups = [narrow, *groups] if narrow else groups
        highest = math.pi * geometry.radius / float(geometry.spacing.min())
        self.models = nn.ModuleList(
            PointwiseModel(
                FourierFeatures(frequencies, highest),
                width,
                blocks,
                sum(levels[i].channels for i in group),
            )
            for group in self.groups
        )

    def level(self, ras: torch.Tensor, index: int) -> torch.Tensor:
        """Return standardised features of one level at positions (N, 3), mm: (N, channels)."""
        model, columns = self._place(index)
        hidden = model.hidden(apply_affine(self.to_unit, ras))
        return functional.linear(hidden, model.leave.weight[columns], model.leave.bias[columns])

    def project(self, ras: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return standardised features times weight (M, C) transposed: (N, M)."""
        u = apply_affine(self.to_unit, ras)
        total = ras.new_zeros(ras.shape[0], weight.shape[0])
        slices = self.channel_slices()
        for model, group in zip(self.models, self.groups, strict=True):
            assert isinstance(model, PointwiseModel)  # noqa: S101 - ModuleList loses the type
            part = torch.cat([weight[:, slices[i]] for i in group], dim=1)
            folded, bias = part @ model.leave.weight, part @ model.leave.bias
            total += functional.linear(model.hidden(u), folded, bias)
        return total

    def project_on(self, lattice: Lattice, weight: torch.Tensor) -> torch.Tensor:
        """Return `project` on a regular box: (M, nk, nj, ni)."""
        ras = lattice.ras(self.geometry, weight.device).view(-1, 3)
        # Bounds the hidden activations, not the result.
        parts = [self.project(chunk, weight) for chunk in ras.split(1 << 15)]
        return torch.cat(parts).T.reshape(-1, *lattice.shape_kji)

    def stored(self) -> dict[str, torch.Tensor]:
        """Return the state, as it is."""
        return self.state_dict()

    def settings(self) -> dict[str, Any]:
        """Return JSON-able constructor arguments."""
        return {
            "width": self.width,
            "blocks": self.block_count,
            "frequencies": self.frequency_count,
        }

    def _place(self, index: int) -> tuple[PointwiseModel, slice]:
        """The model that serves a level and the level's output columns there."""
        number = next(n for n, group in enumerate(self.groups) if index in group)
        before = [i for i in self.groups[number] if i < index]
        first = sum(self.levels[i].channels for i in before)
        model = self.models[number]
        assert isinstance(model, PointwiseModel)  # noqa: S101 - ModuleList loses the type
        return model, slice(first, first + self.levels[index].channels)
