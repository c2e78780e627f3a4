"""Colours for segments that have none of their own."""

from __future__ import annotations

from VoxelFeatLib.imaging.aliases import Color

SEGMENT_COLORS: tuple[Color, ...] = (
    (0.86, 0.24, 0.20),
    (0.20, 0.63, 0.17),
    (0.12, 0.47, 0.71),
    (1.00, 0.70, 0.00),
    (0.60, 0.31, 0.64),
    (0.10, 0.74, 0.81),
)
