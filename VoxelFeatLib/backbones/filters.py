"""The embedded backbone: classical multi-scale filters, no download.

Three scales of one pyramid give the three maps. Local features are invariant to rotations and
mirrorings of the slice; the coarsest map also says what its surroundings are made of (soft
histograms of intensity, texture), near and far, and in which direction: views turn by a few degrees
only, so above, below, left and right mean the same in all of them.

A probe is linear, so whatever it is to tell apart must be linear in the features: hence histograms
rather than intensities.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from VoxelFeatLib.backbones.encodings import Encoding, WindowEncoding
from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.imaging.windows import CT_WINDOWS, Window, percentile_window

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.volume import Volume

_VERSION = 2
_STRIDES = (4, 8, 16)
_HISTOGRAM_BINS = 8
# Gaussian reaches (sigma) of what the coarsest map says of the surroundings, as shares of the
# image's side: composition, texture, composition by direction, and how far away the latter is.
_REACHES = (0.045, 0.125)
_TEXTURE_REACH = 0.06
_DIRECTION_REACH = 0.06
_DISTANCES = (0.125, 0.31)
# Cells stay about two voxels wide, as in SAM2's finest map of a 512 x 512 slice, up to the size of
# SAM2's input.
_PIXELS_PER_VOXEL = 2
# A view's image and maps while it is encoded, as copies of the input at four channels.
_WORK_COPIES = 12
_INPUT_STEP, _SMALLEST_INPUT, _LARGEST_INPUT = 64, 128, 1024


class FilterBackbone:
    """Scale space, gradients, Hessian eigenvalues, local deviation, histograms and texture.

    Args:
        windows: Intensity windows; all give means, the first two edges and texture, the first the
            histogram.
        input_size: Side of the square input, pixels, a multiple of 16.
        device: Where it works.
    """

    name = "filters"

    def __init__(
        self, windows: tuple[Window, ...], input_size: int, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.encoding: Encoding = WindowEncoding("windows", windows)
        self.input_size = input_size
        self.fingerprint = f"filters-v{_VERSION};input={input_size};{self.encoding.fingerprint}"
        local = len(windows) + 4 * min(2, len(windows))
        composition = len(_REACHES) * (_HISTOGRAM_BINS + len(windows)) + 2 * min(2, len(windows))
        directions = len(_DISTANCES) * 4 * _HISTOGRAM_BINS
        channels = (local, local + _HISTOGRAM_BINS, local + composition + directions)
        self.levels = tuple(
            FeatureLevel(f"stride{s}", s, c) for s, c in zip(_STRIDES, channels, strict=True)
        )

    @classmethod
    def for_volume(cls, volume: Volume, device: torch.device | str = "cpu") -> FilterBackbone:
        """Choose windows by modality, and an input that gives the finest cells about two voxels."""
        largest = max(volume.geometry.shape_kji)
        steps = math.ceil(_PIXELS_PER_VOXEL * largest / _INPUT_STEP)
        size = min(max(steps * _INPUT_STEP, _SMALLEST_INPUT), _LARGEST_INPUT)
        return cls(_windows_for(volume), size, device)

    def work_bytes(self) -> int:
        """Return the memory that one view needs while it is encoded."""
        return _WORK_COPIES * 4 * self.input_size**2

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of images (N, windows, S, S): three of (N, channels, S/stride, S/stride)."""
        pyramid = [_halve(images)]
        for _ in _STRIDES[1:]:
            pyramid.append(_halve(_smooth(pyramid[-1])))
        fine, middle, coarse = (_halve(_local_features(image)) for image in pyramid)
        histogram = _histogram(pyramid[1])
        middle = torch.cat([middle, _halve(_smooth(histogram))], dim=1)
        coarse = torch.cat([coarse, _surroundings(pyramid, histogram, coarse.shape[-1])], dim=1)
        return [fine, middle, coarse]


def _windows_for(volume: Volume) -> tuple[Window, ...]:
    if volume.modality == "CT":
        return (CT_WINDOWS["soft"], CT_WINDOWS["bone"], CT_WINDOWS["lung"], Window(150, 60))
    full = percentile_window(volume.voxels)
    # The same range, split where soft tissues of MR lie close together.
    dark = Window.between(full.low, full.low + 0.4 * full.width)
    bright = Window.between(full.low + 0.2 * full.width, full.low + 0.7 * full.width)
    return (full, dark, bright)


