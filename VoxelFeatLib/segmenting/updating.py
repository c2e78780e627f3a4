"""How a segment's mask follows from what it was, what is asked for now, and a new prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.aliases import Mask, Position
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.components import Points
from VoxelFeatLib.segmenting.correction import correct, keep_touched
from VoxelFeatLib.segmenting.extent import Chunk, Extent
from VoxelFeatLib.segmenting.segment import Wish
from VoxelFeatLib.segmenting.suggestion import Suggestion


@dataclass(frozen=True)
class Known:
    """What is known of a segment's mask.

    Attributes:
        wish: What the mask answers; None before the first update, and where nobody can tell.
        predicted: Extents in which the mask comes from a prediction or an existing mask.
        suggestions: Where a click would tell most, the most doubtful place first; None where that
            is not known, as of a mask from elsewhere.
    """

    wish: Wish | None = None
    predicted: tuple[Extent, ...] = ()
    suggestions: tuple[Suggestion, ...] | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """A segment's mask and what it answers; never changed in place.

    Attributes:
        mask: (K, J, I), read-only.
        known: What is known of it.
    """

    mask: Mask
    known: Known = Known()

    def __post_init__(self) -> None:
        self.mask.flags.writeable = False

    @property
    def wish(self) -> Wish | None:
        """What the mask answers; as in `Known`."""
        return self.known.wish


@dataclass(frozen=True, eq=False)
class Correction:
    """One step from an old result to the one that answers a wish.

    A click that is new touches the components it corrects. One that was taken away touches as its
    opposite would: what only it had kept may go, what only it had suppressed may return. So moving
    a click changes what lies under its old and its new place, and nothing else.

    Attributes:
        so_far: (K, J, I) the segment before.
        predicted: As in Known.
        wish: What is asked for.
        region: Where voxels may change.
        positive_kji: (N, 3) voxels of the touches that add.
        negative_kji: (N, 3) voxels of the touches that take away.
        keepers_kji: (N, 3) voxels of all positive clicks; locality keeps what they touch.
        base: (K, J, I) the existing mask the segment starts from.
        everywhere: Whether voxels outside of ``region`` changed, too: the start was taken anew.
    """

    so_far: Mask
    predicted: tuple[Extent, ...]
    wish: Wish
    region: Extent
    positive_kji: Points
    negative_kji: Points
    keepers_kji: Points
    base: Mask | None
    everywhere: bool

    @classmethod
    def of(cls, old: Result, wish: Wish, geometry: Geometry, *, fresh: bool) -> Correction:
        """Compare what is asked for with what the old result answers.

        The segment starts anew, from the existing mask or from nothing, when that mask or the
        switch of locality changed, when ``fresh`` is set, or when nothing is left to predict from.
        """
        whole = Extent.whole(geometry.shape_kji)
        before = old.wish or Wish(base=wish.base, local=wish.local)
        everywhere = before.base != wish.base or old.wish is None or not wish.teaches
        anew = everywhere or fresh or before.local != wish.local
        region = wish.box or whole
        so_far, predicted, base = old.mask, old.known.predicted, None
        if wish.base is not None:
            base = wish.base.mask()
        if anew:
            before = Wish()
            predicted = () if base is None else (whole,)
            part = (whole if everywhere else region).slices
            so_far = so_far.copy()
            so_far[part] = False if base is None else base[part]
        positive, negative = _touches(before, wish)
        return cls(
            so_far,
            predicted,
            wish,
            region,
            geometry.voxels_of(positive),
            geometry.voxels_of(negative),
            geometry.voxels_of(wish.positive),
            base,
            everywhere,
        )

    @property
    def goes_on(self) -> bool:
        """Whether all that may change was predicted before, and something is there."""
        return _covered(self.region, self.predicted) and bool(self.so_far.any())

    def preview(self, chunk: Chunk) -> Chunk:
        """Correct one part of the prediction, in the region, by what can be seen in it."""
        mask = self._corrected(chunk.extent, chunk.mask)
        keepers = _within(self.keepers_kji, chunk.extent)
        if self.wish.local and len(keepers):
            anchor = None if self.base is None else self.base[chunk.extent.slices]
            mask = keep_touched(mask, keepers, anchor=anchor)
        return Chunk(chunk.extent, mask, final=False)

    def corrected(self, prediction: Mask) -> Mask:
        """Correct by the whole (K, J, I) prediction; `finish` does the rest."""
        return self._replaced(self._corrected(self.region, prediction[self.region.slices]))

    def finish(self, corrected: Mask) -> Result:
        """Keep what locality keeps of the corrected mask."""
        if self.wish.local and len(self.keepers_kji):
            # Components may be joined outside the region, but only what is inside may change.
            kept = keep_touched(corrected, self.keepers_kji, anchor=self.base)
            corrected = self._replaced(kept[self.region.slices])
        return Result(corrected, Known(self.wish, _joined(self.predicted, self.region)))

    def unpredicted(self) -> Result:
        """Return what the segment starts from."""
        return Result(self.so_far, Known(self.wish, self.predicted))

    def _replaced(self, inside: Mask) -> Mask:
        """The segment before, but for the region; the very array where that is all."""
        if inside.shape == self.so_far.shape:
            return inside
        mask = self.so_far.copy()
        mask[self.region.slices] = inside
        return mask

    def _corrected(self, extent: Extent, prediction: Mask) -> Mask:
        return correct(
            self.so_far[extent.slices],
            prediction,
            _within(self.positive_kji, extent),
            _within(self.negative_kji, extent),
            predicted=self._known(extent),
        )

    def _known(self, extent: Extent) -> Mask | None:
        parts = [known.clipped(extent) for known in self.predicted]
        if extent in parts:
            return None
        whole = np.zeros(self.so_far.shape, dtype=bool)
        for part in parts:
            whole[part.slices] = part.size > 0
        return whole[extent.slices]


def _touches(before: Wish, after: Wish) -> tuple[list[Position], list[Position]]:
    positive = _new(after.positive, before.positive) + _new(before.negative, after.negative)
    negative = _new(after.negative, before.negative) + _new(before.positive, after.positive)
    return positive, negative


def _new(after: Sequence[Position], before: Sequence[Position]) -> list[Position]:
    return list((Counter(after) - Counter(before)).elements())


def _within(points_kji: npt.NDArray[np.int64], extent: Extent) -> Points:
    """Voxels that lie in an extent, counted from its start."""
    inside = (points_kji >= extent.start_kji) & (points_kji < extent.stop_kji)
    return np.asarray(points_kji[inside.all(axis=1)] - extent.start_kji)


def _covered(region: Extent, predicted: tuple[Extent, ...]) -> bool:
    return any(extent.clipped(region) == region for extent in predicted)


def _joined(known: tuple[Extent, ...], region: Extent) -> tuple[Extent, ...]:
    if _covered(region, known):
        return known
    return (*(extent for extent in known if extent.clipped(region) != extent), region)
