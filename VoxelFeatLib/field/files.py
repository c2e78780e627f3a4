"""Field files: one safetensors file of weights with a JSON header.

The header, under the metadata key "voxelfeat", holds the format version, the kind ("field" or
"checkpoint"), geometry, SHA-256 of the voxels, backbone and its fingerprint, network, and the fit's
record. It is data only: nothing in a file is executed. The metadata key "sha256" holds the checksum
of tensors and header, but for the record.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.errors import FieldFileError, GeometryError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.field.network import FieldNetwork
from VoxelFeatLib.field.nfnet import NFNetwork
from VoxelFeatLib.imaging.atomic import replacing
from VoxelFeatLib.imaging.geometry import Geometry

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.volume import Volume

FORMAT_VERSION = 1
_KEY = "voxelfeat"
_CHECKSUM_KEY = "sha256"
# What reading a damaged header, or one that somebody else wrote, can raise.
_WRONG_VALUES = (
    GeometryError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)

_STORED_TYPES: Mapping[torch.dtype, str] = MappingProxyType(
    {
        torch.float64: "F64",
        torch.float32: "F32",
        torch.float16: "F16",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
)

NETWORKS: Mapping[str, type[FieldNetwork]] = MappingProxyType(
    {"grid": GridNetwork, "nfnet": NFNetwork}
)


@dataclass(frozen=True)
class FieldHeader:
    """What a field file says of itself.

    Attributes:
        kind: "field", or "checkpoint" of an unfinished fit.
        geometry: The volume's.
        volume_sha256: Of the voxels.
        backbone: Name of the backbone.
        fingerprint: The backbone's fingerprint, with the hash of its weights.
        network: Name of the network.
        settings: The network's arguments.
        levels: The backbone's levels.
        record: Preset, seed and results of the fit; free JSON.
    """

    kind: str
    geometry: Geometry
    volume_sha256: str
    backbone: str
    fingerprint: str
    network: str
    settings: dict[str, Any]
    levels: tuple[FeatureLevel, ...]
    record: dict[str, Any]

    def to_json(self) -> str:
        """Return the header as text."""
        return json.dumps(
            {
                "format": FORMAT_VERSION,
                "kind": self.kind,
                "shape_kji": self.geometry.shape_kji,
                "ijk_to_ras": self.geometry.ijk_to_ras.tolist(),
                "volume_sha256": self.volume_sha256,
                "backbone": self.backbone,
                "fingerprint": self.fingerprint,
                "network": self.network,
                "settings": self.settings,
                "levels": jsonable(self.levels),
                "record": self.record,
            }
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FieldHeader:
        """Make the header of parsed text; raises one of `_WRONG_VALUES` where it is none."""
        k, j, i = (int(n) for n in values["shape_kji"])
        return cls(
            kind=str(values["kind"]),
            geometry=Geometry((k, j, i), np.array(values["ijk_to_ras"], dtype=np.float64)),
            volume_sha256=str(values["volume_sha256"]),
            backbone=str(values["backbone"]),
            fingerprint=str(values["fingerprint"]),
            network=str(values["network"]),
            settings=dict(values["settings"]),
            levels=tuple(_level(level) for level in values["levels"]),
            record=dict(values["record"]),
        )


def jsonable(value: Any) -> Any:
    """Return dataclasses, mappings and tuples, at any depth, as JSON reads them back."""
    if is_dataclass(value):
        return {part.name: jsonable(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(part) for part in value]
    return value


def header_of(
    field: FeatureField, volume: Volume, record: dict[str, Any], kind: str = "field"
) -> FieldHeader:
    """Return the header that describes a field of a volume."""
    return FieldHeader(
        kind,
        volume.geometry,
        volume.sha256(),
        field.backbone,
        field.fingerprint,
        field.network.name,
        field.network.settings(),
        field.levels,
        record,
    )


def save_field(path: Path, field: FeatureField, volume: Volume, record: dict[str, Any]) -> None:
    """Write a field file whole, or leave what was there.

    Raises:
        InputError: The disk is full or the folder cannot be written.
    """
    write_tensors(path, field.stored(), header_of(field, volume, record))


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], header: FieldHeader) -> None:
    """Write tensors and header as one safetensors file, under a temporary name first.

    Raises:
        InputError: The disk is full or the folder cannot be written.
    """
    stored = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    text = header.to_json()
    metadata = {_KEY: text, _CHECKSUM_KEY: _checksum(json.loads(text), stored)}
    with replacing(path) as temporary:
        _write(temporary, stored, metadata)


def _write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write the safetensors format.

    The library's own writer makes one more temporary file, which a killed process leaves for ever.
    """
    # Wide numbers first: each then starts at a multiple of its size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        kind = _STORED_TYPES[tensor.dtype]
        entries[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [begin, end]}
    head = json.dumps(entries).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _, tensor in ordered:
            file.write(_bytes(tensor))


