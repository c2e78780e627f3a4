"""SAM2 checkpoints: the official files, and fine-tuned ones of the same shape."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from VoxelFeatLib.backbones.sam2.model import ARCHITECTURES, Architecture, Encoder
from VoxelFeatLib.backbones.sam2.undrawn import Undrawn
from VoxelFeatLib.backbones.weights.catalogue import CATALOGUE, OfficialWeights, sha256_of
from VoxelFeatLib.errors import Cancelled, NotEnoughMemoryError, WeightsError, is_out_of_memory

_log = logging.getLogger(__name__)

# Where the official files, and those of common trainers, keep the weights.
_CONTAINERS = ("model", "state_dict")
# The first weight of every SAM2 encoder; what stands before it, stands before all.
_FIRST = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")
_DECODER = "sam_mask_decoder."
_NO_ENCODER = "it has no weights of SAM2's image encoder"
_SHAPED = "Choose a checkpoint of SAM2 or SAM2.1, such as its authors' or one fine-tuned from it."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An encoder with the weights of a file.

    Attributes:
        name: The official name of the file's bytes; else the file's own, without its ending.
        architecture: Name of the encoder's size.
        sha256: SHA-256 of the file, in hexadecimal.
        encoder: On the CPU, float32, for evaluation.
    """

    name: str
    architecture: str
    sha256: str
    encoder: Encoder


