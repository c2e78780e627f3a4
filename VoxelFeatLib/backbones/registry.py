"""Backbones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.errors import InputError

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.imaging.volume import Volume


@dataclass(frozen=True)
class BackboneOptions:
    """What a user may choose of a backbone.

    Attributes:
        device: Where it works.
        encoding: Name of the view encoding; empty for the backbone's own choice.
        input_size: Side of the square input, pixels; None for the backbone's own choice.
        weights: A checkpoint to use instead of the one that the name stands for.
    """

    device: torch.device | str = "cpu"
    encoding: str = ""
    input_size: int | None = None
    weights: Path | None = None


BackboneFactory = Callable[["Volume", BackboneOptions], "Backbone"]


def _filters(volume: Volume, options: BackboneOptions) -> Backbone:
    if options.encoding or options.input_size or options.weights:
        raise InputError(
            "The backbone “filters” has its own windows and input size, and no weights; "
            "leave these options out or choose another backbone."
        )
    return FilterBackbone.for_volume(volume)


BACKBONES: Mapping[str, BackboneFactory] = MappingProxyType({"filters": _filters})


def create_backbone(name: str, volume: Volume, options: BackboneOptions | None = None) -> Backbone:
    """Return the named backbone, set up for a volume (its windows and input size).

    Raises:
        InputError: No backbone has that name, or it cannot do what the options ask for.
    """
    try:
        factory = BACKBONES[name]
    except KeyError:
        known = ", ".join(sorted(BACKBONES))
        raise InputError(f"There is no backbone named “{name}”; choose one of: {known}.") from None
    return factory(volume, options or BackboneOptions())
