"""Segments' voxels, written and read on the volume's grid."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.scene.written import (
    LEFT,
    RIGHT,
    SHAPE,
    WHOLE,
    A,
    B,
    by_slicer,
    edit,
    in_world,
    segment_positions,
)
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.segments import segment_writer as module
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.segmenting.extent import Extent


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
