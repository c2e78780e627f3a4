"""View encodings: how planes of a volume become a backbone's input channels.

A view shows one plane, yet a backbone trained on photographs takes three channels. They can repeat
the plane, show it in three windows, or hold its neighbours too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.views import slicing_axes
from VoxelFeatLib.imaging.windows import CT_WINDOWS, Window, default_windows, percentile_window

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.volume import Volume

# Where soft tissues of MR lie close together, as parts of its whole range.
_MR_WINDOWS = ((0.0, 1.0), (0.0, 0.4), (0.2, 0.7))
# The largest order needs images that can be halved three times.
_LARGEST_ORDER = 4


class Encoding(Protocol):
    """How planes become input channels.

    Attributes:
        name: The registered name.
        fingerprint: Changes whenever the channels would.
        windows: Intensity windows in which every plane is rendered.
        offsets: Planes that are rendered, as steps along the view's normal.
        step: Distance of neighbouring planes, mm.
        channels: Channels that come out.
    """

    name: str
    fingerprint: str
    windows: tuple[Window, ...]
    offsets: tuple[int, ...]
    step: float
    channels: int

    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """Channels (N, channels, S, S) of planes (N, offsets, windows, S, S), both in [0, 1]."""
        ...


class WindowEncoding:
    """The plane itself, once in each window.

    Args:
        name: The registered name.
        windows: One channel each.
        channels: How many are wanted; a single window is repeated.
    """

    offsets: tuple[int, ...] = (0,)
    step: float = 0.0

    def __init__(self, name: str, windows: tuple[Window, ...], channels: int | None = None) -> None:
        self.name = name
        self.windows = windows
        self.channels = channels or len(windows)
        self.fingerprint = f"{name}={_ranges(windows)}"

    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """Channels (N, channels, S, S) of planes (N, 1, windows, S, S)."""
        return planes[:, 0].expand(-1, self.channels, -1, -1)


class FractalEncoding:
    """Fractal volumetric encoding: the plane, those on one side, those on the other.

    Red is the plane, green the 3 k - 2 planes before it and blue those after it, packed into
    super-pixels: nearer planes keep more pixels. Source: BiomedParse-V's fractal volumetric
    encoding of order k.

    Args:
        window: Intensity window.
        order: k; a side holds 3 k - 2 planes.
        step: Distance of neighbouring planes, mm.
    """

    channels: int = 3

    def __init__(self, window: Window, order: int, step: float) -> None:
        self.name = f"fve{order}"
        self.windows: tuple[Window, ...] = (window,)
        self.step = step
        self.fingerprint = f"{self.name}={_ranges(self.windows)};step={step:.12g}"
        self._order = order
        side = 3 * order - 2
        self.offsets = (0, *(-n for n in range(1, side + 1)), *range(1, side + 1))

    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """Channels (N, 3, S, S) of planes (N, 6 k - 3, 1, S, S); S a multiple of 2^(k - 1)."""
        values = planes[:, :, 0]
        side = 3 * self._order - 2
        before, after = values[:, 1 : side + 1], values[:, side + 1 :]
        return torch.stack(
            [values[:, 0], _packed(before, self._order), _packed(after, self._order)], dim=1
        )


def _packed(slices: torch.Tensor, order: int) -> torch.Tensor:
    """Pack slices (N, 3 k - 2, S, S), nearest first, into one image (N, S, S)."""
    if order == 1:
        return slices[:, 0]
    half = torch.nn.functional.avg_pool2d(slices, 2)
    packed = torch.empty_like(slices[:, 0])
    packed[:, 0::2, 0::2] = half[:, 0]
    packed[:, 0::2, 1::2] = half[:, 1]
    packed[:, 1::2, 0::2] = half[:, 2]
    packed[:, 1::2, 1::2] = _packed(half[:, 3:], order - 1)
    return packed


def _gray(volume: Volume) -> Encoding:
    return WindowEncoding("gray", default_windows(volume), channels=3)


def _three_windows(volume: Volume) -> Encoding:
    if volume.modality == "CT":
        return WindowEncoding("windows3", tuple(CT_WINDOWS[w] for w in ("soft", "lung", "bone")))
    full = percentile_window(volume.voxels)
    parts = (
        Window.between(full.low + low * full.width, full.low + high * full.width)
        for low, high in _MR_WINDOWS
    )
    return WindowEncoding("windows3", tuple(parts))


def _fractal(order: int) -> Callable[[Volume], Encoding]:
    def make(volume: Volume) -> Encoding:
        axis = slicing_axes(volume.geometry)[0]
        return FractalEncoding(
            default_windows(volume)[0], order, float(volume.geometry.spacing[axis])
        )

    return make


ENCODINGS: Mapping[str, Callable[[Volume], Encoding]] = MappingProxyType(
    {
        "gray": _gray,
        "windows3": _three_windows,
        **{f"fve{order}": _fractal(order) for order in range(1, _LARGEST_ORDER + 1)},
    }
)


def create_encoding(name: str, volume: Volume) -> Encoding:
    """Return the named encoding, set up for a volume (its windows and spacing).

    Raises:
        InputError: No encoding has that name.
    """
    try:
        factory = ENCODINGS[name]
    except KeyError:
        known = ", ".join(ENCODINGS)
        raise InputError(
            f"There is no view encoding named “{name}”; choose one of: {known}."
        ) from None
    return factory(volume)


def _ranges(windows: tuple[Window, ...]) -> str:
    return ",".join(f"{w.width:.12g}/{w.level:.12g}" for w in windows)
