"""What segments start from, kept in the scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import slicer

from VoxelFeatLib.scene.nodes.base_masks import BaseMasks
from VoxelFeatLib.segmenting.history import PackedMask


def some_mask(shape, seed=0) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[1:4, 2:7, 1:9] = np.random.default_rng(seed).random((3, 5, 8)) < 0.5
    return mask


@pytest.fixture
def a_case(a_volume_node, a_segmentation_node):
    """A volume, a segmentation with two segments, and the volume's shape."""
    volume = a_volume_node("oblique", None)
    return volume, a_segmentation_node(volume, ("liver", "spleen")), volume_shape(volume)


def volume_shape(volume) -> tuple[int, int, int]:
    i, j, k = volume.GetImageData().GetDimensions()
    return k, j, i


def text_nodes(scene) -> list:
    count = scene.GetNumberOfNodesByClass("vtkMRMLTextNode")
    return [scene.GetNthNodeByClass(n, "vtkMRMLTextNode") for n in range(count)]


def test_each_segment_has_its_own_and_a_later_one_replaces_it(a_case, a_scene) -> None:
    volume, segmentation, shape = a_case
    bases = BaseMasks(segmentation, volume, shape)
    assert bases.load("liver") is None
    first, second, third = (some_mask(shape, seed) for seed in range(3))
    bases.keep("liver", PackedMask.of(first))
    bases.keep("spleen", PackedMask.of(second))
    bases.keep("liver", PackedMask.of(third))
    assert len(text_nodes(a_scene)) == 2
    again = BaseMasks(segmentation, volume, shape)  # as the next session of the panel
    np.testing.assert_array_equal(again.load("liver").mask(), third)
    np.testing.assert_array_equal(again.load("spleen").mask(), second)
    again.keep("liver", None)
    assert again.load("liver") is None
    assert len(text_nodes(a_scene)) == 1


def test_it_is_saved_in_the_scenes_own_file(a_case, a_new_scene, a_scene, tmp_path: Path) -> None:
    volume, segmentation, shape = a_case
    mask = some_mask(shape)
    BaseMasks(segmentation, volume, shape).keep("liver", PackedMask.of(mask))
    file = tmp_path / "scene.mrml"
    a_scene.SetURL(str(file))
    assert a_scene.Commit()
    read = a_new_scene()
    read.SetURL(str(file))
    read.Connect()
    found = [n for n in text_nodes(read) if n.GetAttribute("VoxelFeat.SegmentID") == "liver"]
    assert len(found) == 1
    assert found[0].GetStorageNode() is None
    assert found[0].GetHideFromEditors()
    assert found[0].GetText() == text_nodes(a_scene)[0].GetText()
    for role, node in (("VoxelFeatSegmentation", segmentation), ("VoxelFeatVolume", volume)):
        assert found[0].GetNodeReferenceID(role) == node.GetID()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _wire: "",
        lambda _wire: "[1, 2]",
        lambda _wire: "no JSON",
        lambda _wire: 100_000 * "[",
        lambda wire: json.dumps(wire | {"bits": "%%%"}),
        lambda wire: json.dumps(wire | {"bits": wire["bits"][:8]}),
        lambda wire: json.dumps(wire | {"bits": 3}),
        lambda wire: json.dumps(wire | {"extent": [0, 0, 0, 1, 1, 1]}),
        lambda wire: json.dumps(wire | {"extent": [0, 0, 0, 1, 1, 99]}),
        lambda wire: json.dumps(wire | {"shape": [99, 99, 99]}),
        lambda wire: json.dumps({"bits": wire["bits"]}),
    ],
)
def test_what_somebody_has_damaged_is_left_out(a_case, a_scene, damage) -> None:
    volume, segmentation, shape = a_case
    bases = BaseMasks(segmentation, volume, shape)
    bases.keep("liver", PackedMask.of(some_mask(shape)))
    node = text_nodes(a_scene)[0]
    node.SetText(damage(json.loads(node.GetText())))
    assert bases.load("liver") is None


def test_none_is_left_without_its_segment_or_segmentation(a_case, a_scene) -> None:
    volume, segmentation, shape = a_case
    bases = BaseMasks(segmentation, volume, shape)
    other = slicer.vtkMRMLTextNode()
    a_scene.AddNode(other)
    for name in ("liver", "spleen"):
        bases.keep(name, PackedMask.of(some_mask(shape)))
    bases.close()
    assert len(text_nodes(a_scene)) == 3
    segmentation.GetSegmentation().RemoveSegment("spleen")
    bases = BaseMasks(segmentation, volume, shape)
    assert len(text_nodes(a_scene)) == 2
    a_scene.RemoveNode(segmentation)
    bases.close()
    assert text_nodes(a_scene) == [other]
