"""What every learner is: the part of a fit that turns cells with targets into a better network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from VoxelFeatLib.fitting.objective import CellBatch


class Learner(Protocol):
    """Trains one network. It decides what is kept of targets until they are trained on.

    Attributes:
        patches: How many patches it wants in a step, at most as many as there are windows.
    """

    patches: int

    def keep(self, features: torch.Tensor, level: int) -> torch.Tensor:
        """Return what the pool holds of standardised features (..., C) of a level, float16."""
        ...

    def step(
        self, rate: float, batches: Sequence[CellBatch], patches: torch.Tensor
    ) -> dict[str, float]:
        """Take one step with this learning rate.

        Args:
            rate: The learning rate.
            batches: Cells of every level, their targets as `keep` made them.
            patches: (patches, P, P, 3) RAS mm, points at native pitch in planes of views.

        Returns:
            The objective's weighted terms before the step, summed over the levels.
        """
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Return tensors that a resumed fit needs, by name."""
        ...

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take such tensors back."""
        ...
