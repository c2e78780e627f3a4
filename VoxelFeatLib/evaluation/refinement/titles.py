"""Names of the methods as the paper writes them, and as they are where features are not SAM's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from VoxelFeatLib.backbones.weights.catalogue import CATALOGUE, is_checkpoint_path

PAPER_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "anti-aliasing": "Anti-Aliasing",
        "sam-autoprompt": "SAM-Autoprompt",
        "sam-video": "SAM-Video-Prop",
        "sam-probe": "SAM-Probe",
        "voxelfeat-probe": "VoxelFeat-Probe",
        "voxelfeat-prior": "VoxelFeat-Prior (ours)",
    }
)


def titles_of(backbone: str) -> Mapping[str, str]:
    """Return the methods' titles by name, where they ask a backbone of this name or path."""
    if backbone in CATALOGUE or is_checkpoint_path(backbone):
        return PAPER_TITLES
    return {**PAPER_TITLES, "sam-probe": "Probe on upsampled features (SAM-Probe)"}
