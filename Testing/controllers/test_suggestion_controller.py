"""Suggested places: remembered with the answer, shown when asked for, gone with it."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.controllers.test_segment_controller import Person, deepest, label_of
from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
from VoxelFeatLib.scene.controllers.suggestion_controller import SuggestionController
from VoxelFeatLib.scene.nodes.volume_nodes import vtk_matrix

PLACES = [(10.0, -20.0, 30.0), (-40.0, 5.0, 12.0), (0.5, 60.0, -24.0)]
OTHERS = [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]


class Oracle:
    """Has each answer of a real worker suggest what a test wants; None: nothing is said of it."""

    def __init__(self, link, monkeypatch):
        self.places = PLACES
        ask = link.request

        def request(kind, arguments=None, **options):
            if kind == "segment" and "on_reply" in options:
                reply = options["on_reply"]
                options["on_reply"] = lambda message: reply(self.told(message))
            return ask(kind, arguments, **options)

        monkeypatch.setattr(link, "request", request)

    def told(self, message):
        said = {name: value for name, value in message.items() if name != "suggestions"}
        if self.places is not None:
            said["suggestions"] = [
                {"ras": list(place), "doubt": 0.5 / n} for n, place in enumerate(self.places, 1)
            ]
        return said


@pytest.fixture
def an_oracle(a_link, monkeypatch):
    return Oracle(a_link, monkeypatch)


@pytest.fixture
def a_slice_node(a_scene):
    node = a_scene.AddNewNodeByClass("vtkMRMLSliceNode")
    node.SetLayoutName("Red")
    node.SetMappedInLayout(True)
    node.SetOrientation("Coronal")
    return node


@pytest.fixture
def a_person(an_oracle, a_ready_field, a_link, a_loop, a_scene, a_phantom):
    controller = SegmentController(a_link, a_ready_field, a_loop, a_scene)
    yield Person(controller, a_ready_field, a_loop, a_phantom)
    controller.close()


@pytest.fixture
def a_suggestion(a_person, a_ready_field, a_scene):
    controller = SuggestionController(a_person.controller, a_ready_field, a_scene)
    yield controller
    controller.close()


def off_plane(slice_node, world) -> float:
    """Distance of a position to a view's plane, mm."""
    matrix = slice_node.GetSliceToRAS()
    normal, origin = (
        np.array([matrix.GetElement(row, column) for row in range(3)]) for column in (2, 3)
    )
    return float(abs((np.array(world) - origin) @ normal))


def test_places_come_one_after_the_other_and_round(
    a_person, a_suggestion, a_phantom, a_slice_node, a_scene
):
    heard = []
    a_suggestion.changed.connect(lambda: heard.append(a_suggestion.number))
    a_suggestion.next()
    assert not a_suggestion.known
    assert heard == []
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    assert a_suggestion.known
    assert (a_suggestion.number, a_suggestion.count) == (0, 3)
    before = a_scene.GetNumberOfNodes()
    for number, place in [(1, PLACES[0]), (2, PLACES[1]), (3, PLACES[2]), (1, PLACES[0])]:
        a_suggestion.next()
        assert a_suggestion.number == number
        assert off_plane(a_slice_node, place) < 1e-6
    assert heard == [1, 2, 3, 1]
    assert a_scene.GetNumberOfNodes() == before  # nothing that a scene would save
    a_suggestion.clear()
    assert heard == [1, 2, 3, 1, 0]
    a_suggestion.next()
    assert a_suggestion.number == 1


def test_a_click_and_undo_end_it_and_the_next_answer_replaces_it(
    a_person, a_suggestion, an_oracle, a_phantom
):
    liver = label_of(a_phantom, "liver")
    a_person.controller.add_segment("liver")
    a_person.click(deepest(liver))
    a_suggestion.next()
    an_oracle.places = OTHERS
    a_person.click(deepest(liver & ~a_person.mask()), wait=False)
    assert (a_suggestion.known, a_suggestion.number, a_suggestion.count) == (False, 0, 0)
    a_person.wait()
    assert a_person.controller.suggestions == tuple(OTHERS)
    a_suggestion.next()
    an_oracle.places = []
    a_person.controller.undo()
    a_person.wait()
    assert (a_suggestion.known, a_suggestion.number, a_suggestion.count) == (True, 0, 0)
    an_oracle.places = OTHERS
    a_person.controller.clear()
    a_person.wait()
    assert a_suggestion.number == 0


