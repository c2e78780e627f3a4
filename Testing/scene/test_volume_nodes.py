from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from Testing.scene.clicking import GEOMETRIES
from VoxelFeatLib.errors import GeometryError, InputError
from VoxelFeatLib.imaging.volume import VOXEL_TYPES
from VoxelFeatLib.scene.nodes.volume_nodes import (
    PART_BYTES,
    VolumeSource,
    array_of,
    check_volume,
    geometry_of,
    local_from_world,
    moved,
    stamp,
    vtk_matrix,
    world_from_local,
)


def received(source: VolumeSource) -> np.ndarray:
    data = b"".join(bytes(part) for part in source.parts())
    return np.frombuffer(data, dtype=source.dtype).reshape(source.geometry.shape_kji)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_geometry_is_that_of_the_image_without_its_transform(a_volume_node, geometry) -> None:
    node = a_volume_node(geometry, "scaled and sheared")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    result = geometry_of(node)
    assert result.shape_kji == (7, 9, 11)
    np.testing.assert_array_equal(result.ijk_to_ras, array_of(matrix))


def test_a_cropped_image_keeps_the_place_of_its_voxels(a_volume_node) -> None:
    node = a_volume_node("oblique")
    whole = geometry_of(node)
    crop = vtk.vtkExtractVOI()
    crop.SetInputData(node.GetImageData())
    crop.SetVOI(2, 6, 3, 8, 1, 4)
    crop.Update()
    node.SetAndObserveImageData(crop.GetOutput())
    assert geometry_of(node).shape_kji == (4, 6, 5)
    np.testing.assert_allclose(geometry_of(node).to_ras((0, 0, 0)), whole.to_ras((2, 3, 1)))
    assert received(VolumeSource(node))[0, 0, 0] == np.ravel_multi_index((1, 3, 2), (7, 9, 11))


def test_world_is_reached_through_nested_transforms(a_volume_node, a_transform_node) -> None:
    outer = a_transform_node("rotated")
    inner = a_transform_node("scaled and sheared", outer)
    node = a_volume_node("oblique", inner)
    to_parent = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
    outer.GetMatrixTransformToParent(to_parent[0])
    inner.GetMatrixTransformToParent(to_parent[1])
    expected = array_of(to_parent[0]) @ array_of(to_parent[1])
    np.testing.assert_allclose(world_from_local(node), expected, atol=1e-12)
    np.testing.assert_allclose(local_from_world(node) @ expected, np.eye(4), atol=1e-12)


def test_without_a_transform_world_is_the_own_space(a_volume_node) -> None:
    np.testing.assert_array_equal(world_from_local(a_volume_node("oblique")), np.eye(4))


def test_the_world_of_a_voxel_is_where_slicer_shows_it(a_volume_node) -> None:
    node = a_volume_node("gantry tilt", "scaled and sheared")
    bounds = np.zeros(6)
    node.GetSliceBounds(bounds, None)  # of the voxels' outer borders, in world
    corners = [[x, y, z] for x in (-0.5, 10.5) for y in (-0.5, 8.5) for z in (-0.5, 6.5)]
    world = moved(world_from_local(node), geometry_of(node).to_ras(corners))
    np.testing.assert_allclose(bounds[::2], world.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(bounds[1::2], world.max(axis=0), atol=1e-9)


@pytest.mark.parametrize("kind", VOXEL_TYPES)
def test_voxels_of_our_types_arrive_unchanged(a_volume_node, kind) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(kind)
    source = VolumeSource(a_volume_node(voxels=voxels))
    assert source.dtype == kind.newbyteorder("<").str
    assert source.nbytes == voxels.nbytes
    np.testing.assert_array_equal(received(source), voxels)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("i1", (-128, 127), "<i2"),
        ("i4", (-1024, 3071), "<i2"),
        ("i4", (0, 65535), "<u2"),
        ("u4", (5, 40000), "<u2"),
        ("i4", (-1, 65535), "<f4"),
        ("i8", (-3, 99), "<i2"),
        ("u8", (0, 2**40), "<f4"),
        ("f8", (-0.25, 1e6), "<f4"),
    ],
)
def test_other_types_are_sent_in_the_smallest_that_holds_them(
    a_volume_node, kind, values, expected
) -> None:
    voxels = np.linspace(*values, 60).reshape(3, 4, 5).astype(kind)
    source = VolumeSource(a_volume_node(voxels=voxels))
    assert source.dtype == expected
    np.testing.assert_array_equal(received(source), voxels.astype(expected))


