"""Segments' voxels, written and read on the volume's grid."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk  # noqa: E402
from vtk.util import numpy_support  # noqa: E402

from VoxelFeatLib.errors import InputError  # noqa: E402
from VoxelFeatLib.scene.segments import segment_writer as module  # noqa: E402
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter  # noqa: E402
from VoxelFeatLib.segmenting.extent import Extent  # noqa: E402

SHAPE = (7, 9, 11)
WHOLE = Extent.whole(SHAPE)
A, B = "liver", "spleen"


def mask_of(*boxes: tuple[tuple[int, int, int], tuple[int, int, int]]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    for start, stop in boxes:
        mask[Extent(start, stop).slices] = True
    return mask


LEFT = mask_of(((1, 2, 1), (5, 7, 6)))
RIGHT = mask_of(((2, 1, 4), (6, 8, 10)))
BOTH = LEFT & RIGHT


@pytest.fixture
def a_volume(a_volume_node):
    return a_volume_node("oblique")


@pytest.fixture
def a_segmentation(a_segmentation_node, a_volume):
    return a_segmentation_node(a_volume, (A, B))


@pytest.fixture
def an_editor(a_scene, a_segmentation, a_volume):
    node = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(a_segmentation)
    node.SetAndObserveSourceVolumeNode(a_volume)
    return node


@pytest.fixture
def a_writer(a_segmentation, a_volume, an_editor):
    return SegmentWriter(a_segmentation, a_volume, an_editor)


def by_slicer(node, segment_id, volume_node):
    """A segment's voxels on a volume's grid as Slicer itself resamples and exports them."""
    ids = vtk.vtkStringArray()
    ids.InsertNextValue(segment_id)
    labelmap = node.GetScene().AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
        node, ids, labelmap, volume_node
    )
    image = labelmap.GetImageData()
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    node.GetScene().RemoveNode(labelmap)
    return voxels.reshape(image.GetDimensions()[::-1]) != 0


def in_world(node, ijk_to_local, ijk):
    """World positions of voxels, through a node's parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
    world = np.array(matrix.GetData()).reshape(4, 4) @ ijk_to_local
    return ijk @ world[:3, :3].T + world[:3, 3]


def segment_positions(node, segment_id):
    """World positions of a segment's voxels, in the order of their indices."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    found = np.argwhere(voxels.reshape(image.GetDimensions()[::-1]))[:, ::-1]
    first = np.array(image.GetExtent()[::2])
    return in_world(node, np.array(matrix.GetData()).reshape(4, 4), found + first)


def edit(node, segment_id, mask, volume_node):
    """Change a segment as the Segment Editor's effects do."""
    labelmap = slicer.vtkOrientedImageData()
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    labelmap.SetImageToWorldMatrix(matrix)
    labelmap.SetDimensions(*mask.shape[::-1])
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars())[:] = mask.ravel()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(
        labelmap, node, segment_id, logic.MODE_REPLACE, None, False, []
    )


def layers(node):
    segmentation = node.GetSegmentation()
    return {
        segmentation.GetSegment(name).GetRepresentation("Binary labelmap")
        for name in segmentation.GetSegmentIDs()
    }


class TestGeometry:
    @pytest.mark.parametrize(
        "geometry",
        ["plain", "lps", "flipped", "sagittal", "oblique", "oblique, left-handed", "gantry tilt"],
    )
    def test_slicer_sees_the_voxels_where_they_were_written(
        self, a_volume_node, a_segmentation_node, geometry
    ):
        volume = a_volume_node(geometry)
        node = a_segmentation_node(volume)
        SegmentWriter(node, volume).write(A, WHOLE, LEFT)
        np.testing.assert_array_equal(by_slicer(node, A, volume), LEFT)

    @pytest.mark.parametrize("under", ["moved", "rotated", "scaled and sheared", "mirrored"])
    @pytest.mark.parametrize("other", ["none", "rotated"])
    def test_volume_and_segmentation_under_different_transforms(
        self, a_volume_node, a_segmentation_node, a_transform_node, under, other
    ):
        volume = a_volume_node("oblique", under)
        node = a_segmentation_node(volume)
        if other == "none":
            node.SetAndObserveTransformNodeID(None)
        else:
            node.SetAndObserveTransformNodeID(a_transform_node(other).GetID())
        writer = SegmentWriter(node, volume)
        writer.write(A, WHOLE, LEFT)
        np.testing.assert_array_equal(writer.read(A), LEFT)
        local = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(local)
        voxels = np.argwhere(LEFT)[:, ::-1]
        positions = in_world(volume, np.array(local.GetData()).reshape(4, 4), voxels)
        np.testing.assert_allclose(segment_positions(node, A), positions, atol=1e-9)

    def test_a_non_linear_transform_is_refused(self, a_scene, a_volume, a_segmentation):
        warp = a_scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
        spline = vtk.vtkThinPlateSplineTransform()
        warp.SetAndObserveTransformToParent(spline)
        a_segmentation.SetAndObserveTransformNodeID(warp.GetID())
        with pytest.raises(InputError, match="non-linear"):
            SegmentWriter(a_segmentation, a_volume)

    def test_surfaces_as_source_are_refused(self, a_scene, a_volume):
        node = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        sphere = vtk.vtkSphereSource()
        sphere.Update()
        node.GetSegmentation().SetSourceRepresentationName("Closed surface")
        node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball")
        with pytest.raises(InputError, match="source representation"):
            SegmentWriter(node, a_volume)


