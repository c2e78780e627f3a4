from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from VoxelFeatLib.errors import GeometryError, InputError
from VoxelFeatLib.imaging.reading import read_volume

SERIES = "1.2.826.0.1.3680043.8.498.1"
ROWS, COLUMNS = 4, 3


def stored(k):
    """Stored values of slice k: every pixel of a stack another value."""
    return (100 * k + np.arange(ROWS * COLUMNS)).reshape(ROWS, COLUMNS).astype(np.uint16)


def write_slice(folder, k, *, name=None, position=None, pixels=None, syntax=None, **tags):
    """Write one CT slice, 2 mm above slice k - 1, with rows of 0.8 mm and columns of 0.5 mm."""
    pixels = stored(k) if pixels is None else pixels
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SeriesInstanceUID = SERIES
    dataset.StudyInstanceUID = SERIES + ".0"
    dataset.SeriesNumber, dataset.SeriesDescription = 3, "Abdomen"
    dataset.Modality, dataset.InstanceNumber = "CT", k + 1
    dataset.ImagePositionPatient = [10, 20, 30 + 2 * k] if position is None else position
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.5], 5
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    for tag, value in tags.items():
        if value is None:
            delattr(dataset, tag)
        else:
            setattr(dataset, tag, value)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    elif syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    folder.mkdir(exist_ok=True)
    path = folder / (name or f"IM{(7 * k) % 10}{k}")  # file names in another order than positions
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def a_dicom_folder(tmp_path):
    folder = tmp_path / "scan"
    for k in range(4):
        write_slice(folder, k)
    return folder


def test_slices_are_sorted_by_position_and_rescaled(a_dicom_folder):
    (a_dicom_folder / "README.txt").write_text("not DICOM")
    volume = read_volume(a_dicom_folder)
    assert volume.voxels.dtype == np.int16
    expected = np.stack([stored(k) for k in range(4)]).astype(int) - 1024
    np.testing.assert_array_equal(volume.voxels, expected)
    expected_matrix = [[-0.5, 0, 0, -10], [0, -0.8, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, expected_matrix, atol=1e-12)
    assert (volume.modality, volume.name, volume.notes) == ("CT", "Abdomen", ())


def test_coronal_slices_run_along_their_normal(tmp_path):
    for k in range(3):
        position = [10, 20 - 3 * k, 30]
        write_slice(
            tmp_path / "s", k, position=position, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]
        )
    geometry = read_volume(tmp_path / "s").geometry
    # The normal of (1, 0, 0), (0, 0, -1) is +P: the last slice written comes first.
    np.testing.assert_allclose(geometry.to_ras([0, 0, 0]), [-10, -14, 30])
    np.testing.assert_allclose(geometry.to_ras([2, 1, 1]), [-11, -17, 29.2])


@pytest.mark.parametrize("syntax", [RLELossless, ImplicitVRLittleEndian])
def test_other_transfer_syntaxes(tmp_path, syntax):
    pixels = np.arange(16 * 16).reshape(16, 16).astype(np.uint16)
    write_slice(tmp_path / "s", 0, pixels=pixels, syntax=syntax)
    voxels = read_volume(tmp_path / "s").voxels
    np.testing.assert_array_equal(voxels[0], pixels.astype(int) - 1024)


@pytest.mark.parametrize("codec", ["JPEG", "JPEG2000"])
def test_lossless_jpeg(tmp_path, codec):
    pixels = np.arange(16 * 16).reshape(16, 16).astype(np.uint16)
    writer = SimpleITK.ImageFileWriter()
    writer.UseCompressionOn()
    writer.SetCompressor(codec)
    writer.SetFileName(str(tmp_path / "encoded.dcm"))
    writer.Execute(SimpleITK.GetImageFromArray(pixels))
    encoded = pydicom.dcmread(tmp_path / "encoded.dcm")
    assert encoded.file_meta.TransferSyntaxUID.is_compressed
    path = write_slice(tmp_path / "s", 0, pixels=pixels)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
    dataset["PixelData"] = encoded["PixelData"]
    dataset.save_as(path, enforce_file_format=True)
    voxels = read_volume(tmp_path / "s").voxels
    np.testing.assert_array_equal(voxels[0], pixels.astype(int) - 1024)


def test_every_slice_has_its_own_rescale(tmp_path):
    for k in range(3):
        write_slice(tmp_path / "s", k, RescaleSlope=k + 0.5, RescaleIntercept=k, Modality="PT")
    volume = read_volume(tmp_path / "s")
    assert volume.voxels.dtype == np.float32
    expected = np.stack([stored(k) * (k + 0.5) + k for k in range(3)])
    np.testing.assert_allclose(volume.voxels, expected, rtol=1e-6)
    assert volume.modality == "other"


def test_values_beyond_int16_become_float(tmp_path):
    for k in range(2):
        pixels = np.full((2, 2), 60000 * k, dtype=np.uint16)
        write_slice(tmp_path / "s", k, pixels=pixels, RescaleIntercept=0)
    voxels = read_volume(tmp_path / "s").voxels
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(voxels[:, 0, 0], [0, 60000])


def test_a_missing_slice_is_interpolated_and_told(tmp_path):
    for k in (0, 1, 2, 4, 5):
        write_slice(tmp_path / "s", k)
    volume = read_volume(tmp_path / "s")
    expected = np.stack([stored(k) for k in range(6)]).astype(int) - 1024
    np.testing.assert_array_equal(volume.voxels, expected)  # slice 3 lies midway in value too
    np.testing.assert_allclose(volume.geometry.spacing, [0.5, 0.8, 2])
    assert len(volume.notes) == 1
    assert "1 slice is missing between 34.0 and 38.0 mm" in volume.notes[0]