def load_checkpoint(
    path: Path,
    official: OfficialWeights | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Checkpoint:
    """Read a checkpoint; its size is told from the weights' shapes.

    A file has a dict of weights, alone or under "model" or "state_dict", or is a safetensors file.
    No code in it is run.

    Args:
        path: The file.
        official: What it has to be; None for a checkpoint of whomever.
        cancelled: Asked now and then: after some megabytes, after every weight.

    Raises:
        Cancelled: The caller does not want it any more.
        WeightsError: The file is missing, damaged, foreign, or has numbers that are
            not finite or all zero.
    """
    try:
        path = path.expanduser()
        sha256 = sha256_of(path, cancelled)
    except (OSError, ValueError, RuntimeError) as error:  # of a name that no file can have, too
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(
            f"The checkpoint {path} cannot be read ({reason}): choose another."
        ) from error
    if official is not None and official.sha256 != sha256:
        raise WeightsError(
            f"{path} is not the official {official.file} (its SHA-256 differs): remove it, and it "
            "is downloaded again; a checkpoint of your own is chosen by its path."
        )
    weights = _encoder_weights(read_weights(path), path, cancelled)
    architecture = architecture_of(weights, path)
    encoder = _made(architecture, weights, path)
    return Checkpoint(_name_of(path, sha256), architecture.name, sha256, encoder)


def _name_of(path: Path, sha256: str) -> str:
    for weights in CATALOGUE.values():
        if weights.sha256 == sha256:
            return weights.name
    if any(path.name == weights.file for weights in CATALOGUE.values()):
        _log.warning("%s has an official file's name, but other weights.", path)
    # No other weights take an official name, whatever their file is called.
    return f"{path.stem}-{sha256[:8]}" if path.stem in CATALOGUE else path.stem


def read_weights(path: Path) -> Mapping[str, Any]:
    """Return all weights of a checkpoint by their names there; no code in it is run.

    Raises:
        WeightsError: It has no dict of weights.
        NotEnoughMemoryError: It does not fit into memory.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        # Zip archives are mapped: optimisers' states of hundreds of megabytes are never read.
        mapped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped or None)
    except Exception as error:  # a foreign file may fail in any way
        if is_out_of_memory(error):
            raise NotEnoughMemoryError(
                f"There is too little free memory to read {path}; close other programs."
            ) from error
        raise _unreadable(path, error) from error
    if not isinstance(content, Mapping):
        raise _foreign(path, f"it holds a {type(content).__name__}, not weights by name")
    for key in _CONTAINERS:
        if isinstance(inner := content.get(key), Mapping):
            return inner
    return content


def _unreadable(path: Path, error: Exception) -> WeightsError:
    reason = str(error).lower()
    if "unsupported global" in reason or "unsupported class" in reason:
        return WeightsError(
            f"The checkpoint {path} holds Python objects besides its weights, which are not run: "
            "ask its authors for the weights alone, such as a safetensors file."
        )
    return WeightsError(
        f"{path} is damaged, or no checkpoint: {_expected_size(path)}download or copy it again."
    )


def _expected_size(path: Path) -> str:
    """Say where an official file's name has another size; else nothing."""
    size = path.stat().st_size
    for weights in CATALOGUE.values():
        if weights.file == path.name and weights.bytes != size:
            return f"it has {size} bytes, the official {path.name} has {weights.bytes}; "
    return ""


def _foreign(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"{path} is no checkpoint of SAM2: {reason}.", _SHAPED)


def _encoder_weights(
    content: Mapping[str, Any], path: Path, cancelled: Callable[[], bool]
) -> dict[str, torch.Tensor]:
    """Return the encoder's weights by the names that they have in `Encoder`, as float32."""
    first = next((str(key) for key in content if str(key).endswith(_FIRST)), None)
    if first is None:
        raise _foreign(path, _NO_ENCODER)
    prefix = first.removesuffix(_FIRST)
    wanted = (f"{prefix}image_encoder.", f"{prefix}{_DECODER}conv_s")
    weights = {}
    for key, value in content.items():
        if not str(key).startswith(wanted):
            continue
        if cancelled():
            raise Cancelled
        if not _has_numbers(value):
            raise _foreign(path, f"“{key}” is no tensor of numbers")
        value = value.float()  # noqa: PLW2901 - what is checked is what is used
        if not torch.isfinite(value).all():
            raise WeightsError(
                f"The checkpoint {path} has weights that are not finite (“{key}”): it is damaged, "
                "or its training failed; choose another."
            )
        weights[str(key).removeprefix(prefix).removeprefix(_DECODER)] = value
    if not any(value.any() for value in weights.values()):
        raise WeightsError(
            f"The checkpoint {path} has weights that are all zero, with which all images look the "
            "same: choose another."
        )
    return weights


def _has_numbers(value: object) -> bool:
    """Tell whether it is a tensor as weights are: not sparse, and not without its numbers."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return False
    return value.layout is torch.strided and not value.is_meta


def architecture_of(weights: Mapping[str, torch.Tensor], path: Path) -> Architecture:
    """Recognise a size by its first channels and its number of blocks.

    Raises:
        WeightsError: No size has so many, or these are not SAM2's weights.
    """
    if _FIRST not in weights:
        raise _foreign(path, _NO_ENCODER)
    channels = next(iter(weights[_FIRST].shape), 0)
    blocks = 1 + max((int(m[1]) for key in weights if (m := _BLOCK.match(key))), default=-1)
    for architecture in ARCHITECTURES.values():
        if (architecture.channels, sum(architecture.stages)) == (channels, blocks):
            return architecture
    raise _foreign(path, f"its encoder has {channels} channels and {blocks} blocks, as no size has")


def _made(architecture: Architecture, weights: Mapping[str, torch.Tensor], path: Path) -> Encoder:
    with Undrawn():  # the weights replace all of its numbers
        encoder = Encoder(architecture)
    expected = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    for name, shape in expected.items():
        if name not in weights:
            raise _foreign(path, f"the weight “{name}” is missing")
        if weights[name].shape != shape:
            found = tuple(weights[name].shape)
            raise _foreign(path, f"the weight “{name}” is {found} instead of {tuple(shape)}")
    if unknown := sorted(set(weights) - set(expected)):
        raise _foreign(path, f"the weight “{unknown[0]}” is not SAM2's")
    encoder.load_state_dict(dict(weights))
    return encoder.requires_grad_(False).eval()
