"""What a probe sees of a position: x = [features, intensity]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.volume import Volume


def samples_at(field: FeatureField, volume: Volume, ras: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return x = [features, intensity] at (N, 3) RAS mm as (N, C + 1) float32."""
    positions = np.atleast_2d(np.asarray(ras, dtype=np.float64))
    points = torch.as_tensor(positions, dtype=torch.float32, device=field.device)
    features = field.features(points).float().cpu().numpy()
    return np.concatenate([features, volume.intensity_at(positions)[:, None]], axis=1)
