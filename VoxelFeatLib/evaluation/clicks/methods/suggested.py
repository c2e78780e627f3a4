"""VoxelFeat, where it also says where to click next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from VoxelFeatLib.evaluation.clicks.methods.voxelfeat import VoxelFeat
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.aliases import Position
from VoxelFeatLib.imaging.volume import Volume

SUGGESTED = "voxelfeat-suggest"


class SuggestedVoxelFeat(VoxelFeat):
    """The same session, for a user who follows its suggestions; arguments as `VoxelFeat`."""

    def __init__(
        self,
        field_of: Callable[[Volume], FeatureField],
        settings: Mapping[str, object] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(field_of, settings, name=SUGGESTED, seed=seed)

    def place(self) -> Position | None:
        """Return the most doubtful place after the last click."""
        found = self.suggestions()
        return found[0].ras if found else None
