"""The mouse in slice views: clicks land where it points, and become segments that are seen."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.views.helpers import PLANES, deepest, kji_at, placed, segment_mask, settle

pytestmark = pytest.mark.slow  # a worker with a fit

COLOR = (0.0, 1.0, 1.0)  # no organ, no mark of a click looks like it


@pytest.fixture
def a_segment(a_controller) -> str:
    segment_id = a_controller.add_segment("liver")
    a_controller.segmentation.GetSegmentation().GetSegment(segment_id).SetColor(*COLOR)
    return segment_id


def cyan(pictures: np.ndarray) -> np.ndarray:
    """How much more green and blue than red."""
    return np.minimum(pictures[..., 1], pictures[..., 2]) - pictures[..., 0]


@pytest.mark.parametrize("plane", PLANES)
def test_a_click_becomes_a_segment_that_is_seen(
    plane, a_controller, a_loop, a_phantom, a_segment, a_view
):
    centre = deepest(a_phantom, "liver")
    a_view.look_along(*PLANES[plane], centre, 320.0, (31, -22))
    before = a_view.picture()
    pixel = a_view.pixel(centre)
    a_controller.place(True)
    a_view.click(pixel)
    node = a_controller._bench.clicks.node_for(a_segment, positive=True)
    np.testing.assert_allclose(placed(node), [a_view.world(pixel)], atol=1e-6)
    a_controller.place(None)
    a_view.leave()
    settle(a_controller, a_loop)
    mask = segment_mask(a_controller)
    assert mask[kji_at(a_phantom, a_view.world(pixel))]

    node.GetDisplayNode().SetVisibility(False)  # its mark lies over the pixel
    after = a_view.picture()
    joined = cyan(after) - cyan(before)
    x, y = pixel
    assert joined[y, x] > 40
    # Every pixel of the picture tells whether its voxel is in the segment, but for the outline.
    rows, columns = np.mgrid[10:290:7, 10:290:7]
    world = np.array(
        [a_view.world((int(c), int(r))) for r, c in zip(rows.flat, columns.flat, strict=True)]
    )
    inside = np.array([mask[kji] if (kji := kji_at(a_phantom, p)) else False for p in world])
    seen = joined[rows, columns].ravel() > 40
    assert inside.sum() > 20
    assert (inside == seen).mean() > 0.97


def test_clicks_of_both_signs_go_to_their_own_nodes(
    a_controller, a_loop, a_phantom, a_segment, a_view
):
    liver, spleen = deepest(a_phantom, "liver"), deepest(a_phantom, "spleen")
    nodes = [a_controller._bench.clicks.node_for(a_segment, positive=p) for p in (True, False)]
    a_view.look_along(*PLANES["axial"], liver, 320.0)
    a_controller.place(True)
    a_view.click(a_view.pixel(liver))
    a_view.look_along(*PLANES["axial"], spleen, 320.0)
    a_controller.place(False)
    a_view.click(a_view.pixel(spleen))
    settle(a_controller, a_loop)
    assert a_controller.click_counts(a_segment) == (1, 1)
    for node, wanted in zip(nodes, (liver, spleen), strict=True):
        assert np.abs(placed(node) - wanted).max() < 1.1  # mm, a pixel
    mask = segment_mask(a_controller)
    assert mask[kji_at(a_phantom, liver)]
    assert not mask[kji_at(a_phantom, spleen)]


def test_the_point_at_the_mouse_is_no_click(a_controller, a_loop, a_phantom, a_segment, a_view):
    centre = deepest(a_phantom, "liver")
    a_view.look_along(*PLANES["axial"], centre, 320.0)
    a_controller.place(True)
    x, y = a_view.pixel(centre)
    a_view.enter((x, y))
    for step in range(5):
        a_view.send("MouseMoveEvent", (x + step, y))
    a_loop.run_for(0.2)
    assert a_controller.click_counts(a_segment) == (0, 0)
    assert not a_controller.busy
    assert not a_controller.can_undo


def test_without_the_tool_a_click_places_nothing(
    a_controller, a_loop, a_phantom, a_segment, a_view
):
    centre = deepest(a_phantom, "liver")
    a_view.look_along(*PLANES["axial"], centre, 320.0)
    a_controller.place(True)
    a_controller.place(None)
    a_view.click(a_view.pixel(centre))
    a_loop.run_for(0.2)
    assert a_controller.click_counts(a_segment) == (0, 0)


@pytest.mark.parametrize("plane", PLANES)
def test_a_dragged_click_moves_the_segment(
    plane, a_controller, a_loop, a_phantom, a_segment, a_view
):
    liver, spleen = deepest(a_phantom, "liver"), deepest(a_phantom, "spleen")
    a_view.look_along(*PLANES[plane], liver, 420.0)
    a_controller.place(True)
    start = a_view.pixel(liver)
    a_view.click(start)
    a_controller.place(None)
    settle(a_controller, a_loop)
    before = segment_mask(a_controller)
    # To the pixel of this plane that is nearest to the spleen, or what is there.
    stop = a_view.pixel(spleen)
    way = [tuple(int(n) for n in np.round(p)) for p in np.linspace(start, stop, 6)]
    a_view.drag(*way)
    a_view.leave()
    node = a_controller._bench.clicks.node_for(a_segment, positive=True)
    np.testing.assert_allclose(placed(node), [a_view.world(stop)], atol=1e-6)
    settle(a_controller, a_loop)
    after = segment_mask(a_controller)
    assert after[kji_at(a_phantom, a_view.world(stop))]
    assert not after[kji_at(a_phantom, liver)]
    a_controller.undo()  # one action, however many moves
    settle(a_controller, a_loop)
    np.testing.assert_array_equal(segment_mask(a_controller), before)
    np.testing.assert_allclose(placed(node), [a_view.world(start)], atol=1e-6)
