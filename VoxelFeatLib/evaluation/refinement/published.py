"""Dice coefficients that the method's paper reports, for the same structures beside ours.

Source: Tejero et al., VoxelFeat, MIDL 2025 (short paper), table of TotalSegmentator and KiTS23.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

# Of the columns below, by the names of methods here.
PUBLISHED_METHODS = ("anti-aliasing", "sam-probe", "voxelfeat-probe")

_TABLE: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "spleen": (0.93, 0.94, 0.95),
        "left kidney": (0.90, 0.92, 0.93),
        "liver": (0.96, 0.95, 0.95),
        "colon": (0.90, 0.76, 0.80),
        "L1": (0.82, 0.76, 0.67),
        "right autochthon": (0.91, 0.90, 0.90),
        "kidney": (0.91, 0.92, 0.92),
        "tumour": (0.83, 0.86, 0.87),
    }
)
# Spellings of data sets, and words that say nothing.
_SPELLINGS = MappingProxyType({"tumor": "tumour", "vertebrae": "", "vertebra": ""})


def published_dice(label: str) -> Mapping[str, float]:
    """Return the paper's Dice of a structure by method; empty for a structure it does not have.

    Names are compared word by word, whatever their order: `kidney_left` is the left kidney.
    """
    for name, values in _TABLE.items():
        if _words(name) == _words(label):
            return dict(zip(PUBLISHED_METHODS, values, strict=True))
    return {}


def _words(name: str) -> set[str]:
    words = re.findall(r"[a-z0-9]+", name.lower())
    return {_SPELLINGS.get(word, word) for word in words} - {""}
