"""SAM-Video-Prop: the noisy mask of the central slice, followed through the slices as a video."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from VoxelFeatLib.evaluation.refinement.methods.slicewise import OnSlices
from VoxelFeatLib.evaluation.refinement.noise import NoisyMask
from VoxelFeatLib.evaluation.refinement.sam.model import Sam
from VoxelFeatLib.evaluation.refinement.sam.video import Video
from VoxelFeatLib.imaging.aliases import Mask

# The video ends so many slices beyond the noisy mask, as the paper's box does.
_MARGIN = 5


class SamVideo(OnSlices):
    """SAM 2's video prediction, both ways from the central slice.

    Args:
        sam: The model.
    """

    name = "sam-video"

    def __init__(self, sam: Sam) -> None:
        super().__init__(sam)
        self.settings["margin"] = _MARGIN

    def refine(self, noisy: NoisyMask) -> Generator[float, None, Mask]:
        """Return what SAM follows; of the central slice itself that is the noisy mask."""
        slices = self.slices
        result = np.zeros(noisy.mask.shape, dtype=bool)
        masks, results = slices.along(noisy.mask), slices.along(result)
        (used,) = np.nonzero(masks.any(axis=(1, 2)))
        numbers = range(
            max(int(used[0]) - _MARGIN, 0), min(int(used[-1]) + _MARGIN + 1, len(masks))
        )
        # The middle of a target in two parts may be empty: then the nearest slice that is not.
        central = int(used[np.abs(used - (used[0] + used[-1]) / 2).argmin()])
        video = Video(self._sam.model, slices, numbers)
        done: set[int] = set()
        for number, mask in video.propagated(central, masks[central]):
            results[number] = mask
            done.add(number)
            yield len(done) / len(numbers)
        return result
