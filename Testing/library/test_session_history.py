"""Undo and redo of a session, and what they remember."""

from __future__ import annotations

import numpy as np
import pytest
from library.three_materials import (
    IN_LEFT,
    IN_RIGHT,
    LEFT,
    RIGHT,
    mask_of,
    positive,
    updated,
)

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.segmenting.changes import Change
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.history import History, PackedMask


def test_undo_and_redo_bring_clicks_and_results_back(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    updated(a_session)
    a_session.add_click("organ", positive(IN_RIGHT))
    updated(a_session)

    assert a_session.undo() == ("organ",)
    assert a_session.segment("organ").clicks == (positive(IN_LEFT),)
    np.testing.assert_array_equal(a_session.mask("organ"), mask_of(LEFT))
    assert a_session.last_change("organ") == Change(Extent((2, 3, 11), (6, 7, 15)), 0, 64)
    assert a_session.stale() == ()

    assert a_session.undo() == ("organ",)
    assert not a_session.mask("organ").any()
    assert a_session.redo() == ("organ",)
    assert a_session.redo() == ("organ",)
    assert a_session.redo() == ()
    np.testing.assert_array_equal(a_session.mask("organ"), mask_of(LEFT, RIGHT))
    assert a_session.stale() == ()


def test_an_operation_after_undo_forgets_what_was_undone(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    a_session.undo()
    assert a_session.can_redo
    a_session.add_click("organ", positive(IN_RIGHT))
    assert not a_session.can_redo
    np.testing.assert_array_equal(updated(a_session), mask_of(RIGHT))


def test_redo_after_an_update_in_between_asks_for_an_update(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    a_session.add_click("organ", positive(IN_RIGHT))
    updated(a_session)  # both clicks at once
    a_session.undo()
    assert not a_session.mask("organ").any()
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT))
    a_session.redo()
    assert a_session.stale() == ("organ",)
    np.testing.assert_array_equal(updated(a_session), mask_of(LEFT, RIGHT))


def test_a_removed_segment_comes_back_with_its_result(a_session):
    a_session.add_click("organ", positive(IN_LEFT))
    updated(a_session)
    a_session.remove_segment("organ")
    with pytest.raises(InputError, match="no segment named “organ”"):
        a_session.mask("organ")
    assert a_session.undo() == ("organ",)
    np.testing.assert_array_equal(a_session.mask("organ"), mask_of(LEFT))
    assert a_session.stale() == ()
    a_session.redo()
    assert a_session.segments == ()


def test_a_removed_segment_comes_back_in_its_place(a_session):
    for name in ("liver", "spleen"):
        a_session.add_segment(name)
    before = a_session.segments
    a_session.remove_segment("liver")
    a_session.add_segment("kidney")
    assert len({segment.color for segment in a_session.segments}) == 3
    a_session.undo()
    a_session.undo()
    assert a_session.segments == before


class Weight:
    def __init__(self, size):
        self.size = size

    def nbytes(self):
        return self.size


def test_history_forgets_the_oldest_but_never_the_newest():
    history = History(most_entries=3, most_bytes=10)
    for size in (1, 2, 3, 4):
        history.push(Weight(size))
    assert [history.undo().size for _ in range(len(history))] == [4, 3, 2]
    history.push(Weight(8))
    history.push(Weight(99))
    assert len(history) == 1
    assert history.newest().size == 99


def test_packed_masks_are_exact_and_small():
    mask = np.random.default_rng(0).random((5, 7, 9)) > 0.5
    mask[0] = mask[:, 6] = False
    packed = PackedMask.of(mask)
    assert packed.start_kji[0] == 1
    assert packed.stop_kji[1] == 6
    np.testing.assert_array_equal(packed.mask(), mask)
    other = ~mask
    packed.toggle(other)
    np.testing.assert_array_equal(other, np.ones((5, 7, 9), dtype=bool))
    assert PackedMask.of(np.zeros((2, 2, 2), dtype=bool)).empty
    assert len(PackedMask.of(np.ones((64, 64, 64), dtype=bool)).bits) < 400
