from __future__ import annotations

import gzip
import struct

import nrrd
import numpy as np
import pytest
import SimpleITK

from VoxelFeatLib.errors import GeometryError, InputError
from VoxelFeatLib.imaging.reading import read_labelmap, read_segmentation, read_volume
from VoxelFeatLib.imaging.writing import write_labelmap, write_volume

ENDINGS = [".nii", ".nii.gz", ".nrrd", ".mha"]


def write(path, array, **header):
    """Write an array (k, j, i) with a header for pynrrd."""
    nrrd.write(str(path), array, header, index_order="C")
    return path


def sitk_file(path, array, *, vector=False):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), str(path))
    return path


@pytest.mark.parametrize("ending", [*ENDINGS, ".mhd", ".nhdr"])
def test_every_format_gives_the_same_volume(tmp_path, ending, a_volume):
    path = tmp_path / f"a.scan{ending}"
    if ending in ENDINGS:
        write_volume(path, a_volume)
    else:
        image = SimpleITK.GetImageFromArray(a_volume.voxels)
        spacing, origin, direction = a_volume.geometry.to_lps()
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction)
        SimpleITK.WriteImage(image, str(path))
    found = read_volume(path)
    np.testing.assert_array_equal(found.voxels, a_volume.voxels)
    assert found.geometry.matches(a_volume.geometry)
    assert (found.modality, found.name, found.notes) == ("CT", "a.scan", ())
    assert found.sha256() == a_volume.sha256()


def test_nrrd_in_ras_is_understood(tmp_path):
    directions = [[0, 0, 2], [-3, 0, 0], [0, 4, 0]]
    path = write(
        tmp_path / "a.nrrd",
        np.zeros((4, 5, 6), dtype=np.int16),
        **{
            "space": "right-anterior-superior",
            "space directions": directions,
            "space origin": [1, 2, 3],
        },
    )
    geometry = read_volume(path).geometry
    np.testing.assert_allclose(geometry.ijk_to_ras[:3, :3], np.array(directions).T)
    np.testing.assert_allclose(geometry.origin_ras, [1, 2, 3])


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_slice_is_a_volume(tmp_path, ending):
    path = sitk_file(tmp_path / f"a{ending}", np.arange(30, dtype=np.int16).reshape(1, 5, 6))
    assert read_volume(path).voxels.shape == (1, 5, 6)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([-5, 5], dtype=np.int8), np.int16),
        (np.array([-1024, 3071], dtype=np.int32), np.int16),
        (np.array([0, 65535], dtype=np.uint32), np.uint16),
        (np.array([-1, 65535], dtype=np.int64), np.float32),
        (np.array([0.5, 1e30], dtype=np.float64), np.float32),
    ],
)
def test_other_voxel_types_are_converted(tmp_path, values, kind):
    path = sitk_file(tmp_path / "a.nrrd", values.reshape(1, 1, 2))
    voxels = read_volume(path).voxels
    assert voxels.dtype == kind
    np.testing.assert_array_equal(voxels.ravel(), values.astype(kind))


@pytest.mark.parametrize("ending", ENDINGS)
def test_voxels_that_are_not_finite_need_a_fill(tmp_path, ending):
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    voxels[0, 1, 2], voxels[1, 0, 0] = np.nan, np.inf
    path = sitk_file(tmp_path / f"a{ending}", voxels)
    with pytest.raises(InputError, match="2 voxels that are not a finite") as caught:
        read_volume(path)
    assert "--fill VALUE" in caught.value.hint
    for no_fill in (np.nan, np.inf, 1e39):  # the last would be infinite among 32-bit voxels
        with pytest.raises(InputError, match="fill value"):
            read_volume(path, fill=no_fill)
    filled = read_volume(path, fill=-7)
    assert (filled.voxels[0, 1, 2], filled.voxels[1, 0, 0], filled.voxels[1, 2, 3]) == (-7, -7, 23)
    assert filled.notes == ("Replaced 2 voxels that are not a finite number by -7.",)


def test_too_large_for_float32_counts_as_infinite(tmp_path):
    path = sitk_file(tmp_path / "a.nrrd", np.array([0, 1e300]).reshape(1, 1, 2))
    with pytest.raises(InputError, match="1 voxel that is not a finite"):
        read_volume(path)