def test_a_large_volume_comes_in_parts_that_are_no_copies(a_volume_node) -> None:
    voxels = np.random.default_rng(1).integers(-1000, 1000, (40, 300, 301), dtype=np.int16)
    node = a_volume_node(voxels=voxels)
    source = VolumeSource(node)
    parts = [np.frombuffer(part, dtype="<i2") for part in source.parts()]
    assert len(parts) == -(-voxels.nbytes // PART_BYTES) == 2
    assert max(part.nbytes for part in parts) == PART_BYTES
    np.testing.assert_array_equal(np.concatenate(parts), voxels.ravel())
    held = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    assert all(np.shares_memory(part, held) for part in parts)


def test_parts_can_be_asked_for_again(a_volume_node) -> None:
    source = VolumeSource(a_volume_node())
    np.testing.assert_array_equal(received(source), received(source))


def test_voxels_that_are_not_finite_are_refused_when_sent(a_volume_node) -> None:
    voxels = np.zeros((3, 4, 5), dtype=np.float32)
    voxels[1, 2, 3] = np.nan
    source = VolumeSource(a_volume_node(voxels=voxels, name="dose"))
    with pytest.raises(InputError, match="dose has voxels that are not finite"):
        received(source)


def test_a_number_too_large_for_the_worker_is_refused_when_sent(a_volume_node) -> None:
    voxels = np.full((3, 4, 5), 1e300)
    with pytest.raises(InputError, match="not finite"):
        received(VolumeSource(a_volume_node(voxels=voxels)))


def test_a_volume_that_changes_while_it_is_sent_is_refused(a_volume_node) -> None:
    node = a_volume_node(voxels=np.zeros((40, 300, 301), dtype=np.int16), name="dose")
    parts = VolumeSource(node).parts()
    next(parts)
    node.GetImageData().AllocateScalars(vtk.VTK_SHORT, 1)
    with pytest.raises(InputError, match="dose changed while it was sent"):
        next(parts)


@pytest.mark.parametrize(
    ("modality", "units", "low", "expected"),
    [
        ("CT", "", 0, "CT"),
        ("MR", "", -1000, "MR"),
        ("PT", "", -1000, "other"),
        ("", "[hnsf'U]", 0, "CT"),
        ("MR", "[hnsf'U]", 0, "MR"),
        ("", "{SUVbw}g/ml", 0, "other"),
        ("", "", -1000, "CT"),
        ("", "", 0, "other"),
    ],
)
def test_the_modality_is_dicoms_or_the_units_or_guessed(
    a_scene, a_volume_node, modality, units, low, expected
) -> None:
    node = a_volume_node(voxels=np.linspace(low, 1000, 60).reshape(3, 4, 5).astype(np.int16))
    if modality:
        hierarchy = a_scene.GetSubjectHierarchyNode()
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        hierarchy.SetItemAttribute(item, "DICOM.Modality", modality)
    if units:
        entry = slicer.vtkCodedEntry()
        entry.SetValueSchemeMeaning(units, "UCUM", "a unit")
        node.SetVoxelValueUnits(entry)
    assert VolumeSource(node).modality == expected


def test_the_stamp_changes_with_voxels_and_their_place_only(
    a_volume_node, a_transform_node
) -> None:
    node = a_volume_node("oblique")
    before = stamp(node)
    node.SetName("renamed")
    node.CreateDefaultDisplayNodes()
    node.GetImageData().GetPointData().GetScalars().GetRange()
    node.SetAndObserveTransformNodeID(a_transform_node("rotated").GetID())
    VolumeSource(node)
    node.Modified()
    assert stamp(node) == before
    node.GetImageData().GetPointData().GetScalars().Modified()
    after_voxels = stamp(node)
    assert after_voxels != before
    node.SetOrigin(1, 2, 3)
    assert stamp(node) != after_voxels


def test_the_stamp_of_a_node_without_an_image_is_empty(a_scene) -> None:
    assert stamp(a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")) == ()


def test_the_stamp_changes_when_another_image_is_set(a_volume_node) -> None:
    node, other = a_volume_node(), a_volume_node()
    before = stamp(node)
    node.SetAndObserveImageData(other.GetImageData())
    assert stamp(node) != before


# --------------------------------------------------------------------- what cannot be used


def test_a_usable_volume_is_accepted(a_volume_node) -> None:
    check_volume(a_volume_node("gantry tilt", "scaled and sheared"))


def test_no_volume_is_refused() -> None:
    with pytest.raises(InputError, match=r"^Choose a volume\.$"):
        check_volume(None)


@pytest.mark.parametrize(
    ("kind", "components", "sentence"),
    [
        ("vtkMRMLVectorVolumeNode", 3, "has 3 numbers per voxel .* Vector to Scalar Volume"),
        ("vtkMRMLScalarVolumeNode", 4, "has 4 numbers per voxel"),
        ("vtkMRMLLabelMapVolumeNode", 1, "is a label map: choose the image"),
        ("vtkMRMLDiffusionWeightedVolumeNode", 1, "is a diffusion volume"),
    ],
)
def test_volumes_of_another_kind_are_refused(a_volume_node, kind, components, sentence) -> None:
    shape = (3, 4, 5) if components == 1 else (3, 4, 5, components)
    node = a_volume_node(voxels=np.zeros(shape, dtype=np.uint8), kind=kind, name="photo")
    with pytest.raises(InputError, match=f"photo {sentence}"):
        check_volume(node)


def test_a_volume_without_an_image_is_refused(a_scene) -> None:
    node = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "lost")
    with pytest.raises(InputError, match="lost holds no image: load it again"):
        check_volume(node)
    image = vtk.vtkImageData()
    image.SetDimensions(3, 4, 5)
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="lost holds no image: load it again"):
        check_volume(node)


