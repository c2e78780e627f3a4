"""A saved scene means the same when it is opened again."""

from __future__ import annotations

import numpy as np

from Testing.controllers.test_segment_controller import Person, deepest, label_of
from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.segmenting.extent import Extent


def test_a_corrected_segment_still_comes_back_as_it_was(
    a_ready_field, a_link, a_loop, a_scene, a_phantom, tmp_path
):
    liver = label_of(a_phantom, "liver")
    coarse = liver.copy()
    coarse[deepest(liver)[0] :] = False
    controller = SegmentController(a_link, a_ready_field, a_loop, a_scene)
    person = Person(controller, a_ready_field, a_loop, a_phantom)
    segment_id = controller.add_segment("liver")
    SegmentWriter(controller.segmentation, a_ready_field.volume).write(
        segment_id, Extent.whole(coarse.shape), coarse
    )
    controller.select(segment_id)
    person.wait()
    person.click(deepest(liver & ~coarse))
    corrected = person.mask()
    assert (corrected != coarse).any()
    names = a_ready_field.volume.GetName(), controller.segmentation.GetName()
    controller.close()
    file = str(tmp_path / "scene.mrb")
    assert a_scene.WriteToMRB(file)
    a_ready_field.set_volume(None)
    assert a_scene.ReadFromMRB(file, True)

    volume, segmentation = (a_scene.GetFirstNodeByName(name) for name in names)
    a_ready_field.set_volume(volume)
    controller = SegmentController(a_link, a_ready_field, a_loop, a_scene)
    person = Person(controller, a_ready_field, a_loop, a_phantom)
    controller.set_segmentation(segmentation)
    a_loop.run_until(lambda: a_ready_field.status.kind in {"ready", "error"})
    controller.select(segment_id)
    person.wait()
    np.testing.assert_array_equal(person.mask(), corrected)
    assert controller.starts_from_existing
    controller.clear()
    person.wait()
    np.testing.assert_array_equal(person.mask(), coarse)
    assert person.said == []
    controller.close()
