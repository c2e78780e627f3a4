"""The demo's figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from VoxelFeatLib.demo.colors import FeatureColors
from VoxelFeatLib.demo.figures import (
    Outlined,
    Panel,
    compared,
    feature_maps,
    slices_with_outlines,
)
from VoxelFeatLib.demo.slices import Plane
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.imaging.windows import default_windows

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.demo.clicking import Clicked
    from VoxelFeatLib.demo.folder import DemoFolder
    from VoxelFeatLib.demo.refining import Agreement, Refined
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.aliases import Mask, Position
    from VoxelFeatLib.imaging.geometry import Geometry
    from VoxelFeatLib.imaging.volume import Volume

# Lines of the structures, bright, apart from each other and from clicks: anatomical colours are
# neither.
_LINES = ((1.0, 0.65, 0.1), (0.2, 0.85, 1.0), (1.0, 0.45, 0.95), (0.95, 0.95, 0.3))

# Shown around a structure in a comparison, mm.
_MARGIN = 12.0


def draw_overview(folder: DemoFolder, volume: Volume, clicked: Sequence[Clicked]) -> None:
    """Draw all segments and the truth where most of them show."""
    slices_with_outlines(
        folder.segments_figure,
        volume,
        [
            Outlined(one.structure.name, color, one.mask, one.structure.mask)
            for one, color in zip(clicked, cycle(_LINES), strict=False)
        ],
        title="Segments from clicks, and the truth",
    )


def draw_segment(folder: DemoFolder, volume: Volume, one: Clicked) -> None:
    """Draw one segment, the truth and its clicks on the slices through the first click."""
    name, count = one.structure.name, len(one.clicks)
    segment = Outlined(name, _LINES[0], one.mask, one.structure.mask)
    slices_with_outlines(
        folder.segment_figure(name),
        volume,
        [segment],
        clicks=one.clicks,
        title=f"{name.capitalize()} after {count} clicks: Dice {one.dice[-1]:.3f}",
        center=one.clicks[0].ras,
    )


def draw_refinement(folder: DemoFolder, volume: Volume, refined: Sequence[Refined]) -> None:
    """Draw each structure's coarse mask beside the refined one, around its middle."""
    rows = []
    for one in refined:
        name, truth = one.structure.name, one.structure.mask
        center, width = _middle(truth, volume.geometry)
        shown = ((one.coarse_mask, "coarse", one.before), (one.mask, "refined", one.after))
        rows.append(
            [
                Panel(
                    f"{name}, {word}   {_scores(agreement)}",
                    [Outlined("mask", _LINES[0], mask, truth)],
                    center,
                    width,
                )
                for mask, word, agreement in shown
            ]
        )
    spacing = " × ".join(f"{size:g}" for size in refined[0].coarse_geometry.spacing)
    compared(
        folder.refinement_figure,
        volume,
        rows,
        title=f"Coarse masks ({spacing} mm) and what the field makes of them",
    )


def draw_features(
    folder: DemoFolder, volume: Volume, backbone: Backbone, field: FeatureField, at: Mask
) -> None:
    """Draw the features of an axial and a coronal slice through the middle of a structure."""
    colors = FeatureColors(volume, backbone, field)
    center, _ = _middle(at, volume.geometry)
    ijk = np.rint(volume.geometry.to_ijk(center))
    grey = default_windows(volume)[0]
    axial, coronal = (Plane.through(volume.geometry, view, ijk) for view in ("axial", "coronal"))
    title = "Features as colours, the same projection for both: backbone above, field below"
    feature_maps(
        folder.axial_features_figure,
        grey(axial.cut(volume.voxels)),
        colors.axial(int(ijk[2])),
        title=title,
    )
    i, _, k = volume.geometry.spacing
    feature_maps(
        folder.coronal_features_figure,
        grey(coronal.cut(volume.voxels)),
        colors.coronal(int(ijk[1])),
        aspect=float(k / i),
        title=title,
    )


def _middle(mask: Mask, geometry: Geometry) -> tuple[Position, float]:
    """Return the middle (RAS) of the axial slice that shows most of a mask, and a width in mm."""
    k = int(mask.sum(axis=(1, 2)).argmax())
    shown = np.zeros_like(mask)
    shown[k] = mask[k]
    box = bounding_box(shown)
    if box is None:
        raise AssertionError  # the demo's structures are not empty
    first = np.array([part.start for part in reversed(box)])
    last = np.array([part.stop - 1 for part in reversed(box)])
    r, a, s = geometry.to_ras((first + last) / 2).tolist()
    return (r, a, s), float(((last - first + 1) * geometry.spacing).max()) + 2 * _MARGIN


def _scores(agreement: Agreement) -> str:
    return f"Dice {agreement.dice:.3f}, HD95 {agreement.hd95_mm:.1f} mm"
