"""Writing volumes, labelmaps and segmentations; every file is written whole or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import SimpleITK

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Color, Mask
from VoxelFeatLib.imaging.atomic import replacing
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.headers import LARGEST_NIFTI_SHEAR, NIFTI_ENDINGS, check_header
from VoxelFeatLib.imaging.itk import image_of
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.imaging.volume import Volume

SEGMENTATION_ENDING = ".seg.nrrd"
WRITABLE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")

# Slicer's own default when it makes a segment, so that its terminology column is not empty.
_TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Anatomic codes - DICOM master list~^^~^^"
)

# Masks are so regular that more effort costs seconds and saves little.
_COMPRESSION_LEVEL = 3


@dataclass(frozen=True, eq=False)
class SegmentMask:
    """One segment as Slicer knows it; segments may overlap.

    Attributes:
        name: What the user calls it.
        mask: (K, J, I) bool.
        color: Red, green, blue in 0 to 1.
        terminology: Slicer's terminology entry (categories and types divided by ``~``), or None
            for Slicer's default, "Tissue".
    """

    name: str
    mask: Mask
    color: Color = (0.5, 0.5, 0.5)
    terminology: str | None = None


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume as NIfTI, NRRD or MHA, by the ending of ``path``.

    Raises:
        InputError: The ending is unknown, the format cannot hold the geometry, or the file cannot
            be written.
    """
    target = _checked_target(path, volume.geometry)
    image = image_of(volume.voxels, volume.geometry)
    image.SetMetaData("modality", volume.modality)  # kept by NRRD and MHA
    _write_image(target, image)


