"""One volume from a folder of DICOM slices: series chosen, sorted by position, gaps reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK
from pydicom.errors import InvalidDicomError

from VoxelFeatLib.errors import GeometryError, InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume, guess_modality

_TAGS = (
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "InstanceNumber",
    "Modality",
    "NumberOfFrames",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SliceThickness",
    "SpacingBetweenSlices",
)

# Positions are written with few digits: this share of the slice spacing counts as rounding.
_ROUNDING = 0.02

# Slices whose orientations differ by more (largest difference of a cosine) are not parallel.
_PARALLEL = 1e-3


@dataclass(frozen=True, eq=False)
class _Slice:
    path: Path
    header: pydicom.Dataset
    position: FloatArray  # LPS, centre of the first pixel


@dataclass(frozen=True, eq=False)
class _Stack:
    """Slices along a line, and the evenly spaced grid of slices that the volume will have."""

    slices: list[_Slice]
    offsets: FloatArray  # of each slice, in slice spacings from the first
    step: FloatArray  # LPS, from one slice of the volume to the next
    count: int
    notes: tuple[str, ...]


def read_folder(folder: Path, series: str | None = None) -> Volume:
    """Read one series of a DICOM folder (and its subfolders) as a volume.

    Values are rescaled (HU in CT). Missing slices, and slices off the even grid, are interpolated
    from their neighbours; repeated ones are left out. Both, and a tilted gantry (kept exactly, as
    a sheared geometry), are told in ``Volume.notes``.

    Args:
        folder: Where the files are, whatever their names.
        series: SeriesInstanceUID, description or number; needed when there are several series.

    Raises:
        InputError: No image series, several and none named, colour or multi-frame images, slices
            that do not form one volume, or files that cannot be decoded.
    """
    groups = _find_series(folder)
    headers = _choose(folder, groups, series)
    first = headers[0][1]
    slices = _checked(headers)
    stack = _stack(slices)
    row, column = _text_numbers(first, "PixelSpacing", 2)
    orientation = _text_numbers(first, "ImageOrientationPatient", 6).reshape(2, 3)
    spacing = float(np.linalg.norm(stack.step))
    direction = np.column_stack([*orientation, stack.step / spacing])
    geometry = Geometry.from_lps(
        (stack.count, int(first.Rows), int(first.Columns)),
        (column, row, spacing),
        stack.slices[0].position.tolist(),
        direction.ravel().tolist(),
    )
    voxels = _voxels(stack, geometry.shape_kji)
    name = str(first.get("SeriesDescription", "") or folder.name)
    modality = guess_modality(voxels, str(first.get("Modality", "")))
    return Volume(voxels, geometry, modality, name, stack.notes)


_Header = tuple[Path, pydicom.Dataset]


def _find_series(folder: Path) -> dict[str, list[_Header]]:
    """Return the image headers by SeriesInstanceUID, each instance once."""
    groups: dict[str, list[_Header]] = {}
    seen: set[str] = set()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        except (InvalidDicomError, EOFError):
            continue
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"Cannot read the DICOM file {path.name}.", "Copy or download it again."
            ) from error
        instance = str(header.get("SOPInstanceUID", path))
        if "Rows" not in header or instance in seen:  # reports and plans are no images
            continue
        seen.add(instance)
        groups.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if not groups:
        raise InputError(
            f"{folder} contains no DICOM images.", "Give the folder that holds the slices."
        )
    return groups


def _choose(folder: Path, groups: dict[str, list[_Header]], series: str | None) -> list[_Header]:
    if series is None and len(groups) == 1:
        return next(iter(groups.values()))
    wanted = (series or "").strip().lower()
    found = [
        headers
        for uid, headers in groups.items()
        if series is not None
        and wanted
        in (
            uid.lower(),
            str(headers[0][1].get("SeriesDescription", "")).strip().lower(),
            str(headers[0][1].get("SeriesNumber", "")).strip(),
        )
    ]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(
        f"{headers[0][1].get('SeriesNumber', '-')} "
        f"“{headers[0][1].get('SeriesDescription', '')}” "
        f"({len(headers)} {'slice' if len(headers) == 1 else 'slices'}, {uid})"
        for uid, headers in groups.items()
    )
    if series is None:
        problem = f"{folder} contains {len(groups)} series"
    elif found:
        problem = f"{len(found)} series in {folder} are called “{series}”"
    else:
        problem = f"No series in {folder} is called “{series}”"
    raise InputError(
        f"{problem}: {listed}.", "Name one by its number, description or SeriesInstanceUID."
    )


def _checked(headers: Sequence[_Header]) -> list[_Slice]:
    """Refuse what is no stack of parallel grey slices of one size."""
    for path, header in headers:
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise InputError(
                f"{path.name} is a multi-frame DICOM file, which VoxelFeat does not read.",
                "Load it in Slicer and save the volume as NRRD.",
            )
        if int(header.get("SamplesPerPixel", 1)) > 1:
            raise InputError(
                f"{path.name} is a colour image, but one number per voxel is needed.",
                "Choose a series of grey images.",
            )
    path, first = headers[0]
    orientation = _text_numbers(first, "ImageOrientationPatient", 6)
    spacing = _text_numbers(first, "PixelSpacing", 2)
    if spacing.min() <= 0:
        raise GeometryError(
            f"{path.name} has the pixel spacing {spacing[0]:g} x {spacing[1]:g} mm, but it must "
            "be positive.",
            "Export the series again.",
        )
    if abs(np.linalg.norm(np.cross(orientation[:3], orientation[3:])) - 1) > _PARALLEL:
        raise GeometryError(
            f"{path.name} has a degenerate orientation: its rows and columns are not "
            "perpendicular.",
            "Export the series again.",
        )
    slices = []
    for path, header in headers:
        same = (
            (header.Rows, header.Columns) == (first.Rows, first.Columns)
            and np.allclose(_text_numbers(header, "PixelSpacing", 2), spacing, rtol=1e-3)
            and np.allclose(
                _text_numbers(header, "ImageOrientationPatient", 6), orientation, atol=_PARALLEL
            )
        )
        if not same:
            raise InputError(
                f"{path.name} has another size, spacing or orientation than the other slices of "
                "its series.",
                "Load the series in Slicer, and save the volume that you want as NRRD.",
            )
        slices.append(_Slice(path, header, _text_numbers(header, "ImagePositionPatient", 3)))
    return slices


def _text_numbers(header: pydicom.Dataset, keyword: str, count: int) -> FloatArray:
    values = header.get(keyword)
    try:
        numbers = np.array([float(value) for value in values or ()])
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        name = Path(str(getattr(header, "filename", ""))).name
        raise GeometryError(
            f"The DICOM file {name} does not say its {keyword}.",
            "Give a series of original slices, not of screenshots or projections.",
        )
    return numbers


def _stack(slices: list[_Slice]) -> _Stack:
    orientation = _text_numbers(slices[0].header, "ImageOrientationPatient", 6)
    normal = np.cross(orientation[:3], orientation[3:])
    slices = sorted(slices, key=lambda s: (float(s.position @ normal), _instance_number(s)))
    slices, notes = _without_repeats(slices, normal)
    if len(slices) == 1:
        return _Stack(slices, np.zeros(1), normal * _thickness(slices[0].header), 1, notes)
    heights = np.array([float((s.position - slices[0].position) @ normal) for s in slices])
    # The commonest spacing, to the digits that positions have, tells how many slices there are.
    usual = float(np.median(np.diff(heights)))
    count = round(heights[-1] / usual) + 1
    step = (slices[-1].position - slices[0].position) / (count - 1)
    offsets = heights / (heights[-1] / (count - 1))
    _check_line(slices, offsets, step)
    notes += _gap_notes(slices, offsets, normal) + _tilt_notes(step, normal)
    return _Stack(slices, offsets, step, count, notes)


def _instance_number(one: _Slice) -> int:
    return int(one.header.get("InstanceNumber", 0) or 0)


def _thickness(header: pydicom.Dataset) -> float:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = float(header.get(keyword, 0) or 0)
        if value > 0:
            return value
    return 1.0


def _without_repeats(
    slices: list[_Slice], normal: FloatArray
) -> tuple[list[_Slice], tuple[str, ...]]:
    """Keep the first of the (sorted) slices at each position."""
    heights = np.array([float(s.position @ normal) for s in slices])
    # 0.01 mm: what rounding leaves between two files of one position.
    is_new = np.concatenate([[True], np.diff(heights) > 0.01])
    kept = [s for s, new in zip(slices, is_new, strict=True) if new]
    repeats = len(slices) - len(kept)
    if not repeats:
        return slices, ()
    copies = Counter(np.cumsum(is_new).tolist())
    if len(kept) > 1 and len(set(copies.values())) == 1:
        raise InputError(
            f"The series has {copies[1]} images at every position, such as time points or echoes.",
            "Split it, for example in Slicer's DICOM module, and give one of the volumes.",
        )
    noun = "slice was" if repeats == 1 else "slices were"
    return kept, (f"{repeats} repeated {noun} left out; the first at each position was kept.",)


def _check_line(slices: list[_Slice], offsets: FloatArray, step: FloatArray) -> None:
    expected = slices[0].position + offsets[:, None] * step
    actual = np.array([s.position for s in slices])
    if np.abs(actual - expected).max() > max(0.1, _ROUNDING * float(np.linalg.norm(step))):
        raise GeometryError(
            "The slices of the series do not lie on one straight line.",
            "Load the series in Slicer, and save the volume that you want as NRRD.",
        )


def _gap_notes(slices: list[_Slice], offsets: FloatArray, normal: FloatArray) -> tuple[str, ...]:
    notes = []
    for below, above, missing in zip(
        slices, slices[1:], np.rint(np.diff(offsets)).astype(int) - 1, strict=False
    ):
        if missing > 0:
            noun = "slice is" if missing == 1 else "slices are"
            low, high = below.position @ normal, above.position @ normal
            notes.append(
                f"{missing} {noun} missing between {low:.1f} and {high:.1f} mm and "
                "interpolated from the neighbours."
            )
    uneven = int((np.abs(offsets - np.rint(offsets)) > _ROUNDING).sum())
    if uneven:
        noun = "slice is" if uneven == 1 else "slices are"
        notes.append(f"{uneven} {noun} unevenly spaced; the volume was interpolated evenly.")
    return tuple(notes)


def _tilt_notes(step: FloatArray, normal: FloatArray) -> tuple[str, ...]:
    along = float(step @ normal)
    sideways = float(np.linalg.norm(step - along * normal))
    if sideways <= _PARALLEL * along:
        return ()
    angle = np.degrees(np.arctan2(sideways, along))
    return (f"The gantry was tilted by {angle:.1f} degrees; the volume's axes are sheared so.",)


def _voxels(stack: _Stack, shape: tuple[int, int, int]) -> npt.NDArray[Any]:
    """Decode the slices into one array, int16 where all values fit, else float32."""
    voxels = np.zeros(shape, dtype=np.int16)
    pixels = _Decoder(stack.slices)
    for k in range(stack.count):
        upper = int(np.searchsorted(stack.offsets, k - _ROUNDING))
        upper = min(upper, len(stack.slices) - 1)
        share = stack.offsets[upper] - k
        if share <= _ROUNDING:
            plane = pixels[upper]
        else:
            gap = stack.offsets[upper] - stack.offsets[upper - 1]
            plane = pixels[upper] + (pixels[upper - 1] - pixels[upper]) * (share / gap)
            if voxels.dtype == np.int16:
                plane = np.rint(plane)
        if voxels.dtype == np.int16 and not _fits_int16(plane):
            voxels = voxels.astype(np.float32)
        voxels[k] = plane
    return voxels


def _fits_int16(plane: FloatArray) -> bool:
    limits = np.iinfo(np.int16)
    inside = limits.min <= plane.min() and plane.max() <= limits.max
    return bool(inside and (plane == np.rint(plane)).all())


class _Decoder:
    """Decoded and rescaled slices as float64; the last two are kept for interpolation."""

    def __init__(self, slices: list[_Slice]) -> None:
        self._slices = slices
        self._kept: dict[int, FloatArray] = {}

    def __getitem__(self, index: int) -> FloatArray:
        if index not in self._kept:
            while len(self._kept) > 1:
                self._kept.pop(next(iter(self._kept)))
            self._kept[index] = _decode(self._slices[index])
        return self._kept[index]


def _decode(one: _Slice) -> FloatArray:
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")  # decodes every transfer syntax, and rescales
    reader.SetFileName(str(one.path))
    try:
        plane = SimpleITK.GetArrayFromImage(reader.Execute()).astype(np.float64)
    except RuntimeError as error:
        raise InputError(
            f"Cannot decode the DICOM file {one.path.name}: it is damaged or cut off.",
            "Copy or export it again.",
        ) from error
    return np.asarray(plane.reshape(int(one.header.Rows), int(one.header.Columns)))