def test_equal_suggestions_of_another_answer_begin_anew(a_person, a_suggestion, a_phantom):
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    a_suggestion.next()
    a_suggestion.next()
    a_person.controller.recompute()
    a_person.wait()
    assert a_suggestion.number == 0
    a_suggestion.next()
    assert a_suggestion.number == 1


def test_each_segment_has_its_own(a_person, a_suggestion, an_oracle, a_phantom):
    controller = a_person.controller
    first = controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    a_suggestion.next()
    second = controller.add_segment("spleen")
    assert (a_suggestion.known, a_suggestion.number) == (False, 0)
    an_oracle.places = OTHERS
    a_person.click(deepest(label_of(a_phantom, "spleen")))
    assert a_suggestion.count == 2
    controller.select(first)
    assert (a_suggestion.number, a_suggestion.count) == (0, 3)
    controller.select(second)
    assert (a_suggestion.number, a_suggestion.count) == (0, 2)
    controller.set_segmentation(None)
    assert (a_suggestion.known, a_suggestion.count) == (False, 0)
    a_suggestion.next()


def test_the_worker_suggests_places_inside_the_volume(
    a_ready_field, a_link, a_loop, a_scene, a_phantom
):
    controller = SegmentController(a_link, a_ready_field, a_loop, a_scene)
    person = Person(controller, a_ready_field, a_loop, a_phantom)
    controller.add_segment("liver")
    person.click(deepest(label_of(a_phantom, "liver")))
    assert controller.suggestions
    assert a_phantom.volume.geometry.contains(np.array(controller.suggestions)).all()
    person.click(deepest(label_of(a_phantom, "liver") & ~person.mask()))
    controller.undo()
    person.wait()
    assert controller.suggestions is None  # the mask before is no answer of the worker's
    controller.recompute()
    person.wait()
    assert controller.suggestions
    controller.close()


def test_an_older_worker_suggests_nothing(a_person, a_suggestion, an_oracle, a_phantom):
    an_oracle.places = None
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    assert a_person.mask().any()
    assert (a_suggestion.known, a_suggestion.count) == (False, 0)


@pytest.mark.parametrize(
    "said",
    [5, [{}], [{"ras": None}], [{"ras": [1.0, 2.0]}], [{"ras": "abc"}], [{"ras": [np.nan] * 3}]],
)
def test_what_cannot_be_understood_is_no_suggestion_and_the_mask_is_kept(
    said, a_person, a_suggestion, an_oracle, a_phantom, monkeypatch
):
    monkeypatch.setattr(an_oracle, "told", lambda message: {**message, "suggestions": said})
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    assert a_person.mask().any()
    a_suggestion.next()
    assert (a_suggestion.known, a_suggestion.number) == (False, 0)


def test_places_are_in_the_volumes_own_space(
    a_person, a_suggestion, a_phantom, a_scene, a_slice_node
):
    to_world = np.array(
        [[0.0, -1.0, 0.0, 7.0], [1.0, 0.0, 0.0, -3.0], [0.0, 0.0, 1.2, 11.0], [0.0, 0.0, 0.0, 1.0]]
    )
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(vtk_matrix(to_world))
    a_person.field.volume.SetAndObserveTransformNodeID(transform.GetID())
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    a_suggestion.next()
    assert off_plane(a_slice_node, (to_world @ [*PLACES[0], 1.0])[:3]) < 1e-6
    transform.SetMatrixTransformToParent(vtk_matrix(np.eye(4)))
    assert a_suggestion.number == 0  # it is not where the slices are any more
    a_suggestion.next()
    assert off_plane(a_slice_node, PLACES[0]) < 1e-6


def test_a_closed_scene_ends_it(a_person, a_suggestion, a_phantom, a_scene):
    a_person.controller.add_segment("liver")
    a_person.click(deepest(label_of(a_phantom, "liver")))
    a_suggestion.next()
    a_person.controller.set_segmentation(None)
    a_person.field.set_volume(None)
    a_scene.Clear(False)
    assert a_suggestion.number == 0
    a_suggestion.next()
    assert a_suggestion.number == 0
