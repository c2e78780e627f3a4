"""Optimisers: NAdam for networks, normalised descent for node grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.field.interpolation import NodeUsage
from VoxelFeatLib.field.network import FieldNetwork

_GRADIENT_NORM = 1.0


class Optimiser(Protocol):
    """Takes one step against the gradients that are there, then clears them."""

    def step(self, rate: float, rendered: Sequence[int]) -> None:
        """Step with this learning rate; `rendered` positions were compared on each level."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Return tensors that a resumed fit needs, by name."""
        ...

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take such tensors back."""
        ...


class NodeDescent:
    """Gradient descent on node values, each divided by how much the step used the node.

    Rendering a cell is a weighted mean of nodes, so a step of rate 1 moves every node by the
    weighted mean error of the cells it served: simultaneous algebraic reconstruction (SIRT). It
    converges several times faster than Adam here, touches only the nodes in the batch and keeps no
    state.
    """

    # Nodes that the batch hardly touched move less than their noisy mean error asks for.
    _DAMPING = 1.0

    def __init__(self, network: GridNetwork) -> None:
        self._grids = [network.grid(i) for i in range(len(network.levels))]
        for grid in self._grids:
            grid.usage = NodeUsage(torch.zeros_like(grid.values[:, 0]))
        for basis in network.bases:
            basis.requires_grad_(False)

    @torch.no_grad()
    def step(self, rate: float, rendered: Sequence[int]) -> None:
        """Step with this learning rate (1 is the full mean error)."""
        for grid, count in zip(self._grids, rendered, strict=True):
            usage, gradient = grid.usage, grid.values.grad
            if usage is None or gradient is None:
                continue
            rows = usage.weights.nonzero()[:, 0]
            # Half: the gradient of a squared error is twice the error.
            factor = 0.5 * rate * count / (usage.weights[rows] + self._DAMPING)
            grid.values.index_add_(0, rows, gradient[rows] * factor[:, None], alpha=-1)
            grid.values.grad = None
            usage.clear()

    def state(self) -> dict[str, torch.Tensor]:
        """Return nothing: every step stands alone."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing to take back."""


class NAdam:
    """NAdam with clipping of the gradients' global norm at 1, the paper's optimiser."""

    def __init__(self, network: FieldNetwork) -> None:
        self._parameters = list(network.parameters())
        self._optimiser = torch.optim.NAdam(self._parameters)

    def step(self, rate: float, rendered: Sequence[int]) -> None:  # noqa: ARG002 - a mean's step
        """Step with this learning rate."""
        torch.nn.utils.clip_grad_norm_(self._parameters, _GRADIENT_NORM)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad()

    def state(self) -> dict[str, torch.Tensor]:
        """Return moments and step counters, as `number.name`."""
        entries = self._optimiser.state_dict()["state"]
        return {
            f"{number}.{name}": value
            for number, values in entries.items()
            for name, value in values.items()
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take moments and step counters back."""
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            number, name = key.split(".", 1)
            entries.setdefault(int(number), {})[name] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": entries, "param_groups": groups})


def optimiser_for(network: FieldNetwork) -> Optimiser:
    """Make normalised descent for node grids, NAdam for everything else."""
    return NodeDescent(network) if isinstance(network, GridNetwork) else NAdam(network)
