"""SAM 2's video prediction on images that are made one by one, instead of a folder of JPEG files.

The state is the one that `SAM2VideoPredictor.init_state` of sam2 1.1.0 makes.
"""

from __future__ import annotations

import contextlib
import io
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch

from VoxelFeatLib.evaluation.refinement.sam.model import Slices
from VoxelFeatLib.imaging.aliases import Mask

_OBJECT = 1


class Video:
    """Consecutive slices of a volume as a video.

    Args:
        model: A `SAM2VideoPredictor`.
        slices: Of the volume.
        numbers: Which ones.
    """

    def __init__(self, model: Any, slices: Slices, numbers: range) -> None:
        self._model = model
        self._slices = slices
        self._numbers = numbers

    def propagated(self, number: int, prompt: Mask) -> Iterator[tuple[int, Mask]]:
        """Follow a (down, across) mask from a slice to both ends.

        Yields:
            The number of a slice, and its (down, across) mask.
        """
        state = self._state()
        frame = number - self._numbers.start
        self._model.add_new_mask(state, frame, _OBJECT, torch.from_numpy(prompt.copy()))
        for reverse in (False, True):
            steps = self._model.propagate_in_video(state, start_frame_idx=frame, reverse=reverse)
            while True:
                # It has a progress bar of its own, which would run through ours.
                with contextlib.redirect_stderr(io.StringIO()):
                    step = next(steps, None)
                if step is None:
                    break
                yield step[0] + self._numbers.start, self._slices.voxels(step[2])

    def _state(self) -> dict[str, Any]:
        height, width = self._slices.shape
        device = self._model.device
        return {
            "images": _Images(self._slices, self._numbers),
            "num_frames": len(self._numbers),
            "offload_video_to_cpu": False,
            "offload_state_to_cpu": False,
            "video_height": height,
            "video_width": width,
            "device": device,
            "storage_device": device,
            "point_inputs_per_obj": {},
            "mask_inputs_per_obj": {},
            "cached_features": {},
            "constants": {},
            "obj_id_to_idx": OrderedDict(),
            "obj_idx_to_id": OrderedDict(),
            "obj_ids": [],
            "output_dict_per_obj": {},
            "temp_output_dict_per_obj": {},
            "frames_tracked_per_obj": {},
        }


class _Images:
    """What the predictor asks of a tensor of all images, made when asked for."""

    def __init__(self, slices: Slices, numbers: range) -> None:
        self._slices = slices
        self._numbers = numbers

    def __getitem__(self, frame: int) -> torch.Tensor:
        return self._slices.image(self._numbers[frame])