def test_missing_empty_and_foreign_files(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_volume(tmp_path / "nothing.nrrd")
    with pytest.raises(InputError, match=r"Cannot read .*too long"):
        read_volume(tmp_path / f"{'a' * 300}.nrrd")
    with pytest.raises(InputError, match="bytes that are no text"):
        read_volume(tmp_path / "a\udcff.nrrd")  # how Python shows the byte 0xff in a name
    (tmp_path / "empty.nrrd").touch()
    with pytest.raises(InputError, match="is empty"):
        read_volume(tmp_path / "empty.nrrd")
    (tmp_path / "a.png").write_bytes(b"\x89PNG....")
    with pytest.raises(InputError, match="not an image that VoxelFeat reads") as caught:
        read_volume(tmp_path / "a.png")
    assert ".nii.gz" in caught.value.hint
    (tmp_path / "slice.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match="single DICOM") as caught:
        read_volume(tmp_path / "slice.dcm")
    assert "folder" in caught.value.hint
    with pytest.raises(InputError, match="no series to choose"):
        read_volume(sitk_file(tmp_path / "a.mha", np.zeros((2, 2, 2), np.uint8)), series="3")


@pytest.mark.parametrize("ending", [*ENDINGS, ".mhd", ".nhdr"])
@pytest.mark.parametrize("content", [b"this is no image, whatever it says " * 99, b"NRRD0004\n\n"])
def test_text_under_an_image_name(tmp_path, ending, content):
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a|damaged or cut off"):
        read_volume(path)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.95])
def test_cut_off_files(tmp_path, ending, compressed, share, capfd):
    array = np.random.default_rng(0).integers(-1000, 1000, (9, 10, 11)).astype(np.int16)
    path = tmp_path / f"a{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path), useCompression=compressed)
    content = path.read_bytes()
    read_volume(path)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"damaged or cut off|not a readable"):
        read_volume(path)
    assert capfd.readouterr().err == ""  # ITK's own complaints are not for users


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_damaged_compressed_voxels(tmp_path, ending, capfd):
    array = np.random.default_rng(0).integers(-1000, 1000, (9, 10, 11)).astype(np.int16)
    path = tmp_path / f"a{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path), useCompression=True)
    np.testing.assert_array_equal(read_volume(path).voxels, array)
    voxels = path.with_suffix(".zraw") if ending == ".mhd" else path
    content = bytearray(voxels.read_bytes())
    content[-len(content) // 3] ^= 0xFF
    voxels.write_bytes(content)
    with pytest.raises(InputError, match="damaged or cut off"):
        read_volume(path)
    assert capfd.readouterr().err == ""


def test_voxels_of_a_metaimage_in_a_file_of_their_own(tmp_path, capfd):
    path = sitk_file(tmp_path / "a.mhd", np.zeros((3, 4, 5), np.int16))
    voxels = tmp_path / "a.raw"
    voxels.write_bytes(voxels.read_bytes()[:-2])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_volume(path)
    voxels.unlink()
    with pytest.raises(InputError, match=r"in the file a\.raw, which is not there"):
        read_volume(path)
    assert capfd.readouterr().err == ""


def test_nifti_in_several_gzip_members(tmp_path):
    array = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    content = sitk_file(tmp_path / "a.nii", array).read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    np.testing.assert_array_equal(read_volume(path).voxels, array)
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:-2]))
    with pytest.raises(InputError, match="cut off"):
        read_volume(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_two_and_four_dimensions_and_colours(tmp_path, ending):
    flat = sitk_file(tmp_path / f"flat{ending}", np.zeros((5, 6), np.int16))
    with pytest.raises(InputError, match=r"is 2D \(6 x 5\)"):
        read_volume(flat)
    series = SimpleITK.JoinSeries([SimpleITK.Image([6, 5, 4], SimpleITK.sitkInt16)] * 2)
    SimpleITK.WriteImage(series, str(tmp_path / f"time{ending}"))
    with pytest.raises(InputError, match=r"is 4D \(6 x 5 x 4 x 2\)"):
        read_volume(tmp_path / f"time{ending}")
    colours = sitk_file(tmp_path / f"rgb{ending}", np.zeros((4, 5, 6, 3), np.uint8), vector=True)
    with pytest.raises(InputError, match=r"one number per voxel|4D|5D"):
        read_volume(colours)
    picture = sitk_file(tmp_path / f"photo{ending}", np.zeros((5, 6, 3), np.uint8), vector=True)
    with pytest.raises(InputError, match=r"one number per voxel|2D|5D"):
        read_volume(picture)


def nifti_with(path, offset, form, *values):
    content = bytearray(sitk_file(path, np.zeros((4, 5, 6), np.int16)).read_bytes())
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)
    return path


