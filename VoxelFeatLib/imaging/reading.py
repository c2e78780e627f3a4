"""Reading volumes, labelmaps and segmentations, with one clear sentence for every bad input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Color
from VoxelFeatLib.imaging.dicom import read_folder
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.headers import (
    IMAGE_ENDINGS,
    NIFTI_ENDINGS,
    check_dimensions,
    check_header,
    check_scalar,
    cut_off,
    mark_not_finite,
    orientation_notes,
)
from VoxelFeatLib.imaging.itk import geometry_of
from VoxelFeatLib.imaging.palette import SEGMENT_COLORS
from VoxelFeatLib.imaging.volume import Volume, guess_modality
from VoxelFeatLib.imaging.voxel_types import as_voxel_type, count_not_finite, voxel_type_for
from VoxelFeatLib.imaging.writing import SEGMENTATION_ENDING, SegmentMask


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integer labels on a grid, 0 is background.

    Attributes:
        labels: (K, J, I) uint8, uint16 or uint32.
        geometry: Where the voxels are.
        names: Name of every segment, or of every label that is present ("Label 5").
        colors: Red, green, blue in 0 to 1 of the labels that have one in the file.
        notes: What a user should know about how it was read, one sentence each.
    """

    labels: npt.NDArray[Any]
    geometry: Geometry
    names: dict[int, str]
    colors: dict[int, Color] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_volume(
    path: str | Path, *, series: str | None = None, fill: float | None = None
) -> Volume:
    """Read a scalar volume from NIfTI, NRRD, MHA/MHD, or a folder of DICOM slices.

    Args:
        path: The file or folder.
        series: Which series of a DICOM folder: its SeriesInstanceUID, description or number.
        fill: Replaces voxels that are NaN or infinite.

    Raises:
        InputError: The file is missing, damaged, of another kind, not 3D, has several numbers per
            voxel, no usable geometry, or voxels that are not finite and no ``fill``.
    """
    path = Path(path)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where one may not look
        _check_name(path)
        return read_folder(path, series)
    if series is not None:
        raise InputError(
            f"{path.name} is a single file, so there is no series to choose.",
            "Give the DICOM folder, or leave the series out.",
        )
    reader = _checked_reader(path)
    image = _execute(path, reader)
    voxels = _as_voxel_type(_array(path, image))
    geometry = geometry_of(image)
    del image  # the voxels are ours now
    voxels, notes = _finite(path, voxels, fill)
    if _is_nifti(path):
        notes += orientation_notes(path, geometry)
    return Volume(voxels, geometry, guess_modality(voxels, _modality(reader)), _stem(path), notes)


def read_labelmap(path: str | Path) -> LabelMap:
    """Read labels from a NIfTI, NRRD or MHA labelmap, or from a ``.seg.nrrd`` segmentation.

    Overlapping segments cannot all be kept in one map: the later one wins, and a note says so.

    Raises:
        InputError: As ``read_volume``; or the voxels are negative or not whole numbers.
    """
    path = Path(path)
    reader = _checked_reader(path, layers_allowed=True)
    if _segment_count(reader) or reader.GetNumberOfComponents() > 1:
        return _merged(path, *_read_segments(path, reader))
    image = _execute(path, reader)
    labels = _as_labels(path, _array(path, image))
    names = {label: f"Label {label}" for label in _present(labels)}
    return LabelMap(labels, geometry_of(image), names)


def read_segmentation(path: str | Path) -> tuple[tuple[SegmentMask, ...], Geometry]:
    """Read every segment of a ``.seg.nrrd``, or every label of a labelmap, as its own mask.

    Raises:
        InputError: As ``read_labelmap``.
    """
    path = Path(path)
    reader = _checked_reader(path, layers_allowed=True)
    if _segment_count(reader):
        segments, geometry, _ = _read_segments(path, reader)
        return segments, geometry
    label_map = read_labelmap(path)
    masks = tuple(
        SegmentMask(name, label_map.labels == label, color)
        for (label, name), color in zip(label_map.names.items(), cycle(SEGMENT_COLORS))
    )
    return masks, label_map.geometry


