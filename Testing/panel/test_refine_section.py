"""Section "Refine", used as a person would."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from panel.fakes import refine_status


@pytest.fixture
def a_refiner(a_person, a_volume):
    """Somebody with a volume, a field and the section open."""
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    a_person.open_section("refine")
    return a_person


@pytest.fixture
def a_coarse_segmentation():
    """Makes a segmentation of two segments."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "imported")
    for name in ("Liver", "Spleen"):
        node.GetSegmentation().AddEmptySegment(name.lower(), name)
    return node


def _labelmap(labels):
    voxels = np.zeros((2, 2, 3), np.uint8)
    voxels.flat[: len(labels)] = labels
    return slicer.util.addVolumeFromArray(
        voxels, name="atlas", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )


def test_a_segment_of_a_segmentation(a_refiner, a_coarse_segmentation):
    assert not a_refiner.ui.refineButton.enabled
    a_refiner.choose("refineSourceSelector", "imported")
    a_refiner.choose("refineSegmentCombo", "Spleen")
    a_refiner.click("refineButton")
    node = a_coarse_segmentation
    assert a_refiner.refine.calls[-1] == ("refine", node, "spleen", node, "prior", None)


def test_a_label_of_a_labelmap_goes_to_the_segmentation_in_use(a_refiner):
    atlas = _labelmap([0, 7, 3])
    a_refiner.choose("refineSourceSelector", "atlas")
    combo = a_refiner.ui.refineSegmentCombo
    assert [combo.itemText(n) for n in range(combo.count)] == ["3", "7"]
    a_refiner.choose("refineSegmentCombo", "7")
    a_refiner.choose("refineModeCombo", "Features only")
    a_refiner.ui.coarseSpinBox.value = 4.5
    a_refiner.click("refineButton")
    target = a_refiner.segment.segmentation
    assert target.GetName() == "CT segmentation"
    assert a_refiner.refine.calls[-1] == ("refine", atlas, 7, target, "paper", 4.5)


def test_what_is_missing_is_told(a_refiner):
    _labelmap([0, 0, 0])
    a_refiner.choose("refineSourceSelector", "atlas")
    assert not a_refiner.ui.refineButton.enabled
    assert "that contains something" in a_refiner.ui.refineButton.toolTip
    a_refiner.field.set_volume(None)
    assert a_refiner.ui.refineButton.toolTip == "Fit a field first."


def test_progress_cancel_and_result(a_refiner, a_coarse_segmentation):
    a_refiner.choose("refineSourceSelector", "imported")
    a_refiner.refine.show(status=refine_status("Judging voxels…", 0.31, 120.0))
    ui = a_refiner.ui
    assert (ui.refineProgressBar.visible, ui.refineProgressBar.value) == (True, 31)
    assert ui.refineProgressBar.format == "%p% · 2 min left"
    assert "Judging voxels…" in ui.refineStatusLabel.text
    a_refiner.photograph("refining")
    a_refiner.click("refineButton")
    assert a_refiner.refine.calls[-1] == ("cancel",)
    result = SimpleNamespace(coarse_ml=152.4, refined_ml=149.9)
    a_refiner.refine.show(status=refine_status("Done."), result=result)
    assert ui.refineStatusLabel.text.endswith("152 ml → 150 ml (−2.5 ml)")
    assert not ui.refineProgressBar.visible
    a_refiner.photograph("refined")


def test_errors_are_told(a_refiner):
    a_refiner.refine.show(status=refine_status("The segment is empty.", failed=True))
    assert "The segment is empty." in a_refiner.ui.refineStatusLabel.text
    assert "#d1495b" in a_refiner.ui.refineStatusLabel.text


def test_a_source_that_is_deleted_is_no_source(a_refiner, a_coarse_segmentation):
    a_refiner.choose("refineSourceSelector", "imported")
    slicer.mrmlScene.RemoveNode(a_coarse_segmentation)
    assert a_refiner.ui.refineSegmentCombo.count == 0
    assert a_refiner.parameters.refine_source is None
    assert not a_refiner.ui.refineButton.enabled
