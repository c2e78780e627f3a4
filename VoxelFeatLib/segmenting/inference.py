"""From a head to masks: adaptive, any-time, cancellable.

Model. Everything runs in the caller's thread, inside a generator: between two chunks nothing runs,
so whoever stops asking has stopped the work, and no lock is needed. ``cancelled`` is asked before
every piece of work, each of which takes some tens of milliseconds at most; when it says True the
generator ends without a final chunk. Chunks may be shown as they come; a later chunk replaces what
earlier ones said about its voxels. The last one is marked ``final``: then all is said.

Order. First the visible extents at full resolution; then the whole box as blocks; then, nearest to
what is visible first, those tiles in which the block answer was not sure.

Exactness. A block whose logits cannot change sign (see blocks.py) is answered as a whole; every
other voxel is evaluated. So the answer can differ from brute force only where the field swings
within one block by more than the block's corners and their neighbours show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.aliases import Mask, Triple
from VoxelFeatLib.segmenting.blocks import BlockBounds
from VoxelFeatLib.segmenting.extent import Chunk, Extent
from VoxelFeatLib.segmenting.graph import Graph, graph_of
from VoxelFeatLib.segmenting.probe import AffineHead

if TYPE_CHECKING:
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.volume import Volume
    from VoxelFeatLib.segmenting.probe import FeatureHead, Head

Array = npt.NDArray[np.float32]

# Blocks are this many voxels long along the axes of the finest spacing.
_BLOCK = 4
# Blocks of a tile along every axis: with the above one tile takes a few milliseconds.
_TILE = 16
# Voxels, lattice points or values (voxels times channels) between two looks at ``cancelled``.
_VOXELS_AT_ONCE = 1 << 22
_POINTS_AT_ONCE = 1 << 18
_VALUES_AT_ONCE = 1 << 23


@dataclass(frozen=True)
class InferenceReport:
    """How much work an answer took.

    Attributes:
        evaluated: Positions at which the field was evaluated, visible extents included.
        total: Voxels of the box.
    """

    evaluated: int
    total: int


class VolumeInference:
    """Masks of one volume under any head. Make a new one when the field has changed.

    Args:
        field: The volume's feature field.
        volume: The volume; its voxels must not change.
        frugality: Pieces of work are so many times smaller, and need as much less memory.

    Raises:
        InputError: The field is of a volume at another place or of another shape.
    """

    def __init__(self, field: FeatureField, volume: Volume, *, frugality: int = 1) -> None:
        if not field.geometry.matches(volume.geometry):
            raise InputError("The field belongs to another volume; choose its own or fit anew.")
        self.field = field
        self.volume = volume
        self.frugality = frugality
        self.whole = Extent.whole(volume.geometry.shape_kji)
        spacing = volume.geometry.spacing[::-1]
        # Blocks are about cubes: fewer voxels along the axis of thick slices.
        k, j, i = (max(1, round(_BLOCK * float(spacing.min() / step))) for step in spacing)
        self.block_kji: Triple = (k, j, i)
        self._graphs: dict[tuple[int, torch.device], Graph] = {}

    def renewed(self, field: FeatureField, *, frugality: int = 1) -> VolumeInference:
        """Return the same for a field that has changed; what depends on the volume alone stays."""
        other = VolumeInference(field, self.volume, frugality=frugality)
        if "_bounds" in self.__dict__:
            other._bounds = self._bounds
        other._graphs = self._graphs
        return other

    def graph(self, most: int) -> Generator[None, None, Graph]:
        """The whole volume as a graph of at most so many nodes; made once a device."""
        key = (most, self.field.device)
        if key not in self._graphs:
            self._graphs[key] = yield from graph_of(self.volume, self.whole, *key)
        return self._graphs[key]

    def masks(
        self,
        head: Head,
        *,
        visible: Sequence[Extent] = (),
        box: Extent | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[Chunk, None, InferenceReport]:
        """Answer the visible extents, then the whole box; see the module's description.

        Args:
            head: The probe.
            visible: What the user looks at; the parts inside the box come first, in this order.
            box: Nothing is evaluated, or said, outside of it. None: the whole volume.
            cancelled: Asked between pieces of work; True ends the generator.

        Returns:
            As the generator's value: how much was evaluated.
        """
        box = self.whole if box is None else box.clipped(self.whole)
        evaluated = 0
        if not box.size:
            return InferenceReport(evaluated, box.size)
        shown = [part for part in (extent.clipped(box) for extent in visible) if part.size]
        for extent in shown:
            mask = np.empty(extent.shape, dtype=bool)
            for piece in self._pieces(extent, head):
                if cancelled():
                    return InferenceReport(evaluated, box.size)
                mask[piece.within(extent)] = self._logits(head, piece) > 0
                evaluated += piece.size
            yield Chunk(extent, mask, final=False)
        if isinstance(head, AffineHead):
            rest = self._blockwise(head, box, shown, cancelled)
        else:
            rest = self._everywhere(head, box, shown, cancelled)
        return InferenceReport(evaluated + (yield from rest), box.size)

    def mask(self, head: Head, box: Extent | None = None) -> tuple[Mask, InferenceReport]:
        """Answer at once: (K, J, I) mask of the whole volume, False outside the box."""
        result = np.zeros(self.whole.shape, dtype=bool)
        steps = self.masks(head, box=box)
        while True:
            try:
                chunk = next(steps)
            except StopIteration as end:
                return result, end.value
            result[chunk.extent.slices] = chunk.mask

    def brute_force(self, head: Head, box: Extent | None = None) -> Mask:
        """Evaluate every voxel: (K, J, I) mask of the whole volume, False outside the box."""
        box = self.whole if box is None else box.clipped(self.whole)
        result = np.zeros(self.whole.shape, dtype=bool)
        for piece in self._pieces(box, head):
            result[piece.slices] = self._logits(head, piece) > 0
        return result

    def logits_at(self, head: Head, ras: npt.ArrayLike) -> Array:
        """Evaluate any positions, (N, 3) RAS mm, such as an oblique plane's: (N,) logits."""
        positions = np.asarray(ras, dtype=np.float64).reshape(-1, 3)
        result = np.empty(len(positions), dtype=np.float32)
        most = self._points_at_once(head)
        for first in range(0, len(positions), most):
            part = slice(first, first + most)
            points = torch.as_tensor(positions[part], dtype=torch.float32, device=self.field.device)
            intensity = self.volume.intensity_at(positions[part])
            if isinstance(head, AffineHead):
                values = _numpy(self.field.project(points, *_folded(head))[:, 0])
                result[part] = values + head.intensity_weight * intensity
                if head.spatial is not None:
                    result[part] += head.spatial.at(positions[part])
            else:
                result[part] = _combined(head, self.field.features(points), intensity)
        return result

    def logits_on(self, head: AffineHead, lattice: Lattice, intensity: Array) -> Array:
        """Evaluate a regular box of positions, (nk, nj, ni), given their intensities in [0, 1]."""
        return self._smooth_part(head, lattice) + head.intensity_weight * intensity

    def mask_at(self, head: Head, ras: npt.ArrayLike) -> Mask:
        """Tell for (N, 3) RAS mm which are in the segment; positions outside the volume are not."""
        positions = np.asarray(ras, dtype=np.float64).reshape(-1, 3)
        result = self.volume.geometry.contains(positions)
        result[result] = self.logits_at(head, positions[result]) > 0
        return result

    # ------------------------------------------------------------------ full resolution

    def _logits(self, head: Head, extent: Extent) -> Array:
        """Logits of every voxel of an extent."""
        lattice = Lattice.of_voxels(extent.start_kji, extent.stop_kji)
        intensity = self.volume.intensity_window(self.volume.voxels[extent.slices])
        if not isinstance(head, AffineHead):
            features = self.field.features_on(lattice).flatten(end_dim=-2)
            return _combined(head, features, intensity.ravel()).reshape(extent.shape)
        intensity *= head.intensity_weight
        intensity += self._smooth_part(head, lattice)
        return intensity

    def _smooth_part(self, head: AffineHead, lattice: Lattice) -> Array:
        """The logit but for the intensity's share, on a box of positions."""
        values = _numpy(self.field.project_on(lattice, *_folded(head))[0])
        return values if head.spatial is None else values + head.spatial.on(lattice)

    def _pieces(self, extent: Extent, head: Head) -> Iterator[Extent]:
        """Cut an extent into slabs that are evaluated at once."""
        most = self._points_at_once(head)
        # Rows first, so that even one slice of many channels stays bounded.
        rows = max(1, most // max(1, extent.shape[2]))
        planes = max(1, rows // max(1, extent.shape[1]))
        yield from _cut(extent, (planes, min(rows, max(1, extent.shape[1])), extent.shape[2]))

    def _points_at_once(self, head: Head) -> int:
        most = _POINTS_AT_ONCE // self.frugality
        if isinstance(head, AffineHead):
            return most
        return min(most, max(1, _VALUES_AT_ONCE // self.frugality // self.field.channels))

    def _everywhere(
        self, head: FeatureHead, box: Extent, shown: Sequence[Extent], cancelled: Callable[[], bool]
    ) -> Generator[Chunk, None, int]:
        """Evaluate every voxel, tile by tile: what is left to do when no bound is known."""
        tile = tuple(_TILE * n for n in self.block_kji)
        tiles = self._nearest_first(list(_cut(box, tile)), box, shown)
        for number, extent in enumerate(tiles, start=1):
            mask = np.empty(extent.shape, dtype=bool)
            for piece in self._pieces(extent, head):
                if cancelled():
                    return 0
                mask[piece.within(extent)] = self._logits(head, piece) > 0
            yield Chunk(extent, mask, number == len(tiles), number / len(tiles))
        return box.size

    # ------------------------------------------------------------------ blocks

    def _blockwise(
        self,
        head: AffineHead,
        box: Extent,
        shown: Sequence[Extent],
        cancelled: Callable[[], bool],
    ) -> Generator[Chunk, None, int]:
        """Answer whole blocks where that is safe, then the voxels of all others."""
        blocks = Extent(
            _per_axis(lambda a, n: a // n, box.start_kji, self.block_kji),
            _per_axis(lambda b, n: -(-b // n), box.stop_kji, self.block_kji),
        )
        start = _per_axis(lambda b, n: b * n, blocks.start_kji, self.block_kji)
        shape = _per_axis(lambda b, _: b + 1, blocks.shape, self.block_kji)
        lattice = Lattice(_reversed(start), _reversed(self.block_kji), shape)
        corners = np.empty(shape, dtype=np.float32)
        for planes, slab in lattice.slabs(_POINTS_AT_ONCE // self.frugality):
            if cancelled():
                return corners.size
            corners[planes] = self._smooth_part(head, slab)
        low, high = self._bounds(corners, head.intensity_weight, blocks.slices)
        unsure = (low <= 0) & (high > 0)
        tiles = self._nearest_first(self._unsure_parts(unsure, blocks, box), box, shown)
        planes_at_once = max(1, _VOXELS_AT_ONCE // math.prod(box.shape[1:]))
        slabs = list(_cut(box, (planes_at_once, *box.shape[1:])))
        for number, extent in enumerate(slabs, start=1):
            if cancelled():
                return corners.size
            mask = self._to_voxels(low + high > 0, blocks, extent)
            final = not tiles and number == len(slabs)
            yield Chunk(extent, mask, final, number / (len(slabs) + len(tiles)))
        for number, extent in enumerate(tiles, start=1):
            if cancelled():
                return corners.size
            mask = self._logits(head, extent) > 0
            fraction = (len(slabs) + number) / (len(slabs) + len(tiles))
            yield Chunk(extent, mask, number == len(tiles), fraction)
        return corners.size + sum(extent.size for extent in tiles)

    @cached_property
    def _bounds(self) -> BlockBounds:
        return BlockBounds(self.volume, self.block_kji)

    def _unsure_parts(self, unsure: Mask, blocks: Extent, box: Extent) -> list[Extent]:
        """The smallest extent, in voxels of the box, around the unsure blocks of every tile."""
        parts = []
        for tile in _cut(Extent.whole(blocks.shape), (_TILE, _TILE, _TILE)):
            inside = unsure[tile.slices]
            if not inside.any():
                continue
            used = [np.flatnonzero(inside.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
            corner = np.add(tile.start_kji, blocks.start_kji)
            first = (corner + [u[0] for u in used]) * self.block_kji
            stop = (corner + [u[-1] + 1 for u in used]) * self.block_kji
            parts.append(Extent.of(first.tolist(), stop.tolist()).clipped(box))
        return parts

    def _to_voxels(self, answers: Mask, blocks: Extent, extent: Extent) -> Mask:
        """Blow block answers up to the voxels of an extent."""
        index = [
            np.arange(a, b) // n - first
            for a, b, n, first in zip(
                extent.start_kji, extent.stop_kji, self.block_kji, blocks.start_kji, strict=True
            )
        ]
        return np.asarray(answers[index[0]][:, index[1]][:, :, index[2]])

    def _nearest_first(
        self, extents: list[Extent], box: Extent, shown: Sequence[Extent]
    ) -> list[Extent]:
        """Sort by the distance in mm from where the visible extents meet."""
        focus = [(a + b) / 2 for a, b in zip(box.start_kji, box.stop_kji, strict=True)]
        for extent in shown:
            for axis, size in enumerate(extent.shape):
                if size == 1:  # a slice says where the user looks along its normal
                    focus[axis] = extent.start_kji[axis] + 0.5
        spacing = self.volume.geometry.spacing[::-1]

        def distance(extent: Extent) -> float:
            middle = (np.array(extent.start_kji) + extent.stop_kji) / 2
            return float(np.linalg.norm((middle - focus) * spacing))

        return sorted(extents, key=distance)


def _combined(head: FeatureHead, features: torch.Tensor, intensity: Array) -> Array:
    return _numpy(head.logits(features, torch.from_numpy(intensity).to(features)))


def _folded(head: AffineHead) -> tuple[torch.Tensor, torch.Tensor]:
    return head.weight[None], torch.tensor([head.bias], dtype=torch.float32)


def _numpy(values: torch.Tensor) -> Array:
    return np.asarray(values.float().cpu().numpy())


def _cut(extent: Extent, size: Sequence[int]) -> Iterator[Extent]:
    """Cut into pieces of at most this size, in array order."""
    starts = (
        range(a, b, n) for a, b, n in zip(extent.start_kji, extent.stop_kji, size, strict=True)
    )
    for start in product(*starts):
        stop = [a + n for a, n in zip(start, size, strict=True)]
        yield Extent.of(start, stop).clipped(extent)


def _per_axis(rule: Callable[[int, int], int], values: Triple, sizes: Triple) -> Triple:
    k, j, i = (rule(a, n) for a, n in zip(values, sizes, strict=True))
    return k, j, i


def _reversed(values: Triple) -> tuple[float, float, float]:
    return float(values[2]), float(values[1]), float(values[0])
