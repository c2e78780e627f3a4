"""SAM 2.1 as a whole, and a volume's slices as it takes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from VoxelFeatLib.backbones.encodings import create_encoding
from VoxelFeatLib.backbones.registry import sam2_input_size
from VoxelFeatLib.backbones.slicing import SliceRenderer
from VoxelFeatLib.backbones.weights.availability import check_packages
from VoxelFeatLib.backbones.weights.catalogue import (
    CATALOGUE,
    find_weights,
    is_checkpoint_path,
    sha256_of,
)
from VoxelFeatLib.errors import WeightsError
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.views import axis_view, slicing_axes
from VoxelFeatLib.imaging.volume import Volume

if TYPE_CHECKING:
    from VoxelFeatLib.evaluation.fields import BackboneChoice


@dataclass(frozen=True)
class Sam:
    """A checkpoint of SAM 2.1, read when it is first needed.

    Args:
        path: The checkpoint.
        encoding: Which view encoding it sees slices in.
        input_size: Side of its square input, pixels.
        device: Where it works.
    """

    path: Path
    encoding: str
    input_size: int
    device: torch.device

    @classmethod
    def chosen(cls, choice: BackboneChoice, name: str = "") -> Sam:
        """Take the checkpoint of a name or path, else of the backbone; nothing is downloaded.

        Raises:
            WeightsError: It, or a package, is not on this machine.
        """
        check_packages("SAM 2.1")
        options = choice.options
        device = choice.device
        size = options.input_size or sam2_input_size(device)
        path = _path_of(name or choice.name)
        return cls(path, options.encoding or "gray", size, device)

    @cached_property
    def settings(self) -> dict[str, object]:
        """What decides its answers."""
        return {
            "weights": sha256_of(self.path),
            "encoding": self.encoding,
            "input_size": self.input_size,
        }

    @cached_property
    def model(self) -> Any:
        """The package's `SAM2VideoPredictor`, a `SAM2Base` too.

        Raises:
            WeightsError: The checkpoint cannot be used.
        """
        # Not before it is asked for: the package takes a second.
        from VoxelFeatLib.backbones.sam2.whole import load_whole  # noqa: PLC0415

        return load_whole(self.path, self.input_size, self.device)


class Slices:
    """The slices of a volume along its first slicing axis, as SAM's input images.

    Args:
        volume: The volume.
        sam: For it.

    Attributes:
        axis: 0 = i, 1 = j, 2 = k.
        shape: Voxels down and across in a slice.
        spacing: Their size down and across, mm.
    """

    def __init__(self, volume: Volume, sam: Sam) -> None:
        from VoxelFeatLib.backbones.sam2.backbone import MEAN, STD  # noqa: PLC0415 - as above

        self.axis = slicing_axes(volume.geometry)[0]
        columns, rows = (axis for axis in range(3) if axis != self.axis)
        sizes, spacing = volume.geometry.shape_kji[::-1], volume.geometry.spacing
        self.shape = (sizes[rows], sizes[columns])
        self.spacing = (float(spacing[rows]), float(spacing[columns]))
        self._geometry = volume.geometry
        encoding = create_encoding(sam.encoding, volume)
        self._renderer = SliceRenderer(volume, encoding, sam.input_size, sam.device)
        self._mean = torch.tensor(MEAN, device=sam.device).view(-1, 1, 1)
        self._std = torch.tensor(STD, device=sam.device).view(-1, 1, 1)

    def image(self, number: int) -> torch.Tensor:
        """Return the normalised input (3, S, S) of the slice through a voxel index."""
        view = axis_view(self._geometry, self.axis, float(number))
        return (self._renderer.image(view) - self._mean) / self._std

    def along(self, mask: Mask) -> Mask:
        """Return a (K, J, I) mask as a view with its slices first: (slices, down, across)."""
        return np.moveaxis(mask, 2 - self.axis, 0)

    def voxels(self, logits: torch.Tensor) -> Mask:
        """Return the (down, across) mask of logits (1, 1, h, w) over a whole slice."""
        fine = functional.interpolate(
            logits.float(), self.shape, mode="bilinear", align_corners=False
        )
        return (fine[0, 0] > 0).cpu().numpy()


def _path_of(name: str) -> Path:
    if is_checkpoint_path(name):
        path: Path | None = Path(name).expanduser()
    elif name in CATALOGUE:
        path = find_weights(CATALOGUE[name])
    else:
        raise WeightsError(
            "It needs a checkpoint of SAM 2.1: choose a backbone of it, or name one with --sam."
        )
    if path is None:
        raise WeightsError(
            f"Its weights are not on this machine: run `voxelfeat weights download {name}`."
        )
    if not path.is_file():
        raise WeightsError(f"There is no checkpoint {path}.")
    return path
