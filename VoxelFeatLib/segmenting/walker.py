"""The random walker with priors, solved by conjugate gradients.

The potential x of the nodes minimises
sum over edges w (x_a - x_b)^2 + sum over nodes g (x_n - p_n)^2, seeds fixed:
x is the chance that a random walker who may be absorbed on the way, as the prior p says, first
reaches a seed inside the segment. Source: Grady, Multilabel random walker image segmentation using
prior models, CVPR 2005.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from VoxelFeatLib.segmenting.graph import Graph

# Largest change that one more (preconditioned) step would make, and a bound on the steps.
_TOLERANCE = 2e-3
_MOST_STEPS = 400
# The tolerance is looked at now and then: on a GPU every look waits for it.
_STEPS_BETWEEN_LOOKS = 8


@dataclass(frozen=True, eq=False)
class Potentials:
    """What is asked of the nodes of a graph, all (nk, nj, ni) float32.

    Attributes:
        prior: p, 0 to 1; where `fixed`, the value that is kept.
        strength: g, positive.
        fixed: bool, the nodes whose value is known.
    """

    prior: torch.Tensor
    strength: torch.Tensor
    fixed: torch.Tensor


@torch.no_grad()
def solve(graph: Graph, asked: Potentials, start: torch.Tensor | None = None) -> torch.Tensor:
    """Return the potential of every node, (nk, nj, ni).

    Args:
        graph: The nodes and their edges.
        asked: Prior and seeds.
        start: A first guess; the prior where there is none.
    """
    free = (~asked.fixed).to(asked.prior.dtype)
    diagonal = graph.degree + asked.strength
    x = asked.prior if start is None else torch.where(asked.fixed, asked.prior, start)
    x = x.clone()
    residual = (asked.strength * asked.prior - _product(graph, diagonal, x)) * free
    inverse = free / diagonal
    step = inverse * residual
    direction = step.clone()
    energy = (residual * step).sum()
    for number in range(_MOST_STEPS):
        if number % _STEPS_BETWEEN_LOOKS == 0 and float(step.abs().max()) < _TOLERANCE:
            break
        image = _product(graph, diagonal, direction).mul_(free)
        length = energy / (direction * image).sum().clamp(min=1e-30)
        x += length * direction
        residual -= length * image
        step = inverse * residual
        before, energy = energy, (residual * step).sum()
        direction = step + (energy / before.clamp(min=1e-30)) * direction
    return x


def _product(graph: Graph, diagonal: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The system's matrix times x."""
    y = diagonal * x
    for axis, weights in enumerate(graph.weights):
        count = weights.shape[axis]
        y.narrow(axis, 0, count).addcmul_(weights, x.narrow(axis, 1, count), value=-1)
        y.narrow(axis, 1, count).addcmul_(weights, x.narrow(axis, 0, count), value=-1)
    return y
