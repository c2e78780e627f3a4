"""Sessions on a volume of three materials, which any probe tells apart: clicks, updates, input."""

from __future__ import annotations

import numpy as np
import pytest
from library.three_materials import (
    IN_LEFT,
    IN_OTHER,
    IN_RIGHT,
    LEFT,
    NOWHERE,
    OTHER,
    RIGHT,
    SHAPE,
    mask_of,
    negative,
    positive,
    updated,
)

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.changes import Change
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.segment import Wish
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.segmenting.updating import Correction, Known, Result

# ---------------------------------------------------------------------------- what clicks do


def test_a_click_selects_its_component(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    assert a_session.stale() == ("organ",)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT))
    assert a_session.stale() == ()
    assert a_session.last_change("organ") == Change(Extent((2, 3, 3), (6, 7, 7)), 64, 0)


def test_without_locality_all_alike_is_selected(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT)], locality=False)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))


def test_switching_locality_predicts_anew(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    updated(a_session)
    a_session.set_locality("organ", locality=False)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))
    a_session.set_locality("organ", locality=True)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT))


def test_a_second_click_adds_only_its_component(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    updated(a_session)
    a_session.add_click("organ", positive(IN_RIGHT))
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))
    assert a_session.last_change("organ") == Change(Extent((2, 3, 11), (6, 7, 15)), 64, 0)


def test_moving_a_click_changes_both_places(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT), positive(IN_OTHER)])
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, OTHER))
    a_session.move_click("organ", 1, IN_RIGHT)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))
    assert a_session.last_change("organ").removed == 12


def test_removing_the_last_positive_click_empties_the_segment(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT), negative(NOWHERE)])
    updated(a_session)
    a_session.remove_click("organ", 0)
    assert not updated(a_session).any()


def test_a_positive_click_is_a_negative_of_the_others(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT), positive(IN_OTHER)], locality=False)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT, OTHER))
    a_session.set_segment("second", [positive(IN_OTHER)])
    assert a_session.stale() == ("organ", "second")
    np.testing.assert_array_equal(updated(a_session, "second"), mask_of(OTHER))
    a_session.remove_click("organ", 1)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))


def test_only_voxels_in_the_box_change(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    updated(a_session)
    a_session.set_box("organ", Extent((0, 0, 8), (8, 5, 16)))
    a_session.add_click("organ", positive(IN_RIGHT))
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, np.s_[2:6, 3:5, 11:15]))
    assert a_session.stale() == ()


def test_a_larger_box_is_filled_by_the_prediction(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT)], box=Extent((0, 0, 0), (3, 10, 16)))
    np.testing.assert_array_equal(updated(a_session), mask_of(np.s_[2:3, 3:7, 3:7]))
    a_session.set_box("organ", None)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT))


def test_an_existing_mask_is_the_segment_until_a_click_corrects_it(a_session):
    base = mask_of(LEFT, np.s_[0:2, 8:10, 14:16])
    a_session.start_from("organ", base)
    np.testing.assert_array_equal(updated(a_session), base)
    a_session.add_click("organ", positive(IN_RIGHT))
    np.testing.assert_array_equal(updated(a_session), base | mask_of(RIGHT))
    a_session.add_click("organ", negative((15.0, 9.0, 0.0)))
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))
    a_session.start_from("organ", None)
    alone = updated(a_session)
    assert alone[RIGHT].all()
    assert not alone[LEFT].any()


def test_a_scribble_asks_the_field_once(a_session, monkeypatch):
    updated(a_session)  # what is asked once a volume
    asked = []
    features = FeatureField.features
    monkeypatch.setattr(
        FeatureField, "features", lambda self, ras: asked.append(ras) or features(self, ras)
    )
    a_session.add_click("organ", positive(IN_LEFT))
    updated(a_session)
    asked.clear()
    a_session.add_scribble("organ", [(2.0, 4.0, 3.0), (5.0, 4.0, 3.0)], positive=True)
    updated(a_session)
    assert len(a_session.segment("organ").clicks) > 3
    assert len(asked) == 1


def test_a_scribble_is_one_operation(a_session):
    a_session.add_scribble("organ", [(3.0, 3.0, 2.0), (5.0, 6.0, 2.0)], positive=True)
    assert len(a_session.segment("organ").clicks) == 4
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT))
    a_session.undo()
    assert a_session.segment("organ").clicks == ()


def test_set_segment_says_all_and_can_be_repeated(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT)])
    first = updated(a_session)
    a_session.set_segment("organ", [positive(IN_LEFT)])
    assert a_session.stale() == ()
    chunks = list(a_session.update("organ"))
    assert [chunk.final for chunk in chunks] == [True]
    np.testing.assert_array_equal(chunks[0].mask, first)
    a_session.undo()
    assert a_session.segment("organ").clicks == ()


def test_clear_takes_everything_away(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT)], box=Extent((0, 0, 0), (8, 10, 8)))
    updated(a_session)
    a_session.clear("organ")
    assert not updated(a_session).any()
    assert a_session.segment("organ").box is None


# ---------------------------------------------------------------------------- any time


