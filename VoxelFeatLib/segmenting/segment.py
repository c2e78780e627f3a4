"""What a user asked of one segment: clicks, box, existing mask; and the checks of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Color, Mask, Position
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.palette import SEGMENT_COLORS
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import PackedMask


@dataclass(frozen=True)
class Segment:
    """One segment as asked for; a change makes a new one.

    Attributes:
        name: Its name, unique in the session.
        color: Red, green, blue, 0 to 1.
        clicks: In the order they were placed; a scribble is many.
        box: Only voxels inside may change; the whole volume when None.
        base: An existing mask the segment starts from.
        local: Keep only components that a positive click touches (or that overlap ``base``).
    """

    name: str
    color: Color
    clicks: tuple[Click, ...] = ()
    box: Extent | None = None
    base: PackedMask | None = None
    local: bool = True


@dataclass(frozen=True)
class Wish:
    """All that the result of a segment depends on.

    Attributes:
        positive: RAS positions inside the segment.
        negative: RAS positions outside; positive clicks of the other segments are among them.
        box: As in Segment.
        base: As in Segment.
        local: As in Segment.
    """

    positive: tuple[Position, ...] = ()
    negative: tuple[Position, ...] = ()
    box: Extent | None = None
    base: PackedMask | None = None
    local: bool = True

    @property
    def teaches(self) -> bool:
        """Whether there is something to predict from; else the segment is what it starts from."""
        return bool(self.positive) or (self.base is not None and bool(self.negative))


def wish_for(segment: Segment, others: Iterable[Segment]) -> Wish:
    """Collect what one segment's result depends on; the rest's positives are its negatives."""
    positive = tuple(click.ras for click in segment.clicks if click.positive)
    negative = tuple(click.ras for click in segment.clicks if not click.positive)
    rest = tuple(click.ras for other in others for click in other.clicks if click.positive)
    return Wish(positive, negative + rest, segment.box, segment.base, segment.local)


def check_clicks(clicks: Sequence[Click], geometry: Geometry, segment: str) -> None:
    """Check that all clicks lie in the volume.

    Raises:
        InputError: Names the click, its position and where the volume is.
    """
    for number, click in enumerate(clicks, start=1):
        if not np.isfinite(click.ras).all() or not geometry.contains(click.ras):
            name = f"Click {number} (“{click.label}”)" if click.label else f"Click {number}"
            raise InputError(
                f"{name} of segment “{segment}” lies outside the volume, at "
                f"{_listed(click.ras)} mm (RAS).",
                f"{geometry.bounds_text()} Check whether the positions are RAS or LPS.",
            )


def check_consistent(clicks: Mapping[str, Sequence[Click]], geometry: Geometry) -> None:
    """Check that the clicks of several segments, by their names, do not contradict one another.

    Raises:
        InputError: A voxel has a positive click of two segments, or both kinds of one segment.
    """
    inside: dict[tuple[int, ...], str] = {}
    for positive in (True, False):
        for name, placed in clicks.items():
            for click in placed:
                if click.positive is not positive:
                    continue
                voxel = tuple(geometry.voxels_of(click.ras)[0].tolist())
                owner = inside.setdefault(voxel, name) if positive else inside.get(voxel)
                if positive and owner != name:
                    also = f"and of segment “{owner}”"
                elif not positive and owner == name:
                    also = "and a negative one"
                else:
                    continue
                raise InputError(
                    f"The voxel at {_listed(click.ras)} mm (RAS) has a positive click of segment "
                    f"“{name}” {also}.",
                    "Remove one of the two clicks.",
                )


def packed_base(mask: Mask, geometry: Geometry) -> PackedMask:
    """Check an existing mask, and keep it small.

    Raises:
        InputError: It is not of the volume's shape, or has no voxel.
    """
    if mask.shape != geometry.shape_kji:
        raise InputError(
            f"The existing mask has shape {mask.shape}, but the volume has {geometry.shape_kji}.",
            "Resample the mask to the volume first.",
        )
    packed = PackedMask.of(np.asarray(mask, dtype=bool))
    if packed.empty:
        raise InputError("The existing mask has no voxel to start from.")
    return packed


def new_color(others: Iterable[Segment]) -> Color:
    """Return the first of the colours that the fewest other segments have."""
    return min(SEGMENT_COLORS, key=[other.color for other in others].count)


def _listed(position: Position) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in position) + ")"
