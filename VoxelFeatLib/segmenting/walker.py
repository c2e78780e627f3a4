"""The random walker with priors, solved by conjugate gradients.

The potential x of the nodes minimises
sum over edges w (x_a - x_b)^2 + sum over nodes g (x_n - p_n)^2, seeds fixed:
x is the chance that a random walker who may be absorbed on the way, as the prior p says, first
reaches a seed inside the segment. Source: Grady, Multilabel random walker image segmentation using
prior models, CVPR 2005.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch

from VoxelFeatLib.segmenting.graph import Graph, lower, upper

# Largest change that one more (preconditioned) step would make, and a bound on the steps.
_TOLERANCE = 2e-3
_MOST_STEPS = 400
# The tolerance is looked at now and then: on a GPU every look waits for it.
_STEPS_BETWEEN_LOOKS = 8


@dataclass(frozen=True, eq=False)
class NodePriors:
    """What is asked of the nodes of a graph, all (nk, nj, ni) float32.

    Attributes:
        prior: p, 0 to 1; where `fixed`, the value that is kept.
        strength: g, positive.
        fixed: bool, the nodes whose value is known.
    """

    prior: torch.Tensor
    strength: torch.Tensor
    fixed: torch.Tensor


def solve(
    graph: Graph, asked: NodePriors, start: torch.Tensor | None = None
) -> Generator[None, None, torch.Tensor]:
    """Work out the potential of every node, (nk, nj, ni); pauses every few steps.

    Args:
        graph: The nodes and their edges.
        asked: Prior and seeds.
        start: A first guess; the prior where there is none.
    """
    system = _System(graph, asked)
    x = asked.prior if start is None else torch.where(asked.fixed, asked.prior, start)
    iteration = _Iteration(system, system.residual(x))
    for number in range(_MOST_STEPS):
        if number % _STEPS_BETWEEN_LOOKS == 0:
            if iteration.next_change() < _TOLERANCE:
                break
            yield
        iteration.advance()
    return system.to_nodes(iteration.solution).add_(x)


class _System:
    """The equations of the free nodes, scaled so that their matrix' diagonal is 1.

    With D the diagonal of the matrix A, S = D^-1/2 A D^-1/2 and unknowns D^1/2 x. This is Jacobi's
    preconditioning; done once here, it costs nothing at every step. Fixed nodes have zero rows and
    columns but for the diagonal, and no residual: nothing reaches them.
    """

    def __init__(self, graph: Graph, asked: NodePriors) -> None:
        self._graph = graph
        self._asked = asked
        self._diagonal = graph.degree + asked.strength
        self._scale = torch.where(asked.fixed, 0.0, self._diagonal.rsqrt())
        self._edges = [
            weights * lower(self._scale, axis).neg() * upper(self._scale, axis)
            for axis, weights in enumerate(graph.weights)
        ]

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """What is left of the scaled equations at a potential of the nodes, (nk, nj, ni)."""
        asked = self._asked
        left = torch.addcmul(asked.strength * asked.prior, self._diagonal, x, value=-1)
        for axis, weights in enumerate(self._graph.weights):
            lower(left, axis).addcmul_(weights, upper(x, axis))
            upper(left, axis).addcmul_(weights, lower(x, axis))
        return left.mul_(self._scale)

    def product(self, y: torch.Tensor, out: torch.Tensor) -> None:
        """Write S y to `out`."""
        out.copy_(y)
        for axis, edges in enumerate(self._edges):
            lower(out, axis).addcmul_(edges, upper(y, axis))
            upper(out, axis).addcmul_(edges, lower(y, axis))

    def to_nodes(self, y: torch.Tensor) -> torch.Tensor:
        """Bring unknowns back to potentials."""
        return y * self._scale


class _Iteration:
    """Conjugate gradients, in place: nothing is allocated from step to step but numbers."""

    def __init__(self, system: _System, residual: torch.Tensor) -> None:
        self._system = system
        self._residual = residual
        self._direction = residual.clone()
        self._image = torch.empty_like(residual)
        self._energy = self._square(residual, residual)
        self.solution = torch.zeros_like(residual)

    def next_change(self) -> float:
        """The largest change of a potential that one more plain step would make."""
        return float(self._system.to_nodes(self._residual).abs_().amax())

    def advance(self) -> None:
        """Take one step."""
        self._system.product(self._direction, self._image)
        length = self._energy / self._square(self._direction, self._image).clamp_(min=1e-30)
        self.solution.addcmul_(self._direction, length)
        self._residual.addcmul_(self._image, length, value=-1)
        before, self._energy = self._energy, self._square(self._residual, self._residual)
        ratio = self._energy / before.clamp_(min=1e-30)
        torch.addcmul(self._residual, self._direction, ratio, out=self._direction)

    @staticmethod
    def _square(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.dot(one.view(-1), other.view(-1))