def _checked_reader(path: Path, *, layers_allowed: bool = False) -> SimpleITK.ImageFileReader:
    """Return a reader that has read the header of a usable image."""
    _check_file(path)
    is_segmentation = layers_allowed and path.name.lower().endswith(SEGMENTATION_ENDING)
    check_header(path, layers_allowed=is_segmentation)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise cut_off(path) from error
    check_dimensions(path, reader.GetSize())
    if not is_segmentation:
        components = reader.GetNumberOfComponents()
        check_scalar(path, f"{components}-channel" if components > 1 else "")
    geometry_of(reader)
    return reader


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # ITK would end the whole process
        raise InputError(
            f"The path {path} has bytes that are no text.", "Rename the file or folder."
        ) from error


def _check_file(path: Path) -> None:
    _check_name(path)
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
        if not path.is_file():
            raise InputError(f"{path} is not a file.", "Give an image file.")
        with path.open("rb") as file:
            start = file.read(132)
    except OSError as error:  # a folder that may not be entered, a name too long
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if not start:
        raise InputError(f"{path.name} is empty.", "Copy or download it again.")
    if start[128:] == b"DICM":
        raise InputError(
            f"{path.name} is a single DICOM slice or object.",
            "Give the folder that holds all slices of the series.",
        )
    if not path.name.lower().endswith(IMAGE_ENDINGS):
        raise InputError(
            f"{path.name} is not an image that VoxelFeat reads.",
            f"Use {', '.join(IMAGE_ENDINGS)} or a DICOM folder.",
        )


def _execute(path: Path, reader: SimpleITK.ImageFileReader) -> SimpleITK.Image:
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise cut_off(path) from error


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI_ENDINGS)


def _array(path: Path, image: SimpleITK.Image) -> npt.NDArray[Any]:
    """Return a read-only view of the image's voxels, or a writeable copy."""
    view = SimpleITK.GetArrayViewFromImage(image)
    if view.dtype.kind != "f" or not _is_nifti(path):
        return view
    copied = view.copy()
    mark_not_finite(path, copied)
    return copied


def _modality(reader: SimpleITK.ImageFileReader) -> str:
    """Return what the header says, or nothing where it says "unknown", as MetaImage does."""
    words = {
        reader.GetMetaData(key).upper().removeprefix("MET_MOD_")
        for key in reader.GetMetaDataKeys()
        if key.lower() == "modality"
    }
    return next(iter(words - {"UNKNOWN"}), "")


def _metadata(reader: SimpleITK.ImageFileReader, key: str) -> str:
    return str(reader.GetMetaData(key)) if reader.HasMetaDataKey(key) else ""