def write_labelmap(path: str | Path, labels: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write (K, J, I) labels (bool or non-negative integers) as NIfTI, NRRD or MHA, compressed.

    Raises:
        InputError: The labels are negative or not of the geometry's shape, the ending is unknown,
            the format cannot hold the geometry, or the file cannot be written.
    """
    target = _checked_target(path, geometry)
    _check_shape(labels.shape, geometry)
    highest = int(labels.max())
    if int(labels.min()) < 0:
        raise InputError("A labelmap cannot hold negative labels.")
    _write_image(target, image_of(labels.astype(_label_type(highest), copy=False), geometry))


def write_colors(path: str | Path, colors: npt.NDArray[np.uint8], geometry: Geometry) -> None:
    """Write (K, J, I, 3) red, green, blue as an image that Slicer opens as a colour volume.

    Raises:
        InputError: The colours are not of the geometry's shape, the ending is unknown, the format
            cannot hold the geometry, or the file cannot be written.
    """
    target = _checked_target(path, geometry)
    _check_shape(colors.shape[:3], geometry)
    _write_image(target, image_of(colors, geometry))


def write_segmentation(
    path: str | Path, segments: Sequence[SegmentMask], geometry: Geometry
) -> None:
    """Write segments as ``.seg.nrrd``, which Slicer opens with their names and colours.

    Segments that overlap go to different layers, as few as a greedy choice finds. The keys are
    those of Slicer's vtkMRMLSegmentationStorageNode.

    Raises:
        InputError: The ending is not ``.seg.nrrd``, a mask is not of the geometry's shape, or the
            file cannot be written.
    """
    target = Path(path)
    if not target.name.lower().endswith(SEGMENTATION_ENDING):
        raise InputError(f"A segmentation needs the ending {SEGMENTATION_ENDING}, not {target}.")
    for segment in segments:
        _check_shape(segment.mask.shape, geometry)
    layers, layer_of = _layers(segments, geometry)
    with replacing(target) as temporary, temporary.open("wb") as file:
        lines = [
            *_nrrd_fields(layers, geometry),
            *_segmentation_keys(geometry),
            *_segment_keys(segments, layer_of),
        ]
        file.write(("\n".join(lines) + "\n\n").encode(errors="replace"))
        _write_gzip(file, layers)


def _checked_target(path: str | Path, geometry: Geometry) -> Path:
    target = Path(path)
    if not target.name.lower().endswith(WRITABLE_ENDINGS):
        raise InputError(
            f"{target.name} has an ending that VoxelFeat cannot write.",
            f"Use one of {', '.join(WRITABLE_ENDINGS)}.",
        )
    if target.name.lower().endswith(NIFTI_ENDINGS) and geometry.shear > LARGEST_NIFTI_SHEAR:
        raise InputError(  # ITK would straighten the axes and shift the image without a word
            f"Cannot write {target}: NIfTI does not keep axes that are not perpendicular.",
            "Write .nrrd instead.",
        )
    return target


def _write_image(target: Path, image: SimpleITK.Image) -> None:
    compressed = target.suffix.lower() != ".nii"
    with replacing(target) as temporary:
        try:
            SimpleITK.WriteImage(image, str(temporary), useCompression=compressed)
            check_header(temporary, layers_allowed=True)  # ITK does not tell when the disk is full
        except (RuntimeError, InputError) as error:
            raise InputError(f"Cannot write {target}: the disk may be full.") from error


def _check_shape(shape: tuple[int, ...], geometry: Geometry) -> None:
    if shape != geometry.shape_kji:
        raise InputError(f"A mask has shape {shape}, but the geometry says {geometry.shape_kji}.")


def _label_type(highest: int) -> type[np.unsignedinteger[Any]]:
    if highest <= 255:
        return np.uint8
    return np.uint16 if highest <= 65535 else np.uint32


def _layers(
    segments: Sequence[SegmentMask], geometry: Geometry
) -> tuple[npt.NDArray[Any], list[int]]:
    """Return (K, J, I, layers) labels, segment n as n + 1, and the layer of each segment."""
    kind = _label_type(len(segments))
    layers: list[npt.NDArray[Any]] = []
    layer_of = []
    for label, segment in enumerate(segments, start=1):
        mask = np.asarray(segment.mask, dtype=bool)
        chosen = next((n for n, layer in enumerate(layers) if not layer[mask].any()), len(layers))
        if chosen == len(layers):
            layers.append(np.zeros(geometry.shape_kji, dtype=kind))
        layers[chosen][mask] = label
        layer_of.append(chosen)
    if len(layers) > 1:
        return np.stack(layers, axis=-1), layer_of
    return (layers[0] if layers else np.zeros(geometry.shape_kji, dtype=kind))[..., None], layer_of


def _nrrd_fields(layers: npt.NDArray[Any], geometry: Geometry) -> Iterator[str]:
    """Yield the header; the fastest axis is the layer, and left out when there is only one."""
    *shape_kji, count = layers.shape
    spacing, origin, direction = geometry.to_lps()
    columns = np.reshape(direction, (3, 3)) * spacing
    several = count > 1
    kinds = ["list"] * several + ["domain"] * 3
    sizes = [count] * several + shape_kji[::-1]
    directions = ["none"] * several + [_vector(column) for column in columns.T.tolist()]
    yield "NRRD0004"
    yield f"type: {'unsigned char' if layers.itemsize == 1 else 'unsigned short'}"
    yield f"dimension: {len(sizes)}"
    yield "space: left-posterior-superior"
    yield f"sizes: {' '.join(map(str, sizes))}"
    yield f"space directions: {' '.join(directions)}"
    yield f"kinds: {' '.join(kinds)}"
    yield "endian: little"
    yield "encoding: gzip"
    yield f"space origin: {_vector(origin)}"


def _vector(numbers: Sequence[float]) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"


def _segmentation_keys(geometry: Geometry) -> Iterator[str]:
    numbers = [repr(number) for number in geometry.ijk_to_ras.ravel().tolist()]
    for size in geometry.shape_kji[::-1]:
        numbers += ["0", str(size - 1)]
    reference = "".join(f"{number};" for number in numbers)
    yield "Segmentation_MasterRepresentation:=Binary labelmap"
    yield "Segmentation_ContainedRepresentationNames:=Binary labelmap|"
    yield "Segmentation_ReferenceImageExtentOffset:=0 0 0"
    # Without it Slicer would crop the segmentation to its segments when it saves it again.
    yield (
        "Segmentation_ConversionParameters:="
        f"Reference image geometry|{reference}|Geometry of the labelmaps&"
    )


def _segment_keys(segments: Sequence[SegmentMask], layer_of: Sequence[int]) -> Iterator[str]:
    for n, (segment, layer) in enumerate(zip(segments, layer_of, strict=True)):
        terminology = _one_line(segment.terminology or _TISSUE).replace("|", " ")
        yield f"Segment{n}_ID:=Segment_{n + 1}"
        yield f"Segment{n}_Name:={_one_line(segment.name)}"
        yield f"Segment{n}_NameAutoGenerated:=0"
        yield f"Segment{n}_Color:={' '.join(f'{part:.6g}' for part in segment.color)}"
        yield f"Segment{n}_ColorAutoGenerated:=0"
        yield f"Segment{n}_LabelValue:={n + 1}"
        yield f"Segment{n}_Layer:={layer}"
        yield f"Segment{n}_Extent:={' '.join(map(str, _extent(segment.mask)))}"
        yield f"Segment{n}_Tags:=TerminologyEntry:{terminology}|"


def _one_line(text: str) -> str:
    # A line break would end the key, and NRRD reads a backslash as an escape.
    return " ".join(text.split()).replace("\\", "/")


def _extent(mask: Mask) -> list[int]:
    """Return first and last set index along i, j, k; 0 -1 each when the mask is empty."""
    box = bounding_box(mask)
    if box is None:
        return [0, -1] * 3
    return [index for part in reversed(box) for index in (part.start, part.stop - 1)]


def _write_gzip(file: BinaryIO, voxels: npt.NDArray[Any]) -> None:
    """Compress slice by slice, so that a large segmentation is never held twice."""
    packer = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    little_endian = voxels.dtype.newbyteorder("<")
    slices = (np.ascontiguousarray(slice_ji, dtype=little_endian) for slice_ji in voxels)
    file.writelines(packer.compress(slice_ji.data) for slice_ji in slices)
    file.write(packer.flush())