class TestWriting:
    def test_only_the_extent_changes(self, a_writer):
        a_writer.write(A, WHOLE, LEFT)
        extent = Extent((2, 0, 0), (4, 9, 4))
        a_writer.write(A, extent, np.zeros(extent.shape, dtype=bool))
        expected = LEFT.copy()
        expected[extent.slices] = False
        np.testing.assert_array_equal(a_writer.read(A), expected)

    def test_the_labelmap_grows_with_the_segment(self, a_writer, a_segmentation, a_volume):
        for extent in (Extent((3, 4, 5), (4, 5, 6)), Extent((0, 0, 0), (1, 1, 1)), WHOLE):
            a_writer.write(A, extent, np.ones(extent.shape, dtype=bool))
        assert a_writer.read(A).all()
        assert by_slicer(a_segmentation, A, a_volume).all()

    def test_what_does_not_fit_is_refused(self, a_writer):
        with pytest.raises(InputError, match="does not fit"):
            a_writer.queue(A, WHOLE, LEFT[1:])
        outside = Extent((0, 0, 0), (8, 9, 11))
        with pytest.raises(InputError, match="does not fit"):
            a_writer.queue(A, outside, np.zeros(outside.shape, dtype=bool))
        with pytest.raises(InputError, match="no segment"):
            a_writer.queue("nobody", WHOLE, LEFT)

    def test_name_colour_and_terminology_stay(self, a_writer, a_segmentation):
        segment = a_segmentation.GetSegmentation().GetSegment(A)
        segment.SetColor(0.1, 0.2, 0.3)
        segment.SetTag("TerminologyEntry", "Segmentation category~SCT^123037004")
        a_writer.write(A, WHOLE, LEFT)
        tag = vtk.reference("")
        segment.GetTag("TerminologyEntry", tag)
        assert str(tag) == "Segmentation category~SCT^123037004"
        assert segment.GetColor() == (0.1, 0.2, 0.3)
        assert segment.GetName() == A

    def test_the_segment_counts_as_in_progress(self, a_writer, a_segmentation):
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        a_writer.write(A, WHOLE, LEFT)
        segmentation = a_segmentation.GetSegmentation()
        assert logic.GetSegmentStatus(segmentation.GetSegment(A)) == logic.InProgress
        assert logic.GetSegmentStatus(segmentation.GetSegment(B)) == logic.NotStarted

    def test_observers_hear_which_segment_changed(self, a_writer, a_segmentation):
        heard = []

        @vtk.calldata_type(vtk.VTK_STRING)
        def listen(_caller, _event, segment_id):
            heard.append(segment_id)

        a_segmentation.AddObserver(a_segmentation.GetSegmentation().RepresentationModified, listen)
        a_writer.write(A, WHOLE, LEFT)
        assert heard == [A]
        a_writer.write(A, WHOLE, LEFT)
        assert heard == [A]  # nothing changed

    def test_the_node_counts_as_unsaved(self, a_writer, a_segmentation, tmp_path):
        a_writer.write(A, WHOLE, RIGHT)
        storage = a_segmentation.GetScene().AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        storage.SetFileName(str(tmp_path / "a.seg.nrrd"))
        a_segmentation.SetAndObserveStorageNodeID(storage.GetID())
        assert storage.WriteData(a_segmentation)
        assert not a_segmentation.GetModifiedSinceRead()
        a_writer.write(A, WHOLE, LEFT)
        assert a_segmentation.GetModifiedSinceRead()

    def test_a_segment_removed_meanwhile_is_passed_over(self, a_writer, a_segmentation):
        a_writer.queue(A, WHOLE, LEFT)
        a_writer.queue(B, WHOLE, RIGHT)
        a_segmentation.GetSegmentation().RemoveSegment(A)
        while a_writer.step():
            pass
        np.testing.assert_array_equal(a_writer.read(B), RIGHT)

    def test_a_label_beyond_a_byte(self, a_writer, a_segmentation):
        segmentation = a_segmentation.GetSegmentation()
        for number in range(300):
            segmentation.AddEmptySegment(f"s{number}")
        assert segmentation.GetSegment("s299").GetLabelValue() > 255
        a_writer.write("s299", WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read("s299"), LEFT)
        assert not a_writer.read(A).any()


