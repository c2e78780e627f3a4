"""Backbones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.backbones.encodings import create_encoding
from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.backbones.weights.availability import check_packages
from VoxelFeatLib.backbones.weights.catalogue import CATALOGUE, is_checkpoint_path
from VoxelFeatLib.backbones.weights.download import DownloadSettings, obtain_weights
from VoxelFeatLib.errors import InputError

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.imaging.volume import Volume

# SAM2's own input size where it is fast, and half of it where it is not.
_SAM2_INPUT, _SAM2_INPUT_ON_CPU = 1024, 512


@dataclass(frozen=True)
class BackboneOptions:
    """What a user may choose of a backbone.

    Attributes:
        device: Where it works, and with it all that is made of it: a fit, its field.
        encoding: Name of the view encoding; empty for the backbone's own choice.
        input_size: Side of the square input, pixels; None for the backbone's own choice.
        download: How to load weights that are not on this machine yet; its `cancelled` ends the
            reading of those that are, too.
    """

    device: torch.device | str = "cpu"
    encoding: str = ""
    input_size: int | None = None
    download: DownloadSettings = field(default_factory=DownloadSettings)


BackboneFactory = Callable[["Volume", BackboneOptions], "Backbone"]


def sam2_input_size(device: torch.device) -> int:
    """Return the input size that SAM2 has on a device unless another is wanted, pixels."""
    return _SAM2_INPUT_ON_CPU if device.type == "cpu" else _SAM2_INPUT


def _filters(volume: Volume, options: BackboneOptions) -> Backbone:
    if options.encoding or options.input_size:
        raise InputError(
            "The backbone “filters” has its own windows and input size; leave these options out or "
            "choose another backbone."
        )
    return FilterBackbone.for_volume(volume, options.device)


def _sam2(name: str, volume: Volume, options: BackboneOptions) -> Backbone:
    check_packages(f"The backbone “{name}”")
    # Not before it is asked for: it takes a second, and needs packages that may be missing.
    from VoxelFeatLib.backbones.sam2.backbone import Sam2Backbone  # noqa: PLC0415
    from VoxelFeatLib.backbones.sam2.checkpoints import load_checkpoint  # noqa: PLC0415

    device = torch.device(options.device)
    size = options.input_size or sam2_input_size(device)
    encoding = create_encoding(options.encoding or "gray", volume)
    path, official = Path(name), CATALOGUE.get(name)
    if official is not None:
        path = obtain_weights(official, options.download)
    checkpoint = load_checkpoint(path, official, options.download.cancelled)
    return Sam2Backbone(checkpoint, encoding, size, device)


BACKBONES: Mapping[str, BackboneFactory] = MappingProxyType(
    {"filters": _filters, **{name: partial(_sam2, name) for name in CATALOGUE}}
)


def create_backbone(name: str, volume: Volume, options: BackboneOptions | None = None) -> Backbone:
    """Return the named backbone, set up for a volume (its windows and input size).

    A path of a checkpoint (.pt, .pth, .safetensors) is a name too; the backbone is then called as
    the file. Official weights that are not on this machine are downloaded first.

    Raises:
        InputError: No backbone has that name, or it cannot do what the options ask for.
        WeightsError: Its weights cannot be had or used.
        Cancelled: It was cancelled while weights were downloaded or read.
    """
    options = options or BackboneOptions()
    if is_checkpoint_path(name):
        return _sam2(name, volume, options)
    try:
        factory = BACKBONES[name]
    except KeyError:
        known = ", ".join(BACKBONES)
        raise InputError(
            f"There is no backbone named “{name}”; choose one of: {known}, or the path of a "
            "checkpoint of SAM2."
        ) from None
    return factory(volume, options)