def _local_features(image: torch.Tensor) -> torch.Tensor:
    """Means of all windows; gradient, Hessian eigenvalues and deviation of the first two."""
    smooth = _smooth(image)
    chosen = smooth[:, :2]
    gx, gy = _difference(chosen, 3), _difference(chosen, 2)
    gradient = (gx.square() + gy.square()).sqrt()
    large, small = _hessian_eigenvalues(gx, gy)
    # Deviation under a window of sigma 1.4 pixels; negative rounding is clamped.
    square = _smooth(_smooth(image[:, :2].square()))
    deviation = (square - _smooth(chosen).square()).clamp(min=0).sqrt()
    return torch.cat([image, gradient, large, small, deviation], dim=1)


def _hessian_eigenvalues(gx: torch.Tensor, gy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    xx, yy, xy = _difference(gx, 3), _difference(gy, 2), _difference(gx, 2)
    middle = (xx + yy) / 2
    spread = (((xx - yy) / 2).square() + xy.square()).sqrt()
    return middle + spread, middle - spread


def _histogram(image: torch.Tensor) -> torch.Tensor:
    """Soft histogram of the first window: hat functions of its values, which sum to one."""
    position = image[:, :1] * (_HISTOGRAM_BINS - 1)
    nodes = torch.arange(_HISTOGRAM_BINS, device=image.device).view(1, -1, 1, 1)
    return (1 - (position - nodes).abs()).clamp(min=0)


def _surroundings(pyramid: list[torch.Tensor], histogram: torch.Tensor, side: int) -> torch.Tensor:
    """What lies around every coarse cell: composition at two reaches, texture, and by direction."""
    size = (side, side)
    composition = functional.adaptive_avg_pool2d(torch.cat([histogram, pyramid[1]], dim=1), size)
    parts = [_blur(composition, reach * side) for reach in _REACHES]
    for image in pyramid[:2]:
        band = (image[:, :2] - _smooth(image[:, :2])).abs()
        parts.append(_blur(functional.adaptive_avg_pool2d(band, size), _TEXTURE_REACH * side))
    neighbours = _blur(composition[:, :_HISTOGRAM_BINS], _DIRECTION_REACH * side)
    for distance in _DISTANCES:
        cells = round(distance * side)
        parts += [_shift(neighbours, step, dim) for dim in (2, 3) for step in (-cells, cells)]
    return torch.cat(parts, dim=1)


def _shift(image: torch.Tensor, cells: int, dim: int) -> torch.Tensor:
    """The value so many cells further along an image axis, the border repeated."""
    last = image.shape[dim] - 1
    index = torch.arange(last + 1, device=image.device) + cells
    return image.index_select(dim, index.clamp(0, last))


def _difference(image: torch.Tensor, dim: int) -> torch.Tensor:
    """Central difference along an image axis, one-sided at the border."""
    return torch.gradient(image, dim=dim)[0]


def _halve(image: torch.Tensor) -> torch.Tensor:
    """Mean of every 2 x 2 block; several times faster than avg_pool2d on a CPU."""
    rows = image[..., ::2, :] + image[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _smooth(image: torch.Tensor) -> torch.Tensor:
    """Binomial blur of sigma 1 pixel (1 4 6 4 1 on both axes), the border repeated.

    Sums of neighbours: convolutions of single channels are an order of magnitude slower on a CPU.
    """
    out = functional.pad(image, [2] * 4, mode="replicate")
    for _ in range(4):
        out = out[..., 1:, :] + out[..., :-1, :]
    for _ in range(4):
        out = out[..., 1:] + out[..., :-1]
    return out / 256


def _blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of small square maps (N, C, G, G), one matrix product an axis."""
    cells = image.shape[-1]
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=image.device)
    weights = torch.exp(-0.5 * (offsets / sigma).square()).to(image.dtype)
    source = (torch.arange(cells, device=image.device)[:, None] + offsets).clamp(0, cells - 1)
    matrix = image.new_zeros(cells, cells)
    matrix.scatter_add_(1, source, (weights / weights.sum()).expand(cells, -1).contiguous())
    return matrix @ image @ matrix.T
