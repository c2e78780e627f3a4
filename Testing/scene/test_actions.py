"""What was done to segments is undone and done again, with what became of it."""

from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.scene.controllers.actions import Action, Actions
from VoxelFeatLib.scene.controllers.segment_results import SegmentClicks
from VoxelFeatLib.scene.nodes.click_nodes import ClickState
from VoxelFeatLib.segmenting.history import PackedMask

SHAPE = (7, 9, 11)
NONE, ONE, TWO = ClickState(), ClickState(((1.0, 2.0, 3.0),)), ClickState(((4.0, 5.0, 6.0),))
CLICKED = SegmentClicks(positive=((1.0, 2.0, 3.0),))


def a_mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < 0.3


def an_action(
    segment_id: str = "s", before: ClickState = NONE, after: ClickState = ONE, drag: int = 0
) -> Action:
    return Action.of(segment_id, before, after, SegmentClicks(), drag)


@pytest.fixture
def some_actions() -> Actions:
    return Actions()


def test_undo_and_redo_in_order(some_actions):
    done = [an_action(), an_action("t"), an_action("s", ONE, NONE)]
    assert not some_actions.can_undo
    for action in done:
        some_actions.push(action)
    assert [some_actions.undo() for _ in range(4)] == [*reversed(done), None]
    assert some_actions.can_redo
    assert [some_actions.redo() for _ in range(4)] == [*done, None]


def test_a_new_action_ends_what_was_undone(some_actions):
    some_actions.push(an_action())
    some_actions.undo()
    some_actions.push(an_action())
    assert not some_actions.can_redo


def test_the_moves_of_one_drag_are_one_action(some_actions):
    some_actions.push(an_action())
    some_actions.push(an_action("s", ONE, TWO, drag=1))
    some_actions.push(an_action("s", TWO, NONE, drag=1))
    some_actions.push(an_action("s", NONE, TWO, drag=2))
    undone = [some_actions.undo() for _ in range(3)]
    assert [(action.before, action.after) for action in undone] == [
        (NONE, TWO),
        (ONE, NONE),
        (NONE, ONE),  # the click itself is not part of the drag
    ]
    assert not some_actions.can_undo


def test_an_answer_belongs_to_the_latest_action_of_its_segment(some_actions):
    mine, others = an_action("s"), an_action("t")
    some_actions.push(mine)
    some_actions.push(others)
    before, after = a_mask(1), a_mask(2)
    change = PackedMask.of(before ^ after)
    some_actions.amend("s", ONE, [change], SegmentClicks(), CLICKED)
    assert (mine.changes, mine.known, mine.answered_after) == ([change], True, CLICKED)
    assert (others.changes, others.known) == ([], False)


def test_an_answer_to_no_action_becomes_one(some_actions):
    change = PackedMask.of(a_mask(1))
    some_actions.amend("s", ONE, [change], SegmentClicks(), CLICKED)
    action = some_actions.undo()
    assert (action.before, action.after, action.changes) == (ONE, ONE, [change])


def test_what_was_undone_is_asked_for_again_after_another_answer(some_actions):
    first, second = an_action("s"), an_action("s", ONE, TWO)
    for action in (first, second):
        some_actions.push(action)
        some_actions.amend("s", ONE, [PackedMask.of(a_mask(1))], SegmentClicks(), CLICKED)
    some_actions.undo()
    some_actions.amend("s", ONE, [PackedMask.of(a_mask(2))], SegmentClicks(), CLICKED)
    assert some_actions.redo() is second
    assert (second.changes, second.known) == ([], False)


def test_actions_of_a_segment_are_forgotten(some_actions):
    kept = an_action("s")
    some_actions.push(kept)
    some_actions.push(an_action("t"))
    some_actions.forget("t")
    assert some_actions.undo() is kept
    assert some_actions.undo() is None
