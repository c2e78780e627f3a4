"""Comparing recipes: schedules, clocks, and what is read off a curve."""

from __future__ import annotations

import time

import pytest
import torch
from _curves import Curve, Point, Recipes, shortened, timed
from _judge import Judge, mean_explained
from _recipes import compare, facts_of, reduced, rows_of, title_of

from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.fitting.networks import network_for
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.fitting.progress import FitProgress


def point(seconds, explained):
    quality = {
        name: {"cosine": 0.5, "explained_variance": explained + shift}
        for name, shift in (("fine", -0.1), ("coarse", 0.1))
    }
    return Point(seconds, 10, 5, quality)


@pytest.fixture
def the_papers():
    return Curve("paper", (point(50, 0.1), point(100, 0.4)), 1_000_000, 4_000_000)


@pytest.fixture
def ours():
    return Curve("ours", (point(2, 0.3), point(4, 0.45), point(8, 0.6)), 1, 1)


@pytest.fixture
def a_judge(a_phantom, filters, a_preset):
    backbone = filters.make(a_phantom.volume)
    return Judge(a_phantom.volume, backbone, a_preset, views=2, cells=128)


@pytest.fixture
def recipes(a_phantom, filters, a_judge):
    return Recipes(a_phantom.volume, filters, a_judge)


def test_when_a_quality_is_reached(ours):
    assert ours.reached(0.4) == 4
    assert ours.reached(0.7) is None
    assert ours.after(5).seconds == 4
    assert ours.after(1) is None
    assert ours.last.explained == pytest.approx(0.6)


def test_ours_against_the_papers(the_papers, ours):
    rows = {row.what.strip(): row.value for row in rows_of((the_papers, ours))}
    assert rows["ours: as good as paper's run at its end after"] == 4
    assert rows["paper's seconds over that"] == 25
    assert rows["mean explained variance after 100 s, paper"] == pytest.approx(0.4)
    ended = "mean explained variance after 100 s, ours, done after 8 s"
    assert rows[ended] == pytest.approx(0.6)


def test_what_was_never_reached_has_no_number(the_papers, ours):
    rows = {row.what.strip(): row.value for row in rows_of((ours, the_papers))}
    assert rows["paper: as good as paper's run at its end after"] is None
    assert rows["paper's seconds over that"] is None
    assert rows["mean explained variance after 8 s, paper"] is None


def test_a_part_of_the_paper_has_its_whole_schedule():
    full = preset_named("paper")
    part = shortened(full, 300)
    assert (part.views, part.steps) == (300, 300)
    assert [part.rate_at(n) for n in (9, 150)] == pytest.approx(
        [full.rate_at(n) for n in (1999, 30_000)]
    )
    assert title_of(full, 300) == "paper, 300 of 60,000 views"
    less = reduced(full, 1, 4)
    assert title_of(less, 300) == "paper, 300 of 60,000 views, 16 of 1024 coarse cells a step"


def test_the_clock_leaves_out_measures_and_whoever_looks():
    measure = {"fine": {"cosine": 1.0}}

    def fit():
        def progress(step, heldout, *, usable=True):
            return FitProgress("", step, 3, 0.0, 0.0, heldout=heldout, usable=usable)

        first = {}
        time.sleep(0.1)
        yield progress(0, first, usable=False)
        time.sleep(0.4)  # the first measure
        yield progress(0, measure)
        time.sleep(0.1)
        yield progress(1, measure)
        time.sleep(0.4)  # a step that is measured
        yield progress(2, dict(measure))

    class Anywhere:
        device = torch.device("cpu")

    seconds = []
    for _, total in timed(fit(), Anywhere()):
        seconds.append(total)
        time.sleep(0.2)
    assert seconds == pytest.approx([0.1, 0.1, 0.2, 0.3], abs=0.08)


def test_a_field_of_nothing_explains_nothing(a_phantom, filters, a_preset, a_judge):
    volume = a_phantom.volume
    network = network_for(a_preset, volume.geometry, filters.make(volume))
    field = FeatureField(network, "filters", "-")
    heldout, scaling = a_judge._heldout, a_judge._scaling
    for level, channels in enumerate(network.channel_slices()):
        mean = heldout.targets[level].mean(0)
        field.mean[channels] = mean * scaling.stds[level] + scaling.means[level]
    quality = a_judge.quality(field)
    values = [level["explained_variance"] for level in quality.values()]
    assert values == pytest.approx([0.0] * len(values), abs=1e-4)


@pytest.mark.slow
def test_recipes_are_run_and_compared(recipes, a_paper, a_preset):
    told = []
    curve = recipes.run("ours", a_preset, told.append)
    assert told[-1].stage == "done"
    assert [p.seconds for p in curve.points] == sorted(p.seconds for p in curve.points)
    assert curve.last.steps == a_preset.steps
    assert curve.last.explained > 0.5
    assert curve.file_bytes > 0
    curves = compare(recipes, a_paper, 5, [a_preset])
    assert [c.last.steps for c in curves] == [5, a_preset.steps]
    assert mean_explained(curves[1].last.quality) > mean_explained(curves[0].last.quality)
    assert len(facts_of(curves)["curves"]) == 2


def test_a_run_stops_in_time(recipes, a_preset):
    curve = recipes.run("ours", a_preset, limit=1e-9)
    assert curve.title == "ours, stopped at step 0 of 10"
    assert len(curve.points) == 1


def test_views_for_a_time(recipes, a_paper):
    few, more = (recipes.views_in(a_paper, seconds) for seconds in (2, 2000))
    assert 4 <= few < more <= 60_000