def test_visible_parts_come_first_and_corrected(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    slices = [Extent((3, 0, 0), (4, 10, 16)), Extent((0, 4, 0), (8, 5, 16))]
    every = list(a_session.update("organ", visible=slices))
    chunks = [chunk for chunk in every if chunk.extent.size]
    assert len(every) > len(chunks)
    assert [chunk.extent for chunk in chunks[:2]] == slices
    for chunk in chunks[:2]:
        np.testing.assert_array_equal(chunk.mask, mask_of(LEFT)[chunk.extent.slices])
    assert [chunk.final for chunk in every] == [False] * (len(every) - 1) + [True]
    assert [chunk.extent for chunk in chunks[2:]] == [Extent((0, 0, 0), SHAPE)]


def test_an_operation_supersedes_a_running_update(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    running = a_session.update("organ", visible=[Extent((3, 0, 0), (4, 10, 16))])
    next(running)
    a_session.add_click("organ", positive(IN_RIGHT))
    assert list(running) == []
    assert not a_session.mask("organ").any()
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))


def test_another_update_supersedes_the_first(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    first = a_session.update("organ")
    updated(a_session)
    assert [chunk.final for chunk in first] in ([], [True])
    a_session.add_click("organ", positive(IN_RIGHT))
    first = a_session.update("organ")
    second = a_session.update("organ")
    assert list(first) == []
    assert list(second)[-1].final


def test_a_cancelled_update_changes_nothing(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    assert list(a_session.update("organ", cancelled=lambda: True)) == []
    assert not a_session.mask("organ").any()
    assert a_session.stale() == ("organ",)


def test_fresh_forgets_corrections(a_session):
    a_session.set_segment("organ", [positive(IN_LEFT), positive(IN_OTHER)])
    updated(a_session)
    np.testing.assert_array_equal(updated(a_session, fresh=True), mask_of(LEFT, OTHER))


def test_same_seed_same_result_whatever_the_order_of_work(a_session, a_field_of):
    clicks = [positive(IN_LEFT), positive(IN_RIGHT), negative(NOWHERE)]
    for click in clicks:
        a_session.add_click("organ", click)
        updated(a_session)
    a_session.set_segment("at once", clicks)
    a_session.remove_segment("organ")
    np.testing.assert_array_equal(updated(a_session, "at once"), mask_of(LEFT, RIGHT))


# ---------------------------------------------------------------------------- input


def test_a_click_outside_is_named(a_session):
    with pytest.raises(InputError) as error:
        a_session.set_segment("organ", [positive(IN_LEFT), Click((-0.6, 4, 3), True, "tip")])
    assert error.value.message == (
        "Click 2 (“tip”) of segment “organ” lies outside the volume, at (-0.6, 4.0, 3.0) mm (RAS)."
    )
    assert "R -0.5 to 15.5, A -0.5 to 9.5, S -0.5 to 7.5 mm" in error.value.hint
    assert a_session.segment("organ").clicks == ()
    with pytest.raises(InputError, match=r"Click 1 of"):
        a_session.add_click("organ", positive((np.nan, 0, 0)))


def test_other_bad_input(a_session, a_field_of):
    with pytest.raises(InputError, match="no segment named"):
        a_session.update("nobody")
    with pytest.raises(InputError, match="new name"):
        a_session.add_segment("organ")
    with pytest.raises(InputError, match="has 0 clicks; there is no 0"):
        a_session.remove_click("organ", 0)
    with pytest.raises(InputError, match="is empty or leaves the volume"):
        a_session.set_box("organ", Extent((0, 0, 0), (9, 1, 1)))
    with pytest.raises(InputError, match="has shape"):
        a_session.start_from("organ", np.ones((2, 2, 2), dtype=bool))
    with pytest.raises(InputError, match="no voxel"):
        a_session.start_from("organ", np.zeros(SHAPE, dtype=bool))
    for far in (9, 1e300, np.nan):
        with pytest.raises(InputError, match="outside the volume"):
            a_session.add_scribble("organ", [(0, 0, 0), (0, 0, far)], positive=True)
    for no_name in ("", " "):
        with pytest.raises(InputError, match="needs a name"):
            a_session.set_segment(no_name, [])
    small = Volume(np.zeros((4, 4, 4), dtype=np.int16), Geometry((4, 4, 4), np.eye(4)))
    with pytest.raises(InputError, match="belongs to another volume"):
        Session(small, a_field_of(Geometry(SHAPE, np.eye(4)), np.zeros((*SHAPE, 2))))


def test_results_cannot_be_written_to(a_session):
    with pytest.raises(ValueError, match="read-only"):
        a_session.mask("organ")[0, 0, 0] = True


def test_a_segment_goes_on_from_what_was_predicted_and_is_not_empty(a_session):
    """Only then does what it was so far say something about the next answer."""
    geometry, half = a_session.volume.geometry, Extent((0, 0, 0), (8, 10, 8))
    wish = Wish(((3.0, 4.0, 3.0),))
    mask = mask_of(LEFT)

    def goes_on(mask, predicted):
        old = Result(mask.copy(), Known(wish, predicted))
        return Correction.of(old, wish, geometry, fresh=False).goes_on

    whole = Extent.whole(geometry.shape_kji)
    assert goes_on(mask, (whole,))
    assert not goes_on(mask, (half,))
    assert not goes_on(np.zeros_like(mask), (whole,))
    old = Result(mask, Known(wish, (whole,)))
    assert not Correction.of(old, wish, geometry, fresh=True).goes_on