def test_four_dimensions_with_one_time_point_are_a_volume(tmp_path):
    path = nifti_with(tmp_path / "a.nii", 40, "<h", 4)
    assert read_volume(path).voxels.shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("offset", "form", "values", "words"),
    [
        (80, "<f", [0.0], "spacing 0 x 1 x 1 mm"),
        (84, "<f", [-2.0], "spacing 1 x -2 x 1 mm"),
        (88, "<f", [float("nan")], "spacing 1 x 1 x nan mm"),
        (280, "<4f", [0, 0, 0, 0], "degenerate"),
        # qform 0, sform 1; after 24 bytes of the qform the sform, sheared
        (252, "<2h24x12f", [0, 1, 1, 0.3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], "not perpendicular"),
        (42, "<h", [0], "damaged or cut off"),
    ],
)
def test_bad_nifti_geometry(tmp_path, offset, form, values, words):
    with pytest.raises(InputError, match=words):
        read_volume(nifti_with(tmp_path / "a.nii", offset, form, *values))


@pytest.mark.parametrize(
    ("codes", "axes", "x", "notes"),
    [
        ((1, 1), [1, 0, 0], 50, 0),
        ((0, 2), [1, 0, 0], 50, 0),
        ((1, 2), [1, 0, 0], 7, 1),  # ITK prefers the scanner's own coordinates
        ((1, 1), [1, 0.3, 0], 7, 1),  # and takes no sheared axes
    ],
)
def test_two_nifti_orientations_are_told(tmp_path, codes, axes, x, notes):
    quaternion, place = [0, 0, 0], [7, 0, 0]
    sform = [*axes, 50, 0, 1, 0, 0, 0, 0, 1, 0]
    values = [*codes, *quaternion, *place, *sform]
    volume = read_volume(nifti_with(tmp_path / "a.nii", 252, "<2h18f", *values))
    np.testing.assert_allclose(volume.geometry.origin_ras, [x, 0, 0])
    assert len(volume.notes) == notes


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"spacings": [0, 1, 1]}, "spacing 0 x 1 x 1 mm"),
        ({"spacings": [1, -1, 1]}, "spacing 1 x -1 x 1 mm"),
        ({"space directions": np.diag([1.0, 0, 1])}, "spacing 1 x 0 x 1 mm"),
        ({"space directions": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}, "degenerate"),
    ],
)
def test_bad_nrrd_geometry(tmp_path, header, words):
    if "space directions" in header:
        header["space"] = "left-posterior-superior"
    path = write(tmp_path / "a.nrrd", np.zeros((4, 5, 6), dtype=np.int16), **header)
    with pytest.raises(GeometryError, match=words):
        read_volume(path)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (b"NDims = 9", "not a readable"),  # ITK writes past its memory
        (b"ElementSpacing = 0 1 1", "spacing 0 x 1 x 1 mm"),
        (b"ElementSpacing = 1 1 -1", "spacing 1 x 1 x -1 mm"),
        (b"TransformMatrix = 1 0 0 1 0 0 0 0 1", "degenerate"),
    ],
)
def test_bad_metaimage_fields(tmp_path, field, words):
    path = sitk_file(tmp_path / "a.mha", np.zeros((4, 5, 6), np.int16))
    key = field.split(b" ")[0]
    lines = path.read_bytes().split(b"\n", 11)
    path.write_bytes(b"\n".join(field if line.startswith(key) else line for line in lines))
    with pytest.raises(InputError, match=words):
        read_volume(path)


