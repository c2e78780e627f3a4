from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.datasets import Label, chosen, find_cases
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import (
    SegmentMask,
    write_labelmap,
    write_segmentation,
    write_volume,
)

SHAPE = (4, 5, 6)
GEOMETRY = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.arange(120, dtype=np.int16).reshape(SHAPE)
    write_volume(path, Volume(voxels, GEOMETRY))


def labels(path: Path, *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(SHAPE, dtype=np.uint8)
    for place, value in enumerate(values):
        array[place, 1:3, 2] = value
    write_labelmap(path, array, GEOMETRY)


def test_pairs_are_found_by_their_names(tmp_path):
    for name, ending in (("b", "labels"), ("a", "seg"), ("c", "label")):
        image(tmp_path / f"{name}.nii.gz")
        labels(tmp_path / f"{name}_{ending}.nii.gz", 5, 1)
    image(tmp_path / "alone.nii.gz")
    (tmp_path / "notes.txt").write_text("x")
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["a", "b", "c"]
    case = cases[0].open()
    assert case.labels == (Label("Label 1", 1), Label("Label 5", 5))
    assert np.argwhere(case.mask(case.labels[1])).tolist() == [[0, 1, 2], [0, 2, 2]]
    assert case.volume.voxels[0, 0, 5] == 5


def test_one_volume_of_a_folder(tmp_path):
    for name in "ab":
        image(tmp_path / f"{name}.nii.gz")
        labels(tmp_path / f"{name}_labels.nii.gz", 1)
    image(tmp_path / "alone.nii.gz")
    image(tmp_path / "t" / "imagesTr" / "p_0000.nii.gz")
    labels(tmp_path / "t" / "labelsTr" / "p.nii.gz", 2)
    assert [case.name for case in find_cases(tmp_path / "b.nii.gz")] == ["b"]
    (case,) = find_cases(tmp_path / "t" / "imagesTr" / "p_0000.nii.gz")
    assert case.name == "p"
    with pytest.raises(InputError, match="no reference labels"):
        find_cases(tmp_path / "alone.nii.gz")


def test_a_segmentation_of_slicer_is_the_other_half_of_a_pair(tmp_path):
    image(tmp_path / "ct.nrrd")
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1, 2, 3] = True
    write_segmentation(tmp_path / "ct.seg.nrrd", [SegmentMask("liver", mask)], GEOMETRY)
    (case,) = find_cases(tmp_path)
    opened = case.open()
    assert case.name == "ct"
    assert opened.labels == (Label("liver", 1),)
    assert (opened.mask(opened.labels[0]) == mask).all()


def test_training_folders_with_names(tmp_path):
    image(tmp_path / "imagesTr" / "p_0000.nii.gz")
    image(tmp_path / "imagesTr" / "p_0001.nii.gz")
    image(tmp_path / "imagesTr" / "q.nii.gz")
    labels(tmp_path / "labelsTr" / "p.nii.gz", 1, 2)
    labels(tmp_path / "labelsTr" / "q.nii.gz", 2)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spleen": 2}}))
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["p", "q"]
    assert cases[0].open().labels == (Label("Label 1", 1), Label("spleen", 2))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"2": "milt"}}))
    assert find_cases(tmp_path)[1].open().labels == (Label("milt", 2),)
    (tmp_path / "dataset.json").write_text('{"labels": 3}')
    with pytest.raises(InputError, match="does not list labels"):
        find_cases(tmp_path)


def test_totalsegmentator_has_a_file_for_each_structure(tmp_path):
    image(tmp_path / "s0002" / "ct.nii.gz")
    image(tmp_path / "s0001" / "mri.nii.gz")
    for case in ("s0001", "s0002"):
        labels(tmp_path / case / "segmentations" / "liver.nii.gz", 1)
        labels(tmp_path / case / "segmentations" / "colon.nii.gz")
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["s0001", "s0002"]
    opened = cases[0].open()
    assert opened.labels == (Label("colon"), Label("liver"))
    assert not opened.mask(Label("colon")).any()
    assert opened.mask(Label("liver")).sum() == 2
    assert [case.name for case in find_cases(tmp_path / "s0002")] == ["s0002"]


def test_kits_has_its_names(tmp_path):
    image(tmp_path / "case_00003" / "imaging.nii.gz")
    labels(tmp_path / "case_00003" / "segmentation.nii.gz", 1, 2)
    (case,) = find_cases(tmp_path)
    assert case.name == "case_00003"
    assert case.open().labels == (Label("kidney", 1), Label("tumor", 2))


def test_labels_on_other_voxels_are_resampled(tmp_path):
    image(tmp_path / "a.nii.gz")
    coarse = Geometry((2, 5, 6), np.diag([-2.0, -2.0, 6.0, 1.0]))
    array = np.zeros((2, 5, 6), dtype=np.uint8)
    array[1] = 3
    write_labelmap(tmp_path / "a_seg.nii.gz", array, coarse)
    (case,) = find_cases(tmp_path)
    opened = case.open()
    mask = opened.mask(opened.labels[0])
    # The coarse slices are at 0 and 6 mm, ours at 0, 3, 6 and 9: halves go up.
    assert (mask == np.array([False, True, True, False])[:, None, None]).all()


def test_labels_elsewhere_are_refused(tmp_path):
    image(tmp_path / "a.nii.gz")
    moved = Geometry(SHAPE, GEOMETRY.ijk_to_ras + np.array([[0, 0, 0, 500]] + 3 * [[0] * 4]))
    write_labelmap(tmp_path / "a_labels.nii.gz", np.ones(SHAPE, dtype=np.uint8), moved)
    (case,) = find_cases(tmp_path)
    with pytest.raises(InputError, match="outside of the volume"):
        case.open()


def test_the_phantom_is_a_data_set():
    (case,) = find_cases("phantom")
    opened = case.open()
    (liver,) = chosen(opened.labels, ["liver"])
    assert opened.mask(liver).sum() > 1000
    assert opened.mask(liver).shape == opened.volume.voxels.shape


def test_labels_are_chosen_by_number_or_name():
    known = [Label("Label 1", 1), Label("Liver", 5), Label("colon")]
    assert chosen(known, ["liver", "1"]) == [known[1], known[0]]
    assert chosen(known, ["5", "LIVER", "20"]) == [known[1]]
    assert chosen(known, []) == known
    assert chosen(known, ["None"]) == []


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no volume with reference labels"):
        find_cases(tmp_path)
