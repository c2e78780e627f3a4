"""What a user asked of one segment: clicks, box, existing mask; and the checks of these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Color, Mask, Position
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.segmenting.inference import Extent

_COLORS: tuple[Color, ...] = (
    (0.86, 0.24, 0.20),
    (0.20, 0.63, 0.17),
    (0.12, 0.47, 0.71),
    (1.00, 0.70, 0.00),
    (0.60, 0.31, 0.64),
    (0.10, 0.74, 0.81),
)


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
            name = f'Click {number} ("{click.label}")' if click.label else f"Click {number}"
            raise InputError(
                f'{name} of segment "{segment}" lies outside the volume, at '
                f"{_listed(click.ras)} mm (RAS).",
                f"{bounds_text(geometry)} Check whether the positions are RAS or LPS.",
            )


def bounds_text(geometry: Geometry) -> str:
    """Say where a volume is: the box around its voxels in RAS mm."""
    corners = geometry.to_ras(list(product(*((-0.5, n - 0.5) for n in geometry.shape_kji[::-1]))))
    low, high = corners.min(axis=0), corners.max(axis=0)
    spans = (f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in zip("RAS", low, high, strict=True))
    return f"The volume spans {', '.join(spans)} mm."


def box_of_ras(corners_ras: npt.ArrayLike, geometry: Geometry) -> Extent:
    """Return the voxels whose centres lie in the index box around a box in RAS.

    Args:
        corners_ras: (2, 3) two opposite corners in mm, in any order.
        geometry: The volume's geometry; where its axes are oblique to RAS, the result is the
            box of voxels around the RAS box.

    Raises:
        InputError: Not two finite corners, or no voxel of the volume inside.
    """
    corners = np.asarray(corners_ras, dtype=np.float64)
    if corners.shape != (2, 3) or not np.isfinite(corners).all():
        raise InputError("A box needs two opposite corners in RAS millimetres.")
    ijk = geometry.to_ijk(list(product(*corners.T)))
    start = np.ceil(ijk.min(axis=0) - 1e-6).astype(np.int64)[::-1]
    stop = np.floor(ijk.max(axis=0) + 1e-6).astype(np.int64)[::-1] + 1
    start, stop = np.maximum(start, 0), np.minimum(stop, geometry.shape_kji)
    if (start >= stop).any():
        raise InputError("The box holds no voxel of the volume.", bounds_text(geometry))
    return Extent(_triple(start), _triple(stop))


def check_box(box: Extent, geometry: Geometry) -> None:
    """Check that a box holds at least one voxel and does not leave the volume.

    Raises:
        InputError: It is empty, or partly outside.
    """
    start, stop = np.asarray(box.start_kji), np.asarray(box.stop_kji)
    if (start < 0).any() or (stop > geometry.shape_kji).any() or (start >= stop).any():
        raise InputError(
            f"The box from {box.start_kji} to {box.stop_kji} (k, j, i) is empty or leaves the "
            f"volume, which has {geometry.shape_kji} voxels."
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


def color_of(number: int) -> Color:
    """Return a colour for the segment of this number, from 0 on."""
    return _COLORS[number % len(_COLORS)]


def voxels_of(positions: Sequence[Position], geometry: Geometry) -> npt.NDArray[np.int64]:
    """Return the (N, 3) voxels (k, j, i) that hold RAS positions."""
    ijk = geometry.to_ijk(np.asarray(positions, dtype=np.float64).reshape(-1, 3))
    return np.rint(ijk).astype(np.int64)[:, ::-1]


def _triple(values: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])


def _listed(position: Position) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in position) + ")"
