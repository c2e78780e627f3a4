"""The time that an evaluation will still take: measuring and fits are told apart."""

from __future__ import annotations

import pytest
from library.clocks import Clock

from VoxelFeatLib.evaluation.time_left import TimeLeft


@pytest.fixture
def a_clock() -> Clock:
    return Clock()


def test_nothing_is_said_before_anything_is_known(a_clock):
    left = TimeLeft(4, a_clock)
    left.measured(0.0)
    assert left.seconds is None
    a_clock.now += 10
    left.fitting(50.0)
    assert left.seconds is None


def test_measuring_goes_on_as_it_did(a_clock):
    left = TimeLeft(4, a_clock)
    a_clock.now += 30
    left.measured(0.25)
    assert left.seconds == pytest.approx(90)


def test_each_later_case_has_a_fit(a_clock):
    left = TimeLeft(4, a_clock)
    left.fitting(60.0)
    a_clock.now += 60
    left.fitting(0.0)
    a_clock.now += 5
    left.measured(0.125)
    # Measuring: 5 s for an eighth. Fits: three more of 60 s.
    assert left.seconds == pytest.approx(35 + 180)
    a_clock.now += 5
    left.measured(0.25)
    assert left.seconds == pytest.approx(30 + 180)
    a_clock.now += 5
    left.measured(0.375)
    # The second case had its field already.
    assert left.seconds == pytest.approx(25 + 2 * 30)


def test_a_running_fit_counts_with_what_it_will_still_take(a_clock):
    left = TimeLeft(4, a_clock)
    left.fitting(60.0)
    a_clock.now += 60
    left.fitting(0.0)
    a_clock.now += 10
    left.measured(0.25)
    left.fitting(60.0)
    assert left.seconds == pytest.approx(30 + 60 + 2 * 60)
    a_clock.now += 20
    left.fitting(40.0)
    assert left.seconds == pytest.approx(30 + 40 + 2 * 60)
    a_clock.now += 40
    left.fitting(0.0)
    assert left.seconds == pytest.approx(30 + 2 * 60)


def test_the_last_case_has_none_after_it(a_clock):
    left = TimeLeft(1, a_clock)
    left.fitting(60.0)
    a_clock.now += 60
    left.fitting(0.0)
    a_clock.now += 8
    left.measured(0.5)
    assert left.seconds == pytest.approx(8)
    a_clock.now += 8
    left.measured(1.0)
    assert left.seconds == 0
