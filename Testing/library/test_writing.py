from __future__ import annotations

import os
import subprocess
import sys

import nrrd
import numpy as np
import pytest
import SimpleITK

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.reading import read_labelmap, read_segmentation, read_volume
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import (
    SegmentMask,
    write_colors,
    write_labelmap,
    write_segmentation,
    write_volume,
)

ENDINGS = [".nii", ".nii.gz", ".nrrd", ".mha"]


def box_mask(shape, start, stop):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def test_itk_finds_every_voxel_where_we_put_it(tmp_path, a_volume):
    for ending in ENDINGS:
        path = tmp_path / f"a{ending}"
        write_volume(path, a_volume)
        image = SimpleITK.ReadImage(str(path))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), a_volume.voxels)
        for ijk in [(0, 0, 0), (5, 4, 3), (2, 0, 1)]:
            lps = np.array(image.TransformIndexToPhysicalPoint(ijk))
            ras = a_volume.geometry.to_ras(ijk)
            np.testing.assert_allclose(lps * [-1, -1, 1], ras, atol=2e-5)  # NIfTI: float32


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_labelmap_comes_back(tmp_path, ending, an_oblique_geometry):
    labels = np.arange(120, dtype=np.int64).reshape(4, 5, 6) * 3
    path = tmp_path / f"labels{ending}"
    write_labelmap(path, labels, an_oblique_geometry)
    found = read_labelmap(path)
    assert found.labels.dtype == np.uint16
    np.testing.assert_array_equal(found.labels, labels)
    assert found.geometry.matches(an_oblique_geometry)
    assert found.names[357] == "Label 357"
    assert 0 not in found.names


def test_sheared_axes_are_kept_where_the_format_can(tmp_path):
    matrix = np.diag([1.0, 2, 3, 1])
    matrix[1, 2] = 0.4
    geometry = Geometry((2, 3, 4), matrix)
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), geometry)
    for ending in (".nrrd", ".mha"):
        write_volume(tmp_path / f"a{ending}", volume)
        assert read_volume(tmp_path / f"a{ending}").geometry.matches(geometry, tolerance=1e-9)
    with pytest.raises(InputError, match="not perpendicular"):
        write_volume(tmp_path / "a.nii.gz", volume)
    with pytest.raises(InputError, match="not perpendicular"):
        write_labelmap(tmp_path / "a.nii", volume.voxels, geometry)


@pytest.mark.parametrize("modality", ["CT", "MR", "other"])
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_modality_is_kept_in_nrrd_and_mha(tmp_path, a_geometry, ending, modality):
    values = np.linspace(-1000, 3000, 120).astype(np.int16)  # by its range this would be CT
    write_volume(tmp_path / f"a{ending}", Volume(values.reshape(4, 5, 6), a_geometry, modality))
    assert read_volume(tmp_path / f"a{ending}").modality == modality


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("a.png", np.zeros((4, 5, 6), dtype=np.uint8), "cannot write"),
        ("a.nrrd", np.full((4, 5, 6), -1), "negative"),
        ("a.nrrd", np.zeros((4, 5, 7), dtype=np.uint8), "shape"),
    ],
)
def test_bad_labelmaps_are_refused(tmp_path, name, labels, words, a_geometry):
    with pytest.raises(InputError, match=words):
        write_labelmap(tmp_path / name, labels, a_geometry)
    assert list(tmp_path.iterdir()) == []