class TestQueue:
    @pytest.fixture(autouse=True)
    def tiny_pieces(self, monkeypatch):
        monkeypatch.setattr(module, "_WRITTEN", 50)

    def test_the_newest_mask_counts_in_whatever_order(self, a_writer):
        rng = np.random.default_rng(3)
        expected = np.zeros(SHAPE, dtype=bool)
        for _ in range(40):
            start = [int(rng.integers(0, n)) for n in SHAPE]
            stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, SHAPE, strict=True)]
            extent = Extent.of(start, stop)
            mask = rng.random(extent.shape) < 0.5
            a_writer.queue(A, extent, mask)
            expected[extent.slices] = mask
            for _ in range(int(rng.integers(0, 3))):
                a_writer.step(0.0)
        assert a_writer.busy
        while a_writer.step(0.0):
            pass
        np.testing.assert_array_equal(a_writer.read(A), expected)

    def test_the_newest_is_written_first(self, a_writer):
        a_writer.write(A, WHOLE, LEFT)
        a_writer.queue(A, WHOLE, np.ones(SHAPE, dtype=bool))
        newest = Extent((6, 0, 0), (7, 1, 1))
        a_writer.queue(B, newest, np.ones((1, 1, 1), dtype=bool))
        while not a_writer.read(B).any():
            a_writer.step(0.0)
        assert a_writer.busy
        np.testing.assert_array_equal(a_writer.read(A), LEFT)

    def test_a_mask_may_be_changed_after_it_was_queued(self, a_writer):
        mask = LEFT.copy()
        a_writer.queue(A, WHOLE, mask)
        mask[:] = True
        while a_writer.step():
            pass
        np.testing.assert_array_equal(a_writer.read(A), LEFT)

    def test_a_covered_mask_is_not_written(self, a_writer):
        a_writer.queue(A, WHOLE, np.ones(SHAPE, dtype=bool))
        a_writer.queue(A, WHOLE, LEFT)
        while a_writer.step(0.0):
            assert not (a_writer.read(A) & ~LEFT).any()
        np.testing.assert_array_equal(a_writer.read(A), LEFT)

    def test_what_is_forgotten_is_told(self, a_writer):
        a_writer.queue(A, WHOLE, LEFT)
        a_writer.step(0.0)
        dropped = a_writer.forget(A)
        while a_writer.step(0.0):
            pass
        covered = np.zeros(SHAPE, dtype=bool)
        for extent in dropped:
            covered[extent.slices] = True
        np.testing.assert_array_equal(a_writer.read(A), LEFT & ~covered)
        assert covered.any()