def test_float_labels_are_labels_when_whole(tmp_path):
    path = sitk_file(tmp_path / "a.nii.gz", np.array([0, 1, 300], np.float32).reshape(1, 1, 3))
    found = read_labelmap(path)
    np.testing.assert_array_equal(found.labels, [[[0, 1, 300]]])
    assert found.labels.dtype == np.uint16
    assert found.names == {1: "Label 1", 300: "Label 300"}
    segments, _ = read_segmentation(path)
    assert [(s.name, int(s.mask.sum())) for s in segments] == [("Label 1", 1), ("Label 300", 1)]


@pytest.mark.parametrize("bad", [0.5, -1.0, np.nan])
def test_an_image_is_no_labelmap(tmp_path, bad):
    path = sitk_file(tmp_path / "a.nii.gz", np.array([0, bad, 3], np.float32).reshape(1, 1, 3))
    with pytest.raises(InputError, match="not a labelmap"):
        read_labelmap(path)


def test_a_segmentation_cropped_by_slicer_stays_in_place(tmp_path):
    # As Slicer saves one whose image is cropped to its segments, with its own label values.
    path = write(
        tmp_path / "a.seg.nrrd",
        np.array([[[0, 4, 9]]], dtype=np.uint8),
        **{
            "space": "left-posterior-superior",
            "space directions": np.diag([2.0, 1, 1]),
            "space origin": [10, 0, 0],
            "Segmentation_ReferenceImageExtentOffset": "5 0 0",
            "Segment0_ID": "Segment_1",
            "Segment0_Name": "liver",
            "Segment0_Color": "1 0.5 0",
            "Segment0_LabelValue": "4",
            "Segment0_Layer": "0",
            "Segment0_Tags": "Segmentation.Status:done|TerminologyEntry:a~b^c:d|",
            "Segment1_ID": "Segment_7",
            "Segment1_Name": "spleen",
            "Segment1_LabelValue": "9",
            "Segment1_Layer": "0",
        },
    )
    found = read_labelmap(path)
    np.testing.assert_array_equal(found.labels, [[[0, 4, 9]]])
    np.testing.assert_array_equal(found.geometry.to_ras([1, 0, 0]), [-12, 0, 0])
    assert found.names == {4: "liver", 9: "spleen"}
    assert found.colors == {4: (1, 0.5, 0), 9: (0.5, 0.5, 0.5)}
    assert found.notes == ()
    segments, _ = read_segmentation(path)
    assert [segment.terminology for segment in segments] == ["a~b^c:d", None]


def test_a_real_ct_and_its_labels(a_data_folder):
    volume = read_volume(a_data_folder / "ct_abdomen_3mm.nii.gz")
    labels = read_labelmap(a_data_folder / "ct_abdomen_3mm_labels.nii.gz")
    assert volume.modality == "CT"
    assert volume.geometry.matches(labels.geometry)
    assert 30 < np.median(volume.voxels[labels.labels == 5]) < 150  # liver, HU


def test_nifti_2_is_refused_by_name(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(struct.pack("<i8s", 540, b"n+2\0\r\n\x1a\n") + bytes(1000))
    with pytest.raises(InputError, match="NIfTI-2"):
        read_volume(path)


def test_big_endian_nifti(tmp_path):
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 6, 5, 4, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 16, 32)
    struct.pack_into(">4f", header, 76, 1, 0.5, 1, 2)
    struct.pack_into(">2f", header, 108, 352, 1)
    struct.pack_into(">2h24x12f", header, 252, 0, 1, 0.5, 0, 0, 7, 0, 1, 0, 8, 0, 0, 2, 9)
    header[344:347] = b"n+1"
    voxels = np.arange(120, dtype=">f4").reshape(4, 5, 6)
    voxels[1, 2, 3] = np.nan
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(header) + voxels.tobytes())
    volume = read_volume(path, fill=-1)
    np.testing.assert_array_equal(volume.voxels, np.nan_to_num(voxels, nan=-1))
    np.testing.assert_allclose(volume.geometry.to_ras([1, 1, 1]), [7.5, 9, 11])


def test_labels_of_a_labelmap_get_colors_that_tell_them_apart(tmp_path, a_geometry):
    labels = np.zeros(a_geometry.shape_kji, dtype=np.uint8)
    labels[0, 0, :2] = (3, 7)
    write_labelmap(tmp_path / "m.nrrd", labels, a_geometry)
    first, second = read_segmentation(tmp_path / "m.nrrd")[0]
    assert first.color != second.color
