"""Any network's learner: backpropagation and NAdam, the published recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.fitting import objective

if TYPE_CHECKING:
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.objective import CellBatch, ObjectiveWeights

_GRADIENT_NORM = 1.0


class NetworkLearner:
    """NAdam with clipping of the gradients' global norm at 1; targets are kept as they are.

    Args:
        network: Trained in place.
        weights: The objective's 1 / (w_i + eps), one (C,) a level.
        factors: Of the objective's other terms.
    """

    # For total variation and blur.
    patches = 2

    def __init__(
        self,
        network: FieldNetwork,
        weights: tuple[torch.Tensor, ...],
        factors: ObjectiveWeights,
    ) -> None:
        self._network = network
        self._weights = weights
        self._factors = factors
        self._parameters = list(network.parameters())
        self._optimiser = torch.optim.NAdam(self._parameters)

    def keep(self, features: torch.Tensor, level: int) -> torch.Tensor:  # noqa: ARG002 - all alike
        """Return the features themselves."""
        return features.half()

    def step(
        self, rate: float, batches: Sequence[CellBatch], patches: torch.Tensor
    ) -> dict[str, float]:
        """Take one step; the objective's weighted terms."""
        terms: dict[str, torch.Tensor] = {}
        for level, batch in enumerate(batches):
            for name, value in self._level_terms(level, batch, patches).items():
                terms[name] = terms[name] + value if name in terms else value
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, _GRADIENT_NORM)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad()
        return objective.as_numbers(terms)

    def _level_terms(
        self, level: int, batch: CellBatch, patches: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """One level's terms; cells and patches go through the network together."""
        count, samples = batch.positions.shape[:2]
        positions = torch.cat([batch.positions.reshape(-1, 3), patches.reshape(-1, 3)])
        features = self._network.level(positions, level)
        points = features[count * samples :].view(*patches.shape[:3], -1)
        factors = self._factors
        terms = {
            "variation": factors.variation * objective.variation(points),
            "blur": factors.blur * objective.blur(points),
        }
        if count:  # windows can fall wholly outside the volume
            rendered = features[: count * samples].view(count, samples, -1).mean(1)
            norms = batch.targets.norm(dim=1)
            terms["agreement"] = objective.agreement(rendered, batch.targets, self._weights[level])
            terms["magnitude"] = factors.magnitude * objective.magnitude(rendered, norms)
        return terms

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