def _stem(path: Path) -> str:
    name = path.name
    for ending in sorted((SEGMENTATION_ENDING, *IMAGE_ENDINGS), key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _as_voxel_type(view: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Copy ITK's voxels once, in the smallest of our types that holds them."""
    kind = voxel_type_for(view.dtype, lambda: (int(view.min()), int(view.max())))
    if kind == view.dtype and not view.flags.writeable:
        return view.copy()
    return as_voxel_type(view, kind)


def _finite(
    path: Path, voxels: npt.NDArray[Any], fill: float | None
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    if voxels.dtype.kind != "f":
        return voxels, ()
    if fill is not None and not abs(fill) <= float(np.finfo(np.float32).max):  # neither is NaN
        raise InputError(f"The fill value must be a finite number of 32 bits, not {fill:g}.")
    count = 0
    for slice_ji in voxels:  # by slice: a mask of the whole volume is not needed
        found = count_not_finite(slice_ji)
        count += found
        if found and fill is not None:
            slice_ji[~np.isfinite(slice_ji)] = fill
    if not count:
        return voxels, ()
    subject = "1 voxel that is" if count == 1 else f"{count} voxels that are"
    if fill is None:
        raise InputError(
            f"{path.name} has {subject} not a finite number (NaN or infinite).",
            "Give --fill VALUE to replace them, such as --fill -1024 for CT.",
        )
    return voxels, (f"Replaced {subject} not a finite number by {fill:g}.",)


def _as_labels(path: Path, view: npt.NDArray[Any]) -> npt.NDArray[Any]:
    low, high = view.min(), view.max()
    whole = view.dtype.kind in "iu" or (
        np.isfinite([low, high]).all() and all((plane == np.rint(plane)).all() for plane in view)
    )
    if not whole or low < 0 or high >= 2**32:
        raise InputError(
            f"{path.name} is not a labelmap: its voxels are not whole numbers from 0.",
            "Give the segmentation, not the image.",
        )
    kind = next(t for t in (np.uint8, np.uint16, np.uint32) if high <= np.iinfo(t).max)
    return view.astype(kind)


def _present(labels: npt.NDArray[Any]) -> list[int]:
    found: set[int] = set()
    for slice_ji in labels:
        found.update(np.unique(slice_ji).tolist())
    return sorted(found - {0})


# --- .seg.nrrd; the keys are those of Slicer's vtkMRMLSegmentationStorageNode


def _segment_count(reader: SimpleITK.ImageFileReader) -> int:
    count = 0
    while reader.HasMetaDataKey(f"Segment{count}_ID"):
        count += 1
    return count


def _read_segments(
    path: Path, reader: SimpleITK.ImageFileReader
) -> tuple[tuple[SegmentMask, ...], Geometry, tuple[int, ...]]:
    """Return the segments, their geometry and their label values."""
    count = _segment_count(reader)
    if not count:
        raise InputError(
            f"{path.name} has several layers but names no segments.",
            "Save it again from Slicer as a segmentation.",
        )
    image = _execute(path, reader)
    layers = SimpleITK.GetArrayViewFromImage(image)
    if layers.ndim == 3:
        layers = layers[..., None]
    segments, values = [], []
    for n in range(count):
        value = _whole(_metadata(reader, f"Segment{n}_LabelValue"), 1)
        # Files from before layers have one segment per component.
        layer = _whole(_metadata(reader, f"Segment{n}_Layer"), n)
        if layer >= layers.shape[-1]:
            raise cut_off(path)
        name = _metadata(reader, f"Segment{n}_Name") or _metadata(reader, f"Segment{n}_ID")
        color = _color(_metadata(reader, f"Segment{n}_Color"))
        terminology = dict(_tags(_metadata(reader, f"Segment{n}_Tags"))).get("TerminologyEntry")
        segments.append(SegmentMask(name, layers[..., layer] == value, color, terminology))
        values.append(value)
    return tuple(segments), geometry_of(image), tuple(values)


def _merged(
    path: Path, segments: tuple[SegmentMask, ...], geometry: Geometry, values: tuple[int, ...]
) -> LabelMap:
    """Put all segments into one map, under the file's label values when they are unique."""
    if len(set(values)) < len(values) or min(values) < 1:
        values = tuple(range(1, len(segments) + 1))
    kind = np.uint8 if max(values) <= 255 else np.uint16
    labels = np.zeros(geometry.shape_kji, dtype=kind)
    notes = []
    for value, segment in zip(values, segments, strict=True):
        overlap = int(np.count_nonzero(labels[segment.mask]))
        if overlap:
            notes.append(
                f"{segment.name} overlaps earlier segments of {path.name} in {overlap} voxels "
                "and was kept there."
            )
        labels[segment.mask] = value
    names = {v: s.name for v, s in zip(values, segments, strict=True)}
    colors = {v: s.color for v, s in zip(values, segments, strict=True)}
    return LabelMap(labels, geometry, names, colors, tuple(notes))


def _whole(text: str, default: int) -> int:
    try:
        return int(text)
    except ValueError:
        return default


def _color(text: str) -> Color:
    try:
        red, green, blue = (float(part) for part in text.split())
    except ValueError:
        return (0.5, 0.5, 0.5)  # Slicer's own choice for a colour that it cannot read
    return (red, green, blue)


def _tags(text: str) -> Iterator[tuple[str, str]]:
    for tag in text.split("|"):
        key, colon, value = tag.partition(":")
        if colon:
            yield key, value