def test_a_type_that_numpy_does_not_know_is_refused(a_volume_node) -> None:
    node = a_volume_node(name="bits")
    node.GetImageData().AllocateScalars(vtk.VTK_BIT, 1)
    with pytest.raises(InputError, match=r"bits has voxels of the type bit: .*Cast Scalar Volume"):
        check_volume(node)


def test_flat_axes_are_refused(a_volume_node) -> None:
    node = a_volume_node()
    node.SetIJKToRASDirections(1, 0, 0, 0, 1, 1, 0, 0, 0)
    with pytest.raises(GeometryError, match="degenerate"):
        check_volume(node)


def test_a_non_linear_transform_is_refused_even_above_a_linear_one(
    a_scene, a_volume_node, a_transform_node
) -> None:
    warp = a_scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "a warp")
    grid = vtk.vtkImageData()
    grid.SetDimensions(3, 3, 3)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    warp.SetAndObserveTransformToParent(transform)
    node = a_volume_node("oblique", a_transform_node("rotated", warp), name="warped")
    sentence = "warped is under the non-linear transform a transform: harden it"
    with pytest.raises(InputError, match=sentence):
        check_volume(node)


def test_a_transform_that_flattens_is_refused(a_volume_node) -> None:
    node = a_volume_node("oblique", np.diag([1.0, 1.0, 0.0, 1.0]), name="flat")
    with pytest.raises(InputError, match="flattens flat"):
        check_volume(node)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_frame_of_a_sequence_is_refused_unless_it_is_the_only_one(
    a_scene, a_volume_node, frames
) -> None:
    node = a_volume_node(name="beating heart")
    sequence = a_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
    for frame in range(frames):
        sequence.SetDataNodeAtValue(node, str(frame))
    browser = a_scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(node, sequence, False)
    assert browser.IsProxyNodeID(node.GetID())
    if frames == 1:
        check_volume(node)
    else:
        with pytest.raises(InputError, match="beating heart is one frame of a sequence"):
            check_volume(node)
        check_volume(a_volume_node(name="another"))


def test_a_vtk_matrix_and_its_array_are_the_same() -> None:
    array = np.arange(16.0).reshape(4, 4)
    np.testing.assert_array_equal(array_of(vtk_matrix(array)), array)
    assert vtk_matrix(array).GetElement(1, 3) == 7


def test_a_volume_that_went_through_a_file_is_sent_the_same(
    a_volume_node, a_new_scene, tmp_path: Path
) -> None:
    node = a_volume_node("oblique")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetSingleFile(1)
    storage.SetFileName(str(tmp_path / "volume.nrrd"))
    assert storage.WriteData(node)
    again = a_new_scene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "again")
    assert storage.ReadData(again)
    assert geometry_of(again).matches(geometry_of(node))
    np.testing.assert_array_equal(received(VolumeSource(again)), received(VolumeSource(node)))
