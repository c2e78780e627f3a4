"""Backbones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.errors import InputError

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.imaging.volume import Volume

BackboneFactory = Callable[["Volume"], "Backbone"]

BACKBONES: Mapping[str, BackboneFactory] = MappingProxyType({"filters": FilterBackbone.for_volume})


def create_backbone(name: str, volume: Volume) -> Backbone:
    """Return the named backbone, set up for a volume (its windows and input size).

    Raises:
        InputError: No backbone has that name.
    """
    try:
        factory = BACKBONES[name]
    except KeyError:
        known = ", ".join(sorted(BACKBONES))
        raise InputError(f"There is no backbone named “{name}”; choose one of: {known}.") from None
    return factory(volume)
