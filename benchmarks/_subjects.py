"""What is measured: phantoms of any size, backbones by name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from _weights import weights_for

from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.backbones.registry import BackboneOptions, create_backbone
from VoxelFeatLib.imaging.phantom import Phantom, make_phantom
from VoxelFeatLib.imaging.volume import Volume

# What the phantom shows, mm along i, j and k, whatever the number of voxels.
_EXTENT_IJK = (384.0, 384.0, 300.0)


def phantom_of(shape: str) -> Phantom:
    """Make the phantom with voxels such as "512x512x300" along i, j and k; the body is the same."""
    i, j, k = (int(part) for part in shape.split("x"))
    x, y, z = (mm / count for mm, count in zip(_EXTENT_IJK, (i, j, k), strict=True))
    return make_phantom((k, j, i), (x, y, z))


def sizes_of(volume: Volume) -> str:
    """Voxels along i, j and k, for a title."""
    return " x ".join(str(count) for count in reversed(volume.geometry.shape_kji))


@dataclass(frozen=True)
class Choice:
    """A backbone and where it works, as a command line names them.

    Attributes:
        backbone: Its name, or a checkpoint's path.
        device: Where it works.
        input_size: Side of its input, pixels; None for its own choice.
        weights: Random ones in place of its own.
    """

    backbone: str
    device: torch.device
    input_size: int | None = None
    weights: Path | None = None

    def make(self, volume: Volume) -> Backbone:
        """Set the backbone up for a volume."""
        options = BackboneOptions(device=self.device, input_size=self.input_size)
        return create_backbone(str(self.weights or self.backbone), volume, options)

    @property
    def title(self) -> str:
        """For a table."""
        size = f" at {self.input_size}" if self.input_size else ""
        return f"{self.backbone}{size}, {self.device.type}"


def add_backbone_arguments(parser: argparse.ArgumentParser, backbone: str = "filters") -> None:
    """Add --backbone, --input-size, --random-weights and --device."""
    parser.add_argument("--backbone", default=backbone, help="its name, or a checkpoint's path")
    parser.add_argument("--input-size", type=int, help="side of the backbone's input, pixels")
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="a checkpoint of random numbers instead: as fast, and needs no download",
    )
    parser.add_argument("--device", default="cpu")


@contextmanager
def chosen(arguments: argparse.Namespace) -> Iterator[Choice]:
    """Read those arguments; random weights exist until the block ends."""
    with weights_for(arguments.backbone, wanted=arguments.random_weights) as weights:
        device = torch.device(arguments.device)
        yield Choice(arguments.backbone, device, arguments.input_size, weights)
