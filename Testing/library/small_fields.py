"""Fields of a few numbers, and what their files hold."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.errors import FieldFileError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.field.nfnet import NFNetwork

LEVELS = (FeatureLevel("stride4", 4, 5), FeatureLevel("stride16", 16, 7))
RECORD = {"settings": {"seed": 3}, "heldout": {"stride4": {"field": {"cosine": 0.5}}}}


def grid_field(geometry, seed=0):
    field = FeatureField(GridNetwork(geometry, LEVELS, (1.0, 2.0), (3, 2)), "filters", "print")
    return filled(field, seed)


def nfnet_field(geometry, seed=0):
    return filled(FeatureField(NFNetwork(geometry, LEVELS, 8, 1, 2), "filters", "print"), seed)


def filled(field, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in field.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return field


def stored(path):
    """All metadata of a file, with the header parsed, and its tensors."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        metadata["voxelfeat"] = json.loads(metadata["voxelfeat"])
        return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rewritten(path, change, *, checksum=False):
    """Write the file again after `change(header values, tensors)`, with its checksum or without."""
    metadata, tensors = stored(path)
    change(metadata["voxelfeat"], tensors)
    metadata["voxelfeat"] = json.dumps(metadata["voxelfeat"])
    if not checksum:
        del metadata["sha256"]
    save_file(tensors, path, metadata=metadata)


def refused(path, volume=None):
    """The message with which a file is refused: one sentence that names it."""
    with pytest.raises(FieldFileError) as caught:
        load_field(path, volume)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message
    return message
