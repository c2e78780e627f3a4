"""Names of the methods as the paper writes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "anti-aliasing": "Anti-Aliasing",
        "sam-autoprompt": "SAM-Autoprompt",
        "sam-video": "SAM-Video-Prop",
        "sam-probe": "SAM-Probe",
        "voxelfeat-probe": "VoxelFeat-Probe",
        "voxelfeat-prior": "VoxelFeat-Prior (ours)",
    }
)