def test_a_segmentation_has_the_keys_that_slicer_reads(tmp_path, an_oblique_geometry):
    shape = an_oblique_geometry.shape_kji
    segments = [
        SegmentMask("Leber größe\n1", box_mask(shape, (0, 1, 2), (2, 3, 5)), (0.5, 0.25, 1)),
        SegmentMask("empty", box_mask(shape, (0, 0, 0), (0, 0, 0)), (0, 1, 0), "A~B^1^C~D^2^E"),
    ]
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, segments, an_oblique_geometry)
    data, header = nrrd.read(str(path), index_order="C")
    np.testing.assert_array_equal(data, segments[0].mask)
    assert header["space"] == "left-posterior-superior"
    assert header["kinds"] == ["domain"] * 3
    spacing, origin, direction = an_oblique_geometry.to_lps()
    columns = (np.reshape(direction, (3, 3)) * spacing).T
    np.testing.assert_allclose(header["space directions"], columns, rtol=1e-15)
    np.testing.assert_array_equal(header["space origin"], origin)
    assert header["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert header["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert header["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    name, value, _ = header["Segmentation_ConversionParameters"].removesuffix("&").split("|")
    numbers = [float(n) for n in value.removesuffix(";").split(";")]
    assert name == "Reference image geometry"
    np.testing.assert_array_equal(numbers[:16], an_oblique_geometry.ijk_to_ras.ravel())
    assert numbers[16:] == [0, 5, 0, 4, 0, 3]
    assert "Segment0_Name:=Leber größe 1\n".encode() in path.read_bytes()
    expected = {
        "Segment0_ID": "Segment_1",
        "Segment0_Color": "0.5 0.25 1",
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segment0_Extent": "2 4 1 2 0 1",
        "Segment1_ID": "Segment_2",
        "Segment1_Name": "empty",
        "Segment1_Extent": "0 -1 0 -1 0 -1",
        "Segment1_Layer": "0",
        "Segment1_Tags": "TerminologyEntry:A~B^1^C~D^2^E|",
    }
    assert {key: header[key] for key in expected} == expected
    assert "SCT^85756007^Tissue" in header["Segment0_Tags"]
    assert "Segment2_ID" not in header


def test_overlapping_segments_share_as_few_layers_as_they_can(tmp_path, a_geometry):
    shape = a_geometry.shape_kji
    boxes = [((0, 0, 0), (2, 3, 3)), ((1, 0, 0), (3, 3, 3)), ((2, 0, 0), (4, 3, 3))]
    segments = [SegmentMask(f"s{n}", box_mask(shape, *box)) for n, box in enumerate(boxes)]
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, segments, a_geometry)
    data, header = nrrd.read(str(path), index_order="C")
    assert header["kinds"] == ["list", "domain", "domain", "domain"]
    assert [header[f"Segment{n}_Layer"] for n in range(3)] == ["0", "1", "0"]
    expected = np.zeros((*shape, 2), dtype=np.uint8)
    expected[0:2, :3, :3, 0], expected[2:4, :3, :3, 0], expected[1:3, :3, :3, 1] = 1, 3, 2
    np.testing.assert_array_equal(data, expected)

    found, geometry = read_segmentation(path)
    assert geometry.matches(a_geometry, tolerance=1e-9)
    assert [segment.name for segment in found] == ["s0", "s1", "s2"]
    for one, other in zip(found, segments, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    merged = read_labelmap(path)
    assert merged.names == {1: "s0", 2: "s1", 3: "s2"}
    assert merged.labels[:, 0, 0].tolist() == [1, 2, 3, 3]  # the later one wins
    assert "9 voxels" in merged.notes[0]


def test_three_hundred_segments_need_two_bytes(tmp_path):
    geometry = Geometry((1, 1, 300), np.eye(4))
    segments = [SegmentMask(str(n), np.arange(300).reshape(1, 1, 300) == n) for n in range(300)]
    write_segmentation(tmp_path / "a.seg.nrrd", segments, geometry)
    merged = read_labelmap(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(merged.labels, np.arange(1, 301).reshape(1, 1, 300))
    assert merged.names[300] == "299"


def test_a_segmentation_without_segments_is_a_valid_file(tmp_path, a_geometry):
    write_segmentation(tmp_path / "a.seg.nrrd", [], a_geometry)
    segments, geometry = read_segmentation(tmp_path / "a.seg.nrrd")
    assert segments == ()
    assert geometry == a_geometry


def test_the_same_segments_give_the_same_bytes(tmp_path, a_geometry):
    segments = [SegmentMask("a\udcff", np.ones(a_geometry.shape_kji, dtype=bool))]
    for name in ("a.seg.nrrd", "b.seg.nrrd"):
        write_segmentation(tmp_path / name, segments, a_geometry)
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()


def test_a_segmentation_needs_its_ending_and_shape(tmp_path, a_geometry):
    with pytest.raises(InputError, match=r"ending \.seg\.nrrd"):
        write_segmentation(tmp_path / "a.nrrd", [], a_geometry)
    bad = SegmentMask("a", np.ones((1, 1, 1), dtype=bool))
    with pytest.raises(InputError, match="shape"):
        write_segmentation(tmp_path / "a.seg.nrrd", [bad], a_geometry)
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
import numpy as np
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import (
    SegmentMask, write_colors, write_segmentation, write_volume
)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # bytes a file may have
voxels = np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16)
geometry = Geometry(voxels.shape, np.eye(4))
for name in sys.argv[1:]:
    try:
        if name.endswith(".seg.nrrd"):
            masks = [SegmentMask(str(n), voxels % (n + 2) == 0) for n in range(9)]
            write_segmentation(name, masks, geometry)
        elif "colours" in name:
            write_colors(name, np.stack([voxels] * 3, axis=-1).astype(np.uint8), geometry)
        else:
            write_volume(name, Volume(voxels, geometry))
    except InputError as error:
        print(error.message)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file size there")
def test_the_old_file_survives_a_full_disk(tmp_path):
    paths = [tmp_path / f"a{ending}" for ending in [*ENDINGS, ".seg.nrrd"]]
    paths += [tmp_path / f"colours{ending}" for ending in ENDINGS]
    for path in paths:
        path.write_text("old")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *map(str, paths)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines if "Cannot write" in line] == [
        f"Cannot write {path}" for path in paths
    ]
    assert [path.read_text() for path in paths] == ["old"] * len(paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_colours_of_another_shape_or_ending_are_refused(tmp_path, a_geometry):
    colors = np.zeros((4, 5, 6, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"a\.png has an ending that VoxelFeat cannot write"):
        write_colors(tmp_path / "a.png", colors, a_geometry)
    with pytest.raises(InputError, match="shape"):
        write_colors(tmp_path / "a.nrrd", colors[:3], a_geometry)
    assert list(tmp_path.iterdir()) == []
