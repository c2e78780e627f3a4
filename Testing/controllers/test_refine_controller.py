"""Coarse masks of a scene become new, finer segments."""

from __future__ import annotations

import numpy as np
import pytest
import vtk

from VoxelFeatLib.scene.controllers.refine_controller import RefineController
from VoxelFeatLib.scene.nodes import segmentations
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.segmenting.extent import Extent

FACTOR = 3


def dice(a, b):
    return 2 * (a & b).sum() / max(1, a.sum() + b.sum())


@pytest.fixture
def a_target(a_phantom):
    (value,) = [value for value, name in a_phantom.names.items() if name == "liver"]
    return a_phantom.labels == value


@pytest.fixture
def a_coarse_grid(a_target, a_phantom):
    """The target on a grid of larger voxels: labels and IJK to RAS."""
    geometry = a_phantom.volume.geometry
    labels = a_target[::1, ::FACTOR, ::FACTOR].astype(np.uint8)
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :2] *= FACTOR
    return labels, matrix


@pytest.fixture
def a_refinement(a_ready_field, a_link, a_loop):
    controller = RefineController(a_link, a_ready_field, a_loop)
    yield controller
    controller.close()


def finish(refinement, loop):
    loop.run_until(lambda: not refinement.status.busy)
    assert not refinement.status.failed, refinement.status.text
    return refinement.result


def test_a_labelmap_of_larger_voxels_is_refined(
    a_refinement, a_loop, a_scene, a_volume_node, a_coarse_grid, a_target, add_volume_of, a_phantom
):
    labels, matrix = a_coarse_grid
    source = add_volume_of("vtkMRMLLabelMapVolumeNode", labels * 7, matrix, "old labels")
    target = segmentations.new_segmentation(a_scene, a_volume_node)
    seen = []
    a_refinement.changed.connect(lambda: seen.append(a_refinement.status))
    a_refinement.refine(source, 7, target)
    result = finish(a_refinement, a_loop)
    segment = target.GetSegmentation().GetSegment(result.segment_id)
    assert segment.GetName() == "old labels 7 refined"
    refined = SegmentWriter(target, a_volume_node).read(result.segment_id)
    nearest = np.repeat(np.repeat(labels, FACTOR, 1), FACTOR, 2)[:, : a_target.shape[1]]
    assert dice(refined, a_target) > dice(nearest[:, :, : a_target.shape[2]] > 0, a_target)
    voxel_ml = float(np.prod(a_phantom.volume.geometry.spacing)) / 1000
    assert result.refined_ml == pytest.approx(refined.sum() * voxel_ml)
    assert result.coarse_ml == pytest.approx(labels.sum() * voxel_ml * FACTOR**2)
    assert f"{result.refined_ml:.1f} ml" in a_refinement.status.text
    assert any(status.busy and status.fraction for status in seen)


def test_a_segment_under_another_transform_is_refined_in_place(
    a_refinement, a_loop, a_scene, a_volume_node, a_target
):
    moved = vtk.vtkMatrix4x4()
    moved.SetElement(0, 3, 30.0)
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    source = segmentations.new_segmentation(a_scene, a_volume_node)
    # Under a transform of its own that undoes how its labelmap is placed.
    segment_id = segmentations.add_segment(source, "liver", (1.0, 0.5, 0.0))
    SegmentWriter(source, a_volume_node).write(segment_id, Extent.whole(a_target.shape), a_target)
    transform.SetMatrixTransformToParent(moved)
    a_volume_node.SetAndObserveTransformNodeID(transform.GetID())
    source.SetAndObserveTransformNodeID(transform.GetID())
    a_refinement.refine(source, segment_id, source)
    result = finish(a_refinement, a_loop)
    refined = SegmentWriter(source, a_volume_node).read(result.segment_id)
    assert dice(refined, a_target) > 0.9
    assert source.GetSegmentation().GetSegment(result.segment_id).GetColor() == (1.0, 0.5, 0.0)
    assert source.GetSegmentation().GetNumberOfSegments() == 2


def test_cancelling_makes_no_segment(a_refinement, a_loop, a_scene, a_volume_node, a_target):
    node = segmentations.new_segmentation(a_scene, a_volume_node)
    segment_id = segmentations.add_segment(node, "liver")
    SegmentWriter(node, a_volume_node).write(segment_id, Extent.whole(a_target.shape), a_target)
    a_refinement.refine(node, segment_id, node, mode="paper")
    a_refinement.cancel()
    a_loop.run_until(lambda: not a_refinement.status.busy)
    assert a_refinement.status.text == "Cancelled."
    assert node.GetSegmentation().GetNumberOfSegments() == 1


def test_what_cannot_be_refined_is_told(a_refinement, a_loop, a_scene, a_volume_node):
    node = segmentations.new_segmentation(a_scene, a_volume_node)
    empty = segmentations.add_segment(node, "nothing")
    for source, part, words in (
        (None, None, "Choose"),
        (node, empty, "no voxel"),
        (node, "x", "Choose"),
    ):
        a_refinement.refine(source, part, node)
        a_loop.run_until(lambda: not a_refinement.status.busy)
        assert a_refinement.status.failed
        assert words in a_refinement.status.text
        assert not a_refinement.status.busy
