"""Folders of volumes with reference labels, recognised by the names of their files.

- Pairs: `a.nii.gz` beside `a_labels.nii.gz` (or `_label`, `_seg`, `_segmentation`, `_mask`,
  `a.seg.nrrd`), or `imagesTr/a_0000.nii.gz` (or `a.nii.gz`) with `labelsTr/a.nii.gz`; a
  `dataset.json` may name the labels.
- TotalSegmentator: `s0001/ct.nii.gz` (or `mri.nii.gz`) with `s0001/segmentations/liver.nii.gz`, ...
- KiTS: `case_00001/imaging.nii.gz` with `case_00001/segmentation.nii.gz`.
- The word `phantom` instead of a folder: the made-up CT.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.reading import LabelMap, read_labelmap, read_volume
from VoxelFeatLib.imaging.resampling import resample_labels_nearest
from VoxelFeatLib.imaging.volume import Volume

PHANTOM = "phantom"

_PHANTOM_SHAPE = (64, 128, 128)
_PHANTOM_SPACING = (3.0, 3.0, 3.0)
_ENDING = re.compile(r"\.(nii|nii\.gz|nrrd|mha)$", re.IGNORECASE)
_LABELS = re.compile(r"(_(labels?|seg|segmentation|mask)|\.seg)+$", re.IGNORECASE)
_CHANNEL = re.compile(r"_\d{4}$")
_KITS_NAMES = {1: "kidney", 2: "tumor", 3: "cyst"}
_LAYOUTS = (
    "Put pairs such as a.nii.gz and a_labels.nii.gz into it, or name a folder of "
    "TotalSegmentator, of KiTS, or with imagesTr and labelsTr."
)


@dataclass(frozen=True)
class Label:
    """One structure of a case.

    Attributes:
        name: For people.
        number: Its value in the label map; None where it has a file of its own.
    """

    name: str
    number: int | None = None

    def answers(self, wanted: str) -> bool:
        """Whether a user who typed `wanted` means this label.

        That is a number, or a name in any case, or `5=liver`: the number, with a name for it.
        """
        word = wanted.partition("=")[0].strip().lower()
        return word == self.name.lower() or (self.number is not None and word == str(self.number))


@dataclass(frozen=True, eq=False)
class OpenCase:
    """A case in memory.

    Attributes:
        volume: The image.
        labels: What the case has, by number, else by name.
        mask: Gives the (K, J, I) mask of a label; it may be empty.
    """

    volume: Volume
    labels: tuple[Label, ...]
    mask: Callable[[Label], Mask]


@dataclass(frozen=True, eq=False)
class Case:
    """A volume with reference labels.

    Attributes:
        name: Of the case, unique in its data set.
        image: The volume's file; empty for what is made up.
        open: Reads it; raises InputError where a file cannot be read.
    """

    name: str
    image: Path
    open: Callable[[], OpenCase] = field(repr=False)


def find_cases(place: str | Path) -> list[Case]:
    """Return the cases of a folder by name, the case of one volume in it, or the made-up CT.

    Raises:
        InputError: The folder does not exist, or has no case; or the volume has no labels.
    """
    folder = Path(place)
    if str(place) == PHANTOM and not folder.exists():
        return [Case(PHANTOM, Path(), _open_phantom)]
    if folder.is_file():
        return _case_of(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", f"Or write {PHANTOM} for a made-up CT.")
    names = _names_in(folder / "dataset.json")
    found: dict[str, Case] = {}
    for case in (*_pairs(folder, names), *_training_pairs(folder, names), *_by_folder(folder)):
        found.setdefault(case.name, case)
    if not found:
        raise InputError(f"{folder} has no volume with reference labels.", _LAYOUTS)
    return [found[name] for name in sorted(found)]


def chosen(labels: Sequence[Label], wanted: Sequence[str]) -> list[Label]:
    """Return the labels that a user asked for by number or name, in that order; all for nothing.

    A case may lack some of them. Numbers that come with a name, as in `5=liver`, get it.
    """
    if not wanted:
        return list(labels)
    picked = [_named(label, word) for word in wanted for label in labels if label.answers(word)]
    return list(dict.fromkeys(picked))


def _named(label: Label, word: str) -> Label:
    name = word.partition("=")[2].strip()
    # A label with a file of its own is found by its name.
    return replace(label, name=name) if name and label.number is not None else label


def _case_of(image: Path) -> list[Case]:
    inside_training = image.parent.name == "imagesTr"
    folder = image.parent.parent if inside_training else image.parent
    cases = [case for case in find_cases(folder) if case.image.samefile(image)]
    if not cases:
        raise InputError(f"There are no reference labels for {image}.", _LAYOUTS)
    return cases


# ---------------------------------------------------------------------------- layouts


def _pairs(folder: Path, names: Mapping[int, str]) -> Iterator[Case]:
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for path, stem in _images(folder):
        match = _LABELS.search(stem)
        if match:
            labels.setdefault(stem[: match.start()], path)
        else:
            images.setdefault(stem, path)
    for name, path in images.items():
        if name in labels:
            yield Case(name, path, partial(_open_map, path, labels[name], names))


def _training_pairs(folder: Path, names: Mapping[int, str]) -> Iterator[Case]:
    labels = {stem: path for path, stem in _images(folder / "labelsTr")}
    for path, stem in _images(folder / "imagesTr"):
        name = stem if stem in labels else _CHANNEL.sub("", stem)
        # Of several channels the first is the volume.
        if name in labels and stem in {name, f"{name}_0000"}:
            yield Case(name, path, partial(_open_map, path, labels[name], names))


def _by_folder(folder: Path) -> Iterator[Case]:
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        files = {stem.lower(): path for path, stem in _images(place)}
        masks = place / "segmentations"
        image = files.get("ct") or files.get("mri") or files.get("mr")
        if image and masks.is_dir():
            yield Case(place.resolve().name, image, partial(_open_masks, image, masks))
        if "imaging" in files and "segmentation" in files:
            opened = partial(_open_map, files["imaging"], files["segmentation"], _KITS_NAMES)
            yield Case(place.resolve().name, files["imaging"], opened)


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    """Image files of a folder, by name, with their names without the ending."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        match = _ENDING.search(path.name)
        if match and not path.name.startswith(".") and path.is_file():
            yield path, path.name[: match.start()]