class TestNeighbours:
    def test_all_are_overwritten(self, a_writer, an_editor):
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(a_writer.read(B), RIGHT)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & ~RIGHT)

    def test_none_is_overwritten(self, a_writer, an_editor, a_segmentation, a_volume):
        an_editor.SetOverwriteMode(an_editor.OverwriteNone)
        a_writer.write(A, WHOLE, LEFT)
        assert len(layers(a_segmentation)) == 1
        a_writer.write(B, WHOLE, RIGHT)
        assert len(layers(a_segmentation)) == 2
        for name, mask in ((A, LEFT), (B, RIGHT)):
            np.testing.assert_array_equal(a_writer.read(name), mask)
            np.testing.assert_array_equal(by_slicer(a_segmentation, name, a_volume), mask)

    def test_without_an_editor_none_is_overwritten(self, a_segmentation, a_volume):
        writer = SegmentWriter(a_segmentation, a_volume)
        writer.write(A, WHOLE, LEFT)
        writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(writer.read(A), LEFT)

    @pytest.mark.parametrize("visible", [True, False])
    def test_visible_ones_are_overwritten(self, a_writer, an_editor, a_segmentation, visible):
        an_editor.SetOverwriteMode(an_editor.OverwriteVisibleSegments)
        a_segmentation.GetDisplayNode().SetSegmentVisibility(A, visible)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & ~RIGHT if visible else LEFT)
        np.testing.assert_array_equal(a_writer.read(B), RIGHT)

    @pytest.mark.parametrize("apart", [True, False])
    def test_a_neighbour_gets_back_what_is_left_again(
        self, a_writer, an_editor, a_segmentation, apart
    ):
        if apart:
            a_segmentation.GetSegmentation().SeparateSegmentLabelmap(B)
        assert len(layers(a_segmentation)) == 1 + apart
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        a_writer.write(B, WHOLE, RIGHT & ~mask_of(((0, 0, 0), (3, 9, 11))))
        left_again = LEFT & ~mask_of(((3, 0, 0), (7, 9, 11)))
        np.testing.assert_array_equal(a_writer.read(A), (LEFT & ~RIGHT) | left_again)
        a_writer.write(B, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(A), LEFT)

    def test_voxels_erased_by_hand_are_not_given_back(
        self, a_writer, an_editor, a_segmentation, a_volume
    ):
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        edit(a_segmentation, B, np.zeros(SHAPE, dtype=bool), a_volume)
        a_writer.write(B, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(A), LEFT & ~RIGHT)

    def test_a_neighbour_on_another_grid_is_overwritten(self, a_segmentation, a_volume, an_editor):
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        coarse = coarse_labelmap(a_volume)
        segment = a_segmentation.GetSegmentation().GetSegment(A)
        segment.AddRepresentation("Binary labelmap", coarse)
        segment.SetLabelValue(1)
        writer = SegmentWriter(a_segmentation, a_volume, an_editor)
        before = writer.read(A)
        assert (before & RIGHT).any()
        writer.write(B, WHOLE, RIGHT)
        np.testing.assert_array_equal(writer.read(A), before & ~RIGHT)
        np.testing.assert_array_equal(by_slicer(a_segmentation, A, a_volume), before & ~RIGHT)


