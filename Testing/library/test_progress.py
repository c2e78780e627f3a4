"""How a fit foretells its end, on a clock that the tests wind."""

from __future__ import annotations

import dataclasses

import pytest
from library.clocks import Clock

from VoxelFeatLib.fitting import progress
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.fitting.progress import Pace

PRESET = dataclasses.replace(
    preset_named("fast"), views=20, first_views=4, steps=100, fill=0.5, heldout_views=2
)
SECONDS = {"planes": 3.0, "views": 1.0, "slices": 1.0, "steps": 0.2}


@pytest.fixture
def a_clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", clock)
    return clock


def a_fit():
    """The kinds of work of a whole fit, in order."""
    kinds = ["planes"] * 5 + ["views"] * 2 + ["slices"] * 8
    views = 0
    for step in range(PRESET.steps):
        kinds += ["views"] * (PRESET.views_at(step) - views)
        views = PRESET.views_at(step)
        kinds.append("steps")
    return kinds


def followed(clock, seconds_of):
    """Fraction and estimate after each piece, and what really was left."""
    pace = Pace(PRESET, {"planes": 5, "slices": 8})
    kinds = a_fit()
    spent = [seconds_of(number, kind) for number, kind in enumerate(kinds)]
    pace.start()
    told = []
    for number, kind in enumerate(kinds):
        clock.now += spent[number]
        pace.done(kind)
        told.append((pace.fraction, pace.seconds_left, sum(spent[number + 1 :])))
    assert pace.elapsed == pytest.approx(sum(spent))
    return told


def test_an_even_fit_is_foretold_once_every_kind_was_seen(a_clock):
    told = followed(a_clock, lambda _, kind: SECONDS[kind])
    first_steps = a_fit().index("steps") + 2
    for _, estimate, truth in told[first_steps:]:
        assert estimate == pytest.approx(truth, abs=1e-6)
    assert told[-1][0] == 1


def test_the_bar_never_goes_back(a_clock):
    def uneven(number: int, kind: str) -> float:
        # Slow first pieces, a step that waits for the disk, everything slower from piece 60 on.
        return SECONDS[kind] * (20 if number in {0, 5, 45} else 1) * (4 if number > 60 else 1)

    fractions = [fraction for fraction, _, _ in followed(a_clock, uneven)]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.5
    assert fractions[-1] == 1
    assert fractions[-2] < 1


def test_one_slow_step_hardly_changes_the_estimate(a_clock):
    slow = a_fit().index("steps") + 60

    def once(number: int, kind: str) -> float:
        return SECONDS[kind] * (10 if number == slow else 1)

    told = followed(a_clock, once)
    before, after = told[slow - 1][1], told[slow][1]
    assert after < 1.4 * before


def test_a_resumed_fit_starts_where_it_was(a_clock):
    pace = Pace(PRESET, {"planes": 5, "slices": 8})
    pace.resume(50.0, 60)
    assert pace.fraction == 0.6
    a_clock.now += 1.0
    pace.done("views")
    assert 0.6 < pace.fraction < 0.7
    assert pace.elapsed == pytest.approx(51.0)
