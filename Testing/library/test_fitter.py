"""Real fits, tiny ones: better than upsampling, repeatable, interruptible."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from library.tiny_fits import (
    GRID,
    NFNET,
    fitted,
    fitter_of,
    random_volume,
    same_weights,
    tiny_phantom,
)

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.files import load_field, save_field
from VoxelFeatLib.fitting.presets import Preset, preset_named
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.volume import Volume


@pytest.fixture(scope="module")
def a_phantom() -> Volume:
    return tiny_phantom()


def first_and_last(reports):
    """Held-out explained variance, by level, of the first field and of the last."""
    measures = [report.heldout for report in reports if report.usable]
    return (
        {name: values["explained_variance"] for name, values in measure.items()}
        for measure in (measures[0], measures[-1])
    )


@pytest.mark.slow
def test_a_fit_beats_upsampling_on_oblique_views():
    volume = make_phantom((30, 64, 64), (4.0, 4.0, 6.0)).volume
    preset = dataclasses.replace(
        preset_named("fast"),
        views=40,
        pool=40,
        steps=250,
        windows=8,
        window=6,
        planes=8,
        heldout_views=4,
    )
    fitter, reports = fitted(volume, preset)
    field, plain = reports[-1].heldout, reports[-1].upsampling
    finest, *others = (level.name for level in fitter.field.levels)
    assert field[finest]["explained_variance"] > 0.8
    assert field[finest]["explained_variance"] > plain[finest]["explained_variance"] + 0.02
    assert field[finest]["cosine"] > plain[finest]["cosine"]
    # A coarse cell is half as large as an organ here.
    for name in others:
        assert field[name]["explained_variance"] > plain[name]["explained_variance"] - 0.05


@pytest.mark.parametrize("preset", [GRID, NFNET], ids=["grid", "nfnet"])
def test_training_explains_more_of_views_it_never_sees(preset, a_phantom):
    fitter, reports = fitted(a_phantom, preset)
    assert all(torch.isfinite(t).all() for t in fitter.field.state_dict().values())
    first, last = first_and_last(reports)
    assert first.keys() == {level.name for level in fitter.field.levels}
    for name in first:
        assert last[name] > first[name], name


@pytest.mark.parametrize(
    ("preset", "names"),
    [(GRID, {"agreement"}), (NFNET, {"agreement", "magnitude", "variation", "blur"})],
    ids=["grid", "nfnet"],
)
def test_every_step_reports_the_objectives_terms(preset, names, a_phantom):
    _, reports = fitted(a_phantom, preset)
    losses = [report.losses for report in reports if report.losses]
    assert len(losses) == preset.steps
    for terms in losses:
        assert terms.keys() == names
        assert all(math.isfinite(value) and value >= 0 for value in terms.values())


def test_the_grid_starts_as_good_as_upsampling(a_phantom):
    for report in fitter_of(a_phantom, GRID):
        if report.usable:
            break
    for name, field in report.heldout.items():
        plain = report.upsampling[name]["explained_variance"]
        assert field["explained_variance"] > plain - 0.1


@pytest.mark.parametrize("preset", [GRID, NFNET], ids=["grid", "nfnet"])
def test_the_same_seed_gives_the_same_weights(preset, a_phantom):
    one, same = fitted(a_phantom, preset, 3)[0], fitted(a_phantom, preset, 3)[0]
    assert same_weights(one, same)
    other = fitted(a_phantom, preset, 4)[0]
    assert not same_weights(one, other)


def test_a_fit_leaves_torchs_own_random_numbers_alone(a_phantom):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitter_of(a_phantom, NFNET)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("preset", [GRID, NFNET], ids=["grid", "nfnet"])
def test_the_field_is_usable_while_it_trains(preset, a_phantom):
    fitter = fitter_of(a_phantom, preset)
    ras = torch.tensor(a_phantom.geometry.to_ras([[20, 20, 10], [3, 4, 5]]), dtype=torch.float32)
    answers = []
    for report in fitter:
        if report.usable:
            features = fitter.field.features(ras)
            assert torch.isfinite(features).all()
            answers.append(features)
    # From before the first step to the end.
    assert len(answers) >= preset.steps + 1
    assert not torch.equal(answers[0], answers[-1])
    assert report.stage == "done"


def test_queries_between_steps_do_not_change_the_fit(a_phantom):
    plain, _ = fitted(a_phantom, GRID)
    queried = fitter_of(a_phantom, GRID)
    for report in queried:
        if report.usable:
            queried.field.features(torch.zeros(5, 3))
    assert same_weights(plain, queried)


@pytest.mark.parametrize("preset", [GRID, NFNET], ids=["grid", "nfnet"])
def test_progress_goes_from_nothing_to_the_end(preset, a_phantom):
    _, reports = fitted(a_phantom, preset)
    fractions = [report.fraction for report in reports]
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert all(math.isfinite(r.seconds_left) and r.seconds_left >= 0 for r in reports)
    assert reports[-1].stage == "done"
    assert fractions[-1] == 1
    assert reports[-1].seconds_left == 0
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.3
    steps = [report.step for report in reports]
    assert steps == sorted(steps)
    assert steps[-1] == preset.steps
    usable = [report.usable for report in reports]
    assert usable == sorted(usable)
    assert usable[-1]


def test_the_file_of_a_fit_holds_its_record_and_its_field(a_phantom, tmp_path):
    fitter, reports = fitted(a_phantom, GRID, 7)
    path = tmp_path / "a.voxelfeat"
    save_field(path, fitter.field, a_phantom, fitter.record)

    field, header = load_field(path, a_phantom)

    ras = torch.tensor(a_phantom.geometry.to_ras([[20, 20, 10], [3, 4, 5]]), dtype=torch.float32)
    assert torch.equal(field.features(ras), fitter.field.features(ras))
    record = header.record
    assert record["settings"]["seed"] == 7
    assert record["step"] == GRID.steps
    assert record["seconds"] > 0
    for name, values in record["heldout"].items():
        assert values["field"] == reports[-1].heldout[name]
        assert values["upsampling"] == reports[-1].upsampling[name]
    assert set(record["heldout"]) == {level.name for level in field.levels}


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((1, 48, 40), (1.0, 1.0, 3.0)),
        ((1, 96, 96), (1.0, 1.0, 0.3)),  # so thin that tilted views hardly meet it
        ((48, 1, 40), (1.0, 3.0, 1.0)),
        ((40, 48, 1), (3.0, 1.0, 1.0)),
        ((2, 8, 9), (1.0, 1.0, 1.0)),  # far smaller than a view and its padding
        ((3, 60, 10), (1.0, 1.0, 1.0)),
        ((6, 20, 20), (1.0, 1.5, 7.0)),
    ],
)
@pytest.mark.parametrize("preset", [GRID, NFNET], ids=["grid", "nfnet"])
def test_flat_and_small_volumes_are_fitted(shape, spacing, preset):
    volume = random_volume(shape, spacing)
    fitter, reports = fitted(volume, preset)
    for tensor in fitter.field.state_dict().values():
        assert torch.isfinite(tensor).all()
    first, last = first_and_last(reports)
    for name in first:
        # No step may diverge; on so little data not every level gains.
        assert last[name] > first[name] - 0.1, name


def test_a_constant_volume_is_fitted():
    volume = Volume(np.full((8, 20, 20), 40, np.int16), Geometry((8, 20, 20), np.eye(4)), "CT")
    fitter, reports = fitted(volume, GRID)
    features = fitter.field.features(torch.tensor([[5.0, 5, 5], [10, 10, 2]]))
    torch.testing.assert_close(features[0], features[1], atol=1e-3, rtol=0)
    for level in reports[-1].heldout.values():
        assert all(math.isfinite(value) for value in level.values())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 64), (64, 7, 7), (1, 1, 500)])
def test_a_volume_too_small_to_slice_is_refused_in_one_sentence(shape):
    with pytest.raises(InputError, match="too small to fit"):
        fitter_of(random_volume(shape), GRID)


@pytest.mark.parametrize("factor", [torch.nan, torch.inf, 1e30])
def test_features_without_bound_are_refused_in_one_sentence(factor, a_phantom, monkeypatch):
    encode = FilterBackbone.__call__
    monkeypatch.setattr(
        FilterBackbone, "__call__", lambda *given: [m * factor for m in encode(*given)]
    )
    fitter = fitter_of(a_phantom, GRID)
    with pytest.raises(InputError, match="features of the backbone “filters” are not finite"):
        next(p for p in fitter if p.usable)


def test_presets_are_data_that_json_keeps():
    for name in ("draft", "fast", "balanced", "paper"):
        preset = preset_named(name)
        assert isinstance(preset, Preset)
        assert hash(preset) == hash(preset_named(name))