def coarse_labelmap(volume_node):
    """A labelmap of voxels twice as large along i and j, set but for its first slice."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    scale = vtk.vtkMatrix4x4()
    for axis, (factor, shift) in enumerate([(2, 0.5), (2, 0.5), (1, 0)]):
        scale.SetElement(axis, axis, factor)
        scale.SetElement(axis, 3, shift)
    vtk.vtkMatrix4x4.Multiply4x4(matrix, scale, matrix)
    labelmap = slicer.vtkOrientedImageData()
    labelmap.SetImageToWorldMatrix(matrix)
    labelmap.SetExtent(0, 3, 0, 3, 0, 6)
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels = numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars())
    voxels[:] = 1
    voxels[:16] = 0
    return labelmap


COARSE = mask_of(((1, 0, 0), (7, 8, 8)))


class TestOtherGrids:
    @pytest.fixture
    def a_coarse_segment(self, a_segmentation, a_volume):
        segment = a_segmentation.GetSegmentation().GetSegment(A)
        segment.AddRepresentation("Binary labelmap", coarse_labelmap(a_volume))
        return segment

    @pytest.mark.usefixtures("a_coarse_segment")
    def test_reading(self, a_writer):
        np.testing.assert_array_equal(a_writer.read(A), COARSE)
        extent = Extent((0, 6, 5), (3, 9, 11))
        np.testing.assert_array_equal(a_writer.read(A, extent), COARSE[extent.slices])

    @pytest.mark.usefixtures("a_coarse_segment")
    def test_reading_part_by_part(self, a_writer, monkeypatch):
        monkeypatch.setattr(module, "_READ", 60)
        whole = np.zeros(SHAPE, dtype=bool)
        for extent, mask in a_writer.slabs(A):
            whole[extent.slices] = mask
        np.testing.assert_array_equal(whole, COARSE)

    @pytest.mark.usefixtures("a_coarse_segment")
    def test_writing_keeps_what_is_outside_the_extent(self, a_writer, a_segmentation, a_volume):
        extent = Extent((1, 0, 0), (2, 9, 11))
        a_writer.write(A, extent, LEFT[extent.slices])
        expected = COARSE.copy()
        expected[extent.slices] = LEFT[extent.slices]
        np.testing.assert_array_equal(a_writer.read(A), expected)
        np.testing.assert_array_equal(by_slicer(a_segmentation, A, a_volume), expected)

    def test_those_that_share_the_labelmap_stay_on_their_grid(
        self, a_segmentation, a_volume, a_coarse_segment
    ):
        image = a_coarse_segment.GetRepresentation("Binary labelmap")
        segment = a_segmentation.GetSegmentation().GetSegment(B)
        segment.AddRepresentation("Binary labelmap", image)
        segment.SetLabelValue(2)
        writer = SegmentWriter(a_segmentation, a_volume)
        writer.write(B, WHOLE, LEFT)
        np.testing.assert_array_equal(writer.read(B), LEFT)
        np.testing.assert_array_equal(writer.read(A), COARSE)
        assert a_coarse_segment.GetRepresentation("Binary labelmap") is image
        assert image.GetDimensions() == (4, 4, 7)


class TestMasking:
    """Where the Segment Editor forbids changes there are none, and none is forgotten elsewhere."""

    @pytest.fixture
    def a_third(self, a_segmentation, a_writer, an_editor):
        an_editor.SetOverwriteMode(an_editor.OverwriteNone)
        a_writer.write(B, WHOLE, RIGHT)
        a_segmentation.GetSegmentation().AddEmptySegment("third", "third")
        return "third"

    @pytest.mark.parametrize(
        ("mode", "allowed"),
        [
            ("EditAllowedEverywhere", np.ones(SHAPE, dtype=bool)),
            ("EditAllowedInsideAllSegments", RIGHT),
            ("EditAllowedInsideSingleSegment", RIGHT),
            ("EditAllowedOutsideAllSegments", ~RIGHT),
        ],
    )
    def test_areas(self, a_writer, an_editor, a_third, mode, allowed):
        an_editor.SetMaskMode(getattr(slicer.vtkMRMLSegmentationNode, mode))
        an_editor.SetMaskSegmentID(B)
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(a_third), LEFT & allowed)

    @pytest.mark.parametrize("inside", [True, False])
    def test_visible_areas(self, a_writer, an_editor, a_segmentation, a_third, inside):
        mode = slicer.vtkMRMLSegmentationNode
        an_editor.SetMaskMode(
            mode.EditAllowedInsideVisibleSegments
            if inside
            else mode.EditAllowedOutsideVisibleSegments
        )
        a_segmentation.GetDisplayNode().SetSegmentVisibility(B, False)
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(a_third), LEFT & (not inside))

    def test_masked_voxels_stay_set(self, a_writer, an_editor, a_third):
        a_writer.write(a_third, WHOLE, LEFT)
        an_editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        a_writer.write(a_third, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(a_third), BOTH)

    def test_a_segment_may_leave_the_one_it_grew_into(self, a_writer, an_editor, a_third):
        an_editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        an_editor.SetMaskSegmentID(B)
        an_editor.SetOverwriteMode(an_editor.OverwriteAllSegments)
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(B), RIGHT & ~LEFT)
        a_writer.write(a_third, WHOLE, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(a_writer.read(B), RIGHT)
        assert not a_writer.read(a_third).any()

    def test_areas_mean_the_segmentation_that_the_editor_works_on(
        self, a_writer, an_editor, a_third, a_segmentation_node, a_volume
    ):
        an_editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
        an_editor.SetAndObserveSegmentationNode(a_segmentation_node(a_volume, name="another"))
        a_writer.write(a_third, WHOLE, LEFT)
        np.testing.assert_array_equal(a_writer.read(a_third), LEFT)

    def test_intensities(self, a_writer, an_editor):
        an_editor.SetSourceVolumeIntensityMask(True)
        an_editor.SetSourceVolumeIntensityMaskRange(200, 400)
        values = np.arange(np.prod(SHAPE)).reshape(SHAPE)
        a_writer.write(A, WHOLE, LEFT)
        allowed = (values >= 200) & (values <= 400)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & allowed)

    def test_intensities_of_another_volume(self, a_writer, an_editor, a_volume, a_volume_node):
        matrix = vtk.vtkMatrix4x4()
        a_volume.GetIJKToRASMatrix(matrix)
        other = a_volume_node(
            np.array(matrix.GetData()).reshape(4, 4) @ np.diag([0.5, 1, 1, 1]),
            voxels=np.repeat(np.arange(np.prod(SHAPE)).reshape(SHAPE), 2, axis=2).astype(np.int16),
        )
        an_editor.SetAndObserveSourceVolumeNode(other)
        an_editor.SetSourceVolumeIntensityMask(True)
        an_editor.SetSourceVolumeIntensityMaskRange(200, 400)
        values = np.arange(np.prod(SHAPE)).reshape(SHAPE)
        a_writer.write(A, WHOLE, LEFT)
        allowed = (values >= 200) & (values <= 400)
        np.testing.assert_array_equal(a_writer.read(A), LEFT & allowed)


class TestStamp:
    def test_own_writing_does_not_change_it(self, a_writer):
        before = a_writer.stamp(A), a_writer.stamp(B)
        a_writer.write(A, WHOLE, LEFT)
        a_writer.write(B, WHOLE, RIGHT)
        a_writer.write(A, WHOLE, RIGHT)
        assert (a_writer.stamp(A), a_writer.stamp(B)) == before

    def test_an_edit_by_others_changes_it(self, a_writer, a_segmentation, a_volume):
        a_writer.write(A, WHOLE, LEFT)
        before = a_writer.stamp(A)
        edit(a_segmentation, A, RIGHT, a_volume)
        assert a_writer.stamp(A) != before
        np.testing.assert_array_equal(a_writer.read(A), RIGHT)

    def test_an_edit_just_before_own_writing_is_noticed(self, a_writer, a_segmentation, a_volume):
        a_writer.write(A, WHOLE, LEFT)
        before = a_writer.stamp(A)
        edit(a_segmentation, A, RIGHT, a_volume)
        a_writer.write(A, WHOLE, LEFT)
        assert a_writer.stamp(A) != before

    def test_a_segment_of_another_labelmap_is_not_changed(self, a_writer, a_segmentation, a_volume):
        a_segmentation.GetSegmentation().SeparateSegmentLabelmap(B)
        a_writer.write(A, WHOLE, LEFT)
        before = a_writer.stamp(A)
        edit(a_segmentation, B, RIGHT, a_volume)
        assert a_writer.stamp(A) == before

    def test_names_and_colours_do_not_change_it(self, a_writer, a_segmentation):
        before = a_writer.stamp(A)
        a_segmentation.GetSegmentation().GetSegment(A).SetName("another")
        a_segmentation.GetSegmentation().GetSegment(A).SetColor(1, 1, 0)
        assert a_writer.stamp(A) == before

    def test_moving_the_segmentation_changes_it(self, a_writer, a_segmentation, a_transform_node):
        before = a_writer.stamp(A)
        a_segmentation.SetAndObserveTransformNodeID(a_transform_node("moved").GetID())
        assert a_writer.stamp(A) != before


class TestSurfaces:
    def test_a_surface_stays_until_it_is_made_anew(self, a_writer, a_segmentation):
        a_writer.write(A, WHOLE, LEFT)
        a_segmentation.CreateClosedSurfaceRepresentation()
        segment = a_segmentation.GetSegmentation().GetSegment(A)
        before = segment.GetRepresentation("Closed surface").GetBounds()
        a_writer.write(A, WHOLE, RIGHT)
        assert segment.GetRepresentation("Closed surface").GetBounds() == before
        assert a_writer.surfaces_due
        assert not a_writer.update_surface()
        assert segment.GetRepresentation("Closed surface").GetBounds() != before
        assert not a_writer.surfaces_due

    def test_none_is_due_without_surfaces(self, a_writer):
        a_writer.write(A, WHOLE, LEFT)
        assert not a_writer.surfaces_due
        assert not a_writer.update_surface()


def test_a_scene_is_saved_and_loaded_with_the_masks(
    a_writer, a_segmentation, a_volume, an_editor, a_new_scene, tmp_path
):
    an_editor.SetOverwriteMode(an_editor.OverwriteNone)
    a_writer.write(A, WHOLE, LEFT)
    a_writer.write(B, WHOLE, RIGHT)
    path = str(tmp_path / "a.seg.nrrd")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(path)
    assert storage.WriteData(a_segmentation)
    scene = a_new_scene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert storage.ReadData(node)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    volume.CopyContent(a_volume)
    writer = SegmentWriter(node, volume)
    np.testing.assert_array_equal(writer.read(A), LEFT)
    np.testing.assert_array_equal(writer.read(B), RIGHT)
