"""The learner of node grids: normalised descent on latent vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.fitting.latent_space import LatentSpace
from VoxelFeatLib.fitting.node_bags import NodeBags

if TYPE_CHECKING:
    from VoxelFeatLib.field.grid import GridNetwork
    from VoxelFeatLib.fitting.objective import CellBatch


class GridLearner:
    """Moves every node by the mean error of the cells it served in a step.

    Rendering a cell is a weighted mean of nodes, so this is gradient descent on the objective's
    agreement, each node divided by how much the step used it: simultaneous algebraic reconstruction
    (SIRT). It converges several times faster than Adam here, touches only the nodes in the batch
    and keeps no state. Bases stay as they are, so targets are projected on them once, when they are
    kept. The objective's other terms do not change a grid's held-out agreement, and are left out.
    A few hundred views disagree about coarse features: there every cell also asks its nodes to be
    like their neighbours, which costs little agreement and leaves a probe less to be misled by.

    Args:
        network: Trained in place; its bases are orthonormal in the objective's metric.
        weights: The objective's 1 / (w_i + eps), one (C,) a level.
        smoothness: Weight of that, one a level.
    """

    patches = 0

    def __init__(
        self,
        network: GridNetwork,
        weights: tuple[torch.Tensor, ...],
        smoothness: tuple[float, ...],
    ) -> None:
        self._network = network
        self._smoothness = smoothness
        self._spaces = [
            LatentSpace(basis, weight) for basis, weight in zip(network.bases, weights, strict=True)
        ]

    def keep(self, features: torch.Tensor, level: int) -> torch.Tensor:
        """Return latent targets and what the basis cannot express: (..., L + 1) float16."""
        return self._spaces[level].keep(features)

    @torch.no_grad()
    def step(
        self,
        rate: float,
        batches: Sequence[CellBatch],
        patches: torch.Tensor,  # noqa: ARG002 - only the terms left out need them
    ) -> dict[str, float]:
        """Take one step (rate 1 is the full mean error); the agreement."""
        total = torch.stack([self._step(n, rate, batch) for n, batch in enumerate(batches)]).sum()
        return {"agreement": float(total)}

    def _step(self, level: int, rate: float, batch: CellBatch) -> torch.Tensor:
        grid = self._network.grid(level)
        nodes = grid.values.detach()
        targets, rest = batch.targets[:, :-1], batch.targets[:, -1]
        if not len(targets):  # windows can fall wholly outside the volume
            return nodes.new_zeros(())
        bags = NodeBags.of(grid, batch.positions)
        error = targets - bags.gather(nodes)
        bags.add(nodes, rate * error, rate=rate, smoothness=self._smoothness[level])
        return (error.square().sum(1) + rest.square()).mean()

    def state(self) -> dict[str, torch.Tensor]:
        """Return nothing: every step stands alone."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing to take back."""