def _names_in(path: Path) -> dict[int, str]:
    """Label names of a `dataset.json`, `{"1": "liver"}` or `{"liver": 1}`; empty without one."""
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["labels"].items()
        pairs = [(k, v) if str(k).strip().isdigit() else (v, k) for k, v in entries]
        return {int(number): str(name) for number, name in pairs if not isinstance(number, list)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not list labels as nnU-Net's does.") from error


# ---------------------------------------------------------------------------- opening


def _open_map(image: Path, labels: Path, names: Mapping[int, str]) -> OpenCase:
    volume, label_map = read_volume(image), read_labelmap(labels)
    values = _on(label_map, volume)
    found = tuple(
        Label(names.get(number, name), number) for number, name in sorted(label_map.names.items())
    )

    def mask(label: Label) -> Mask:
        chosen_voxels: Mask = values == label.number
        return chosen_voxels

    return OpenCase(volume, found, mask)


def _open_masks(image: Path, folder: Path) -> OpenCase:
    volume = read_volume(image)
    files = {stem: path for path, stem in _images(folder)}

    def mask(label: Label) -> Mask:
        return np.asarray(_on(read_labelmap(files[label.name]), volume) != 0)

    return OpenCase(volume, tuple(map(Label, files)), mask)


def _open_phantom() -> OpenCase:
    phantom = make_phantom(_PHANTOM_SHAPE, _PHANTOM_SPACING)
    labels = tuple(Label(name, number) for number, name in phantom.names.items())
    return OpenCase(phantom.volume, labels, lambda label: phantom.mask(label.name))


def _on(label_map: LabelMap, volume: Volume) -> np.ndarray[tuple[int, ...], np.dtype[np.integer]]:
    """Labels on the voxels of the volume; InputError where none of them is in it."""
    if label_map.geometry.matches(volume.geometry):
        return label_map.labels
    labels = resample_labels_nearest(label_map.labels, label_map.geometry, volume.geometry)
    if label_map.labels.any() and not labels.any():
        raise InputError("Its labels lie outside of the volume; check that both belong together.")
    return labels
