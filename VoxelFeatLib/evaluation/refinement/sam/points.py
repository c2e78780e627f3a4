"""Point prompts from a noisy mask, for one slice.

The paper says: positive inside, negative near edges. Our reading: the noisy border may be half a
coarse voxel off, so positive points keep that far inside where they can, and negative ones lie
about a coarse voxel outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, label

from VoxelFeatLib.imaging.aliases import FloatArray, Mask

_MOST_POSITIVE, _MOST_NEGATIVE = 5, 8
# Negative points lie so far outside, in coarse voxels.
_BAND = (0.75, 1.25)
_EIGHT_NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True, eq=False)
class Prompt:
    """Points for one part of a slice.

    Attributes:
        points: (N, 2) pixels down and across, whole numbers at their centres.
        positive: (N,) whether they are inside.
    """

    points: npt.NDArray[np.int64]
    positive: npt.NDArray[np.bool_]


def prompts(mask: Mask, spacing: tuple[float, float], coarse_mm: float) -> list[Prompt]:
    """Return a prompt for each connected part of a (down, across) mask.

    Args:
        mask: Of the slice.
        spacing: Of its pixels down and across, mm.
        coarse_mm: Edge of the coarse voxels.
    """
    parts, count = label(mask, _EIGHT_NEIGHBOURS)
    outside: FloatArray = distance_transform_edt(~mask, sampling=spacing)
    low, high = (share * coarse_mm for share in _BAND)
    band = (outside >= low) & (outside <= high)
    found = []
    for number in range(1, count + 1):
        part = parts == number
        inside = _inside(part, spacing, coarse_mm)
        near: FloatArray = distance_transform_edt(~part, sampling=spacing)
        around = _spread(np.argwhere(band & (near <= high)), spacing)
        points = np.concatenate([inside, around])
        found.append(Prompt(points, np.arange(len(points)) < len(inside)))
    return found


def _inside(part: Mask, spacing: tuple[float, float], coarse_mm: float) -> npt.NDArray[np.int64]:
    """The deepest point, then points that are deep and far from those before."""
    padded = distance_transform_edt(np.pad(part, 1), sampling=spacing)
    depth: FloatArray = padded[1:-1, 1:-1]
    pixels = np.argwhere(part)
    deep = depth[part]
    chosen = [int(deep.argmax())]
    worth = deep.copy()
    while len(chosen) < _MOST_POSITIVE:
        worth = np.minimum(worth, _distances(pixels, pixels[chosen[-1]], spacing) / 2)
        best = int(worth.argmax())
        if worth[best] < coarse_mm / 2:
            break
        chosen.append(best)
    return pixels[chosen]


def _spread(pixels: npt.NDArray[np.int64], spacing: tuple[float, float]) -> npt.NDArray[np.int64]:
    """Of some pixels those that are the farthest from each other, one after the other."""
    if not len(pixels):
        return pixels
    chosen = [0]
    far = np.full(len(pixels), np.inf)
    while len(chosen) < min(_MOST_NEGATIVE, len(pixels)):
        far = np.minimum(far, _distances(pixels, pixels[chosen[-1]], spacing))
        chosen.append(int(far.argmax()))
    return pixels[chosen]


def _distances(
    pixels: npt.NDArray[np.int64], pixel: npt.NDArray[np.int64], spacing: tuple[float, float]
) -> FloatArray:
    return np.asarray(np.linalg.norm((pixels - pixel) * np.array(spacing), axis=1))
