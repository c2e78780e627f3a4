"""Work in pieces, and many requests as one."""

from __future__ import annotations

import pytest

from VoxelFeatLib.scene.steps import StepQueue
from VoxelFeatLib.scene.timers import Latest


class ByHand:
    """Timers whose time passes when the test says so."""

    def __init__(self):
        self.waiting = []

    def after(self, seconds, call):
        entry = (seconds, call)
        self.waiting.append(entry)
        return lambda: self.waiting.remove(entry) if entry in self.waiting else None

    def pass_time(self):
        waiting, self.waiting = self.waiting, []
        for _, call in waiting:
            call()


@pytest.fixture
def a_clock():
    return ByHand()


def noting(notes, name, count):
    for number in range(count):
        notes.append(f"{name}{number}")
        yield


def test_work_is_done_in_order(a_clock):
    queue, notes = StepQueue(a_clock), []
    queue.add(noting(notes, "a", 2))
    queue.add(noting(notes, "b", 1))
    assert notes == []
    while queue.busy:
        a_clock.pass_time()
    assert notes == ["a0", "a1", "b0"]
    assert a_clock.waiting == []


def test_flush_does_it_now_and_clear_not_at_all(a_clock):
    queue, notes = StepQueue(a_clock), []
    queue.add(noting(notes, "a", 3))
    queue.flush()
    assert notes == ["a0", "a1", "a2"]
    queue.add(noting(notes, "b", 3))
    queue.clear()
    a_clock.pass_time()
    assert len(notes) == 3


def test_a_failing_piece_does_not_stop_the_next(a_clock):
    def failing():
        raise ValueError("broken")
        yield

    queue, notes = StepQueue(a_clock), []
    queue.add(failing())
    queue.add(noting(notes, "a", 1))
    with pytest.raises(ValueError, match="broken"):
        a_clock.pass_time()
    a_clock.pass_time()
    assert notes == ["a0"]


def test_many_requests_are_one_call(a_clock):
    calls = []
    latest = Latest(a_clock, 0.5, lambda: calls.append(1))
    latest.request()
    latest.request()
    assert [seconds for seconds, _ in a_clock.waiting] == [0.5]
    a_clock.pass_time()
    assert calls == [1]
    latest.request()
    latest.cancel()
    a_clock.pass_time()
    assert calls == [1]


def test_the_end_of_all_work_is_told(a_clock):
    queue, notes, told = StepQueue(a_clock), [], []
    queue.emptied.connect(lambda: told.append(list(notes)))
    queue.add(noting(notes, "a", 1))
    queue.add(noting(notes, "b", 1))
    queue.flush()
    assert told == [["a0", "b0"]]
    assert not queue.busy
