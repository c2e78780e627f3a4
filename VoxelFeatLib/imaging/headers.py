"""What ITK would mend in silence or report in riddles, checked in the file's own header.

ITK replaces a zero NIfTI spacing by 1, turns a negative one into a flip, falls back to another
orientation when the first is sheared, and fills the end of a cut-off NIfTI file, or a MetaImage
file whose compressed voxels are damaged, with rubbish.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import nrrd
import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import GeometryError, InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.geometry import Geometry, largest_cosine

NIFTI_ENDINGS = (".nii", ".nii.gz")
NRRD_ENDINGS = (".nrrd", ".nhdr")
META_ENDINGS = (".mha", ".mhd")
IMAGE_ENDINGS = NIFTI_ENDINGS + NRRD_ENDINGS + META_ENDINGS

_GZIP_MAGIC = b"\x1f\x8b"
_TRAILER_SIZE = 4  # gzip ends with the length of the uncompressed data, modulo 2**32
_COLOUR_OR_COMPLEX = {32: "complex", 128: "RGB", 1792: "complex", 2048: "complex", 2304: "RGBA"}
LARGEST_NIFTI_SHEAR = 1e-3  # cosine between two axes; less is rounding


def check_header(path: Path, *, layers_allowed: bool = False) -> None:
    """Check a NIfTI, NRRD or MetaImage file by its header and its length, without its voxels.

    Args:
        path: The file.
        layers_allowed: Accept several numbers per voxel: layers of segments, colours.

    Raises:
        InputError: It is no such file, is cut off, or is not a scalar 3D image with a spacing.
        GeometryError: Its spacing is not positive or its axes cannot be used.
    """
    name = path.name.lower()
    try:
        if name.endswith(NIFTI_ENDINGS):
            _check_nifti(path, layers_allowed=layers_allowed)
        elif name.endswith(NRRD_ENDINGS):
            _check_nrrd(path, layers_allowed=layers_allowed)
        elif name.endswith(META_ENDINGS):
            _check_meta(path, layers_allowed=layers_allowed)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, OverflowError) as error:
        raise cut_off(path) from error  # the last two: fields that contradict one another


def cut_off(path: Path) -> InputError:
    """Make the error for a file whose end is missing or that is damaged."""
    return InputError(f"{path.name} is damaged or cut off.", "Copy or download it again.")


def check_dimensions(path: Path, sizes: Sequence[int]) -> None:
    """Refuse images that are not 3D; sizes are (i, j, k, ...)."""
    if len(sizes) == 3:
        return
    listed = " x ".join(str(n) for n in sizes)
    hint = (
        "Give one time point or channel of it as a 3D file."
        if len(sizes) > 3
        else "Give the whole stack of slices as one file or as a DICOM folder."
    )
    raise InputError(f"{path.name} is {len(sizes)}D ({listed}), but a 3D volume is needed.", hint)


def check_scalar(path: Path, kind: str) -> None:
    """Refuse images with several numbers per voxel; ``kind`` names what they are, or is empty."""
    if kind:
        raise InputError(
            f"{path.name} has {kind} voxels, but one number per voxel is needed.",
            "Give one channel of it, or its grey values, as a 3D file.",
        )


def _check_spacing(path: Path, spacing: Sequence[float]) -> None:
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        listed = " x ".join(f"{s:g}" for s in spacing)
        raise GeometryError(
            f"{path.name} has the voxel spacing {listed} mm, but every spacing must be positive.",
            "Correct it in the header, for example in Slicer's Volumes module, and save it again.",
        )


def _check_axes(path: Path, axes: np.ndarray) -> None:
    lengths = np.linalg.norm(axes, axis=0)
    if (
        not np.isfinite(axes).all()
        or lengths.min() <= 0
        or abs(np.linalg.det(axes / lengths)) < 1e-3
    ):
        raise GeometryError(
            f"{path.name} has a degenerate direction matrix: its axes do not span three "
            "dimensions.",
            "Correct it in the header, for example in Slicer's Volumes module, and save it again.",
        )


# --- NIfTI


_NIFTI_SIZE = 348  # of the header; NIfTI-2 has 540, and ITK (so Slicer too) does not read it


@dataclass(frozen=True)
class _NiftiHeader:
    sizes: tuple[int, ...]  # without trailing ones beyond the third
    order: str
    datatype: int
    bits: int
    spacing: tuple[float, ...]
    data_at: int
    sform: FloatArray | None  # (3, 4), indices to RAS mm
    has_qform: bool


def _check_nifti(path: Path, *, layers_allowed: bool) -> None:
    header = _nifti_header(path)
    if not layers_allowed:
        check_scalar(path, _COLOUR_OR_COMPLEX.get(header.datatype, ""))
        check_dimensions(path, header.sizes)
    _check_spacing(path, header.spacing)
    if header.sform is not None:
        _check_axes(path, header.sform[:, :3])
        if not header.has_qform:
            _check_perpendicular(path, header.sform[:, :3])
    _check_length(path, header.data_at + math.prod(header.sizes) * header.bits // 8)


def orientation_notes(path: Path, geometry: Geometry) -> tuple[str, ...]:
    """Tell when ITK placed a NIfTI volume by its qform although its sform says otherwise."""
    sform = _nifti_header(path).sform
    if sform is None:
        return ()
    by_sform = Geometry(geometry.shape_kji, np.vstack([sform, [0, 0, 0, 1]]))
    if by_sform.matches(geometry, tolerance=0.1):
        return ()
    return (f"{path.name} has two orientations; its qform was used, as Slicer does.",)


def mark_not_finite(path: Path, voxels: npt.NDArray[Any]) -> None:
    """Set those of the (K, J, I) voxels to NaN that are NaN or infinite in a NIfTI file.

    ITK's NIfTI reader turns them into 0 without a word.
    """
    header = _nifti_header(path)
    kind = {16: "f4", 64: "f8"}.get(header.datatype)
    if kind is None:
        return
    with _opened(path) as file:
        file.seek(header.data_at)
        for slice_ji in voxels:
            raw = np.frombuffer(file.read(slice_ji.size * header.bits // 8), header.order + kind)
            slice_ji[~np.isfinite(raw).reshape(slice_ji.shape)] = np.nan


def _nifti_header(path: Path) -> _NiftiHeader:
    """Read the fields by their byte positions in nifti1.h."""
    with _opened(path) as file:
        header = file.read(_NIFTI_SIZE)
    if len(header) < _NIFTI_SIZE:
        raise cut_off(path)
    order = _nifti_byte_order(path, header)
    count, *sizes = struct.unpack_from(order + "8h", header, 40)
    if not 1 <= count <= 7 or min(sizes[:count]) < 1:
        raise cut_off(path)
    sizes = sizes[:count]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    datatype, bits = struct.unpack_from(order + "2h", header, 70)
    qform_code, sform_code = struct.unpack_from(order + "2h", header, 252)
    sform = np.reshape(struct.unpack_from(order + "12f", header, 280), (3, 4))
    return _NiftiHeader(
        sizes=tuple(sizes),
        order=order,
        datatype=datatype,
        bits=bits,
        spacing=struct.unpack_from(order + "3f", header, 80),
        data_at=int(struct.unpack_from(order + "f", header, 108)[0]),
        sform=sform if sform_code > 0 else None,
        has_qform=qform_code > 0,
    )


def _nifti_byte_order(path: Path, header: bytes) -> str:
    if header[4:7] == b"n+2":
        raise InputError(
            f"{path.name} is a NIfTI-2 file, which VoxelFeat does not read.",
            "Save it as NIfTI-1 or NRRD.",
        )
    for order in "<>":
        if struct.unpack_from(order + "i", header)[0] == _NIFTI_SIZE and header[344:346] == b"n+":
            return order
    raise InputError(f"{path.name} is not a NIfTI file.", "Check that it is the right file.")


def _check_perpendicular(path: Path, axes: np.ndarray) -> None:
    if largest_cosine(axes) > LARGEST_NIFTI_SHEAR:
        raise GeometryError(
            f"{path.name} has axes that are not perpendicular, which NIfTI readers ignore.",
            "Save it as NRRD, or resample it to perpendicular axes, for example in Slicer.",
        )


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    if compressed:
        return cast("IO[bytes]", gzip.open(path))
    return path.open("rb")


def _check_length(path: Path, expected: int) -> None:
    """Compare the length of the (uncompressed) file with what its header promises."""
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
        length = file.seek(0, os.SEEK_END)
        if not compressed:
            if length < expected:
                raise cut_off(path)
            return
        file.seek(-_TRAILER_SIZE, os.SEEK_END)
        promised = struct.unpack("<I", file.read(_TRAILER_SIZE))[0]
    if promised == expected % 2**32:
        return
    # Not what a single complete gzip stream would say: there may be several, or trailing bytes.
    with gzip.open(path) as stream:
        remaining = expected
        while remaining > 0:
            block = stream.read(min(remaining, 1 << 22))
            if not block:
                raise cut_off(path)
            remaining -= len(block)
        stream.read(1)  # raises EOFError where the end of the stream is missing


# --- NRRD


def _check_nrrd(path: Path, *, layers_allowed: bool) -> None:
    try:
        header = nrrd.read_header(str(path))
        sizes = [int(n) for n in header["sizes"]]
    except (nrrd.NRRDError, LookupError, ValueError, StopIteration) as error:
        raise InputError(
            f"{path.name} is not a readable NRRD file.", "Check that it is the right file."
        ) from error
    directions = header.get("space directions")
    is_space = _spatial_axes(header, len(sizes))
    channels = math.prod(n for n, space in zip(sizes, is_space, strict=True) if not space)
    if channels > 1 and not layers_allowed:
        check_scalar(path, f"{channels}-channel")
    check_dimensions(path, [n for n, space in zip(sizes, is_space, strict=True) if space])
    if header.get("spacings") is not None:
        spacings = zip(header["spacings"], is_space, strict=True)
        _check_spacing(path, [float(s) for s, space in spacings if space])
    if directions is not None:
        axes = np.array([d for d in directions if d is not None and not np.isnan(d).all()]).T
        _check_spacing(path, np.linalg.norm(axes, axis=0).tolist())
        _check_axes(path, axes)


def _spatial_axes(header: dict[str, Any], count: int) -> list[bool]:
    """Tell which axes are space; the others are colours, time or layers."""
    directions = header.get("space directions")
    if directions is not None:
        return [axis is not None and not np.isnan(axis).all() for axis in directions]
    kinds = header.get("kinds") or ["domain"] * count
    return [kind in ("domain", "space", "none", "???") for kind in kinds]


# --- MetaImage


def _check_meta(path: Path, *, layers_allowed: bool) -> None:
    fields, data_at = _meta_fields(path)
    try:
        sizes = [int(n) for n in fields["DimSize"].split()]
        kind = fields["ElementType"]
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        spacing = [float(s) for s in fields.get("ElementSpacing", "1 1 1").split()]
        axes = [float(a) for a in fields.get("TransformMatrix", "1 0 0 0 1 0 0 0 1").split()]
        if len(sizes) != int(fields["NDims"]):
            raise ValueError(fields["NDims"])
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path.name} is not a readable MetaImage file.", "Check that it is the right file."
        ) from error
    if channels > 1 and not layers_allowed:
        check_scalar(path, f"{channels}-channel")
    check_dimensions(path, sizes)
    _check_spacing(path, spacing)
    if len(axes) == 9:
        _check_axes(path, np.reshape(axes, (3, 3)))
    expected = math.prod(sizes) * channels * _META_BYTES.get(kind, 1)
    named = fields["ElementDataFile"]
    if named.upper().startswith("LIST") or "%" in named:  # one file for each slice: ITK tells
        return
    data = path if named.upper() == "LOCAL" else path.parent / named
    if not data.is_file():
        raise InputError(
            f"{path.name} keeps its voxels in the file {data.name}, which is not there.",
            "Put both files into one folder.",
        )
    data_at = data_at if data == path else 0
    if fields.get("CompressedData", "").lower() == "true":
        _check_compressed(path, data, data_at, expected)
    elif data.stat().st_size - data_at < expected:
        raise cut_off(path)


def _check_compressed(path: Path, data: Path, data_at: int, expected: int) -> None:
    """Unpack once without keeping anything: zlib's checksum stands at the end."""
    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)
    length = 0
    with data.open("rb") as file:
        file.seek(data_at)
        while not unpacker.eof and (block := file.read(1 << 16)):
            length += len(unpacker.decompress(block))
    if not unpacker.eof or length < expected:
        raise cut_off(path)


_META_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_FLOAT": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_DOUBLE": 8,
}


def _meta_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the header's fields and where the data start."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(1000):  # a header has a few dozen lines; rubbish may have none that ends
            line = file.readline(100_000).decode("latin-1")
            key, equals, value = line.partition("=")
            if not equals:
                break
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                return fields, file.tell()
    raise InputError(
        f"{path.name} is not a readable MetaImage file.", "Check that it is the right file."
    )