def _bytes(tensor: torch.Tensor) -> memoryview:
    """Return what a contiguous tensor holds."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _checksum(values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of header and tensors; the record is free to be edited."""
    kept = {key: value for key, value in values.items() if key != "record"}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def read_header(path: Path) -> FieldHeader:
    """Read only a file's header.

    Raises:
        FieldFileError: Missing, damaged, foreign or newer file.
    """
    return _read(path, tensors=False)[0]


def read_tensors(path: Path) -> tuple[FieldHeader, dict[str, torch.Tensor]]:
    """Read header and tensors; errors as `read_header`."""
    return _read(path, tensors=True)


def load_field(
    path: Path, volume: Volume | None = None, device: torch.device | str = "cpu"
) -> tuple[FeatureField, FieldHeader]:
    """Read a finished field.

    Args:
        path: The field file.
        volume: Where given, the field must be of this very volume.
        device: Where the weights go.

    Raises:
        FieldFileError: Missing, damaged, foreign or newer file, unfinished fit, or another
            volume's field.
    """
    header, tensors = read_tensors(path)
    if header.kind != "field":
        raise FieldFileError(
            f"{path} is the checkpoint of an unfinished fit; "
            "finish it with `voxelfeat fit --resume`."
        )
    if volume is not None:
        check_volume(path, header, volume)
    return build_field(path, header, tensors).to(device), header


def check_volume(path: Path, header: FieldHeader, volume: Volume) -> None:
    """Raise FieldFileError unless the header is of this volume: same place, same voxels."""
    if not header.geometry.matches(volume.geometry):
        raise FieldFileError(
            f"{path} belongs to another volume ({_shape(header.geometry)}, not "
            f"{_shape(volume.geometry)} voxels, or placed elsewhere); "
            "choose its own volume or fit anew."
        )
    if header.volume_sha256 != volume.sha256():
        raise FieldFileError(
            f"{path} belongs to a volume with other voxel values; "
            "choose its own volume or fit anew."
        )


def build_field(
    path: Path, header: FieldHeader, tensors: Mapping[str, torch.Tensor]
) -> FeatureField:
    """Make the field of a header and fill it with tensors; FieldFileError where they do not fit."""
    try:
        network = NETWORKS[header.network](header.geometry, header.levels, **header.settings)
        field = FeatureField(network, header.backbone, header.fingerprint)
        field.load_state_dict(dict(tensors))
    except (*_WRONG_VALUES, RuntimeError) as error:
        raise _damaged(path) from error
    return field.eval().requires_grad_(False)


def _read(path: Path, *, tensors: bool) -> tuple[FieldHeader, dict[str, torch.Tensor]]:
    try:
        if not path.is_file():
            raise FieldFileError(f"There is no field file {path}; fit one with `voxelfeat fit`.")
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            described = _described(path, metadata)
            header = _header(path, described)
            names = list(stored.keys()) if tensors else []
            # Copies: mapped memory is not aligned, and sums over it would round differently.
            values = {name: stored.get_tensor(name).clone() for name in names}
    except SafetensorError as error:
        raise _damaged(path) from error
    except OSError as error:
        raise FieldFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    # Files of before there were checksums have none.
    checksum = metadata.get(_CHECKSUM_KEY) if tensors else None
    if checksum is not None and checksum != _checksum(described, values):
        raise FieldFileError(
            f"{path} is damaged (its contents differ from its checksum); copy it again from where "
            "it came from, or fit it again with `voxelfeat fit`."
        )
    if not all(
        tensor.dtype in _STORED_TYPES and torch.isfinite(tensor).all() for tensor in values.values()
    ):
        raise _damaged(path)
    return header, values


def _described(path: Path, metadata: Mapping[str, str]) -> Any:
    """Return the header's JSON, parsed; it may be anything."""
    text = metadata.get(_KEY)
    if text is None:
        raise FieldFileError(f"{path} is a safetensors file, but not one of VoxelFeat's.")
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except _WRONG_VALUES as error:
        raise _damaged(path) from error


def _finite(text: str) -> float | None:
    """Read a number; None for those that JSON does not have and nobody could write again."""
    value = float(text)
    return value if math.isfinite(value) else None


def _header(path: Path, values: Any) -> FieldHeader:
    try:
        version = int(values["format"])
        if version > FORMAT_VERSION:
            raise FieldFileError(
                f"{path} was written by a newer VoxelFeat (format {version}); "
                "update VoxelFeat to open it."
            )
        return FieldHeader.from_json(values)
    except _WRONG_VALUES as error:
        raise _damaged(path) from error


def _level(values: dict[str, Any]) -> FeatureLevel:
    level = FeatureLevel(**values)
    numbers = (level.stride, level.channels)
    if not isinstance(level.name, str) or not all(isinstance(n, int) and n > 0 for n in numbers):
        raise ValueError(f"not a feature level: {values}")
    return level


def _damaged(path: Path) -> FieldFileError:
    return FieldFileError(
        f"{path} is damaged or not a field file; fit it again with `voxelfeat fit`."
    )


def _shape(geometry: Geometry) -> str:
    return " x ".join(str(n) for n in reversed(geometry.shape_kji))