def test_uneven_slices_are_interpolated_and_told(tmp_path):
    for k, z in enumerate([0, 2, 4.5, 6]):
        write_slice(tmp_path / "s", k, position=[0, 0, z])
    volume = read_volume(tmp_path / "s")
    np.testing.assert_allclose(volume.geometry.spacing[2], 2)
    assert volume.voxels[:, 0, 0].tolist() == [-1024, -924, -844, -724]  # 4 mm: 4/5 of the way
    assert "1 slice is unevenly spaced" in volume.notes[0]


def test_repeated_slices_are_left_out_and_told(a_dicom_folder):
    write_slice(a_dicom_folder, 2, name="again", pixels=stored(9), InstanceNumber=99)
    volume = read_volume(a_dicom_folder)
    assert volume.voxels.shape[0] == 4
    assert volume.voxels[2, 0, 0] == 200 - 1024
    assert "1 repeated slice was left out" in volume.notes[0]


def test_a_copied_file_is_no_repeat(a_dicom_folder):
    for path in list(a_dicom_folder.iterdir()):
        (a_dicom_folder / f"copy of {path.name}").write_bytes(path.read_bytes())
    volume = read_volume(a_dicom_folder)
    assert volume.voxels.shape[0] == 4
    assert volume.notes == ()


def test_time_points_are_refused(a_dicom_folder):
    for k in range(4):
        write_slice(a_dicom_folder, k, name=f"later{k}")
    with pytest.raises(InputError, match="2 images at every position"):
        read_volume(a_dicom_folder)


def test_a_tilted_gantry_is_kept_exactly_and_told(tmp_path):
    for k in range(3):
        write_slice(tmp_path / "s", k, position=[0, k * 2 * np.tan(np.radians(12)), 2 * k])
    volume = read_volume(tmp_path / "s")
    expected = [0, -2 * 2 * np.tan(np.radians(12)), 4]
    np.testing.assert_allclose(volume.geometry.to_ras([0, 0, 2]), expected, atol=1e-9)
    assert "tilted by 12.0 degrees" in volume.notes[0]


def test_slices_off_the_line_are_refused(a_dicom_folder):
    write_slice(a_dicom_folder, 4, position=[15, 20, 38])
    write_slice(a_dicom_folder, 5)
    with pytest.raises(GeometryError, match="straight line"):
        read_volume(a_dicom_folder)


def test_one_slice_has_its_thickness(tmp_path):
    write_slice(tmp_path / "s", 0)
    volume = read_volume(tmp_path / "s")
    assert volume.voxels.shape == (1, ROWS, COLUMNS)
    np.testing.assert_allclose(volume.geometry.spacing, [0.5, 0.8, 5])


def test_several_series_are_listed_and_named(a_dicom_folder):
    other = {
        "SeriesInstanceUID": SERIES + ".7",
        "SeriesNumber": 7,
        "SeriesDescription": "Lung",
    }
    write_slice(a_dicom_folder / "sub", 0, **other)
    with pytest.raises(InputError, match="2 series") as caught:
        read_volume(a_dicom_folder)
    assert f"3 “Abdomen” (4 slices, {SERIES})" in caught.value.message
    assert f"7 “Lung” (1 slice, {SERIES}.7)" in caught.value.message
    for name in ("7", "lung", SERIES + ".7"):
        assert read_volume(a_dicom_folder, series=name).name == "Lung"
    assert read_volume(a_dicom_folder, series=SERIES).name == "Abdomen"
    with pytest.raises(InputError, match=r"No series in .* is called “bone”: 3 “Abdomen”"):
        read_volume(a_dicom_folder, series="bone")
    write_slice(a_dicom_folder, 0, name="x", SeriesInstanceUID=SERIES + ".8", SeriesNumber=7)
    with pytest.raises(InputError, match=r"2 series in .* are called “7”"):
        read_volume(a_dicom_folder, series="7")


def test_a_folder_without_images(tmp_path):
    with pytest.raises(InputError, match="contains no DICOM images"):
        read_volume(tmp_path)
    write_slice(tmp_path, 0, Rows=None, Columns=None, PixelData=None)  # such as a report
    with pytest.raises(InputError, match="contains no DICOM images"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"ImagePositionPatient": None}, "does not say its ImagePositionPatient"),
        ({"PixelSpacing": None}, "does not say its PixelSpacing"),
        ({"PixelSpacing": [0.8, 0]}, "must be positive"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "degenerate"),
        ({"NumberOfFrames": 5}, "multi-frame"),
        ({"SamplesPerPixel": 3}, "colour"),
    ],
)
def test_unusable_slices(tmp_path, tags, words):
    write_slice(tmp_path / "s", 0, **tags)
    with pytest.raises(InputError, match=words):
        read_volume(tmp_path / "s")


def test_slices_of_another_size_are_refused(a_dicom_folder):
    write_slice(a_dicom_folder, 4, pixels=np.zeros((2, 2), np.uint16))
    with pytest.raises(InputError, match="another size"):
        read_volume(a_dicom_folder)


def test_a_cut_off_slice_is_named(a_dicom_folder):
    path = write_slice(a_dicom_folder, 4, name="broken")
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(InputError, match="broken: it is damaged or cut off"):
        read_volume(a_dicom_folder)
