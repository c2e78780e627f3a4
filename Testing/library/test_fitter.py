"""Real fits, tiny ones: better than upsampling, repeatable, resumable, interruptible."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.errors import FieldFileError, InputError
from VoxelFeatLib.field.files import load_field, read_tensors, save_field, write_tensors
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import GridSettings, NFNetSettings, Preset, preset_named
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.volume import Volume

GRID = dataclasses.replace(
    preset_named("fast"),
    views=8,
    pool=5,  # smaller than the views: old ones leave
    first_views=2,
    fill=0.7,
    steps=24,
    windows=4,
    window=4,
    planes=6,
    augmentations=1,
    heldout_views=2,
)
THREES = dataclasses.replace(GRID, batch=3)
NFNET = dataclasses.replace(
    GRID, network="nfnet", learning_rate=0.002, warm_up=0.1, nfnet=NFNetSettings(16, 2, 4)
)


@pytest.fixture(scope="module")
def a_phantom() -> Volume:
    return make_phantom((24, 40, 40), (6.0, 6.0, 9.5)).volume


def fitter_of(volume, preset, seed=0):
    return Fitter(volume, FilterBackbone.for_volume(volume), preset, seed=seed)


def fitted(volume, preset, seed=0):
    fitter = fitter_of(volume, preset, seed)
    return fitter, list(fitter)


def first_and_last(reports):
    """Held-out explained variance, by level, of the first field and of the last."""
    measures = [report.heldout for report in reports if report.usable]
    return (
        {name: values["explained_variance"] for name, values in measure.items()}
        for measure in (measures[0], measures[-1])
    )


def random_volume(shape_kji, spacing_ijk=(1.0, 1.0, 1.0)):
    rng = np.random.default_rng(0)
    voxels = rng.normal(50, 100, size=shape_kji).astype(np.int16)
    return Volume(voxels, Geometry(shape_kji, np.diag([*spacing_ijk, 1.0])), "CT")


def same_weights(one, other):
    tensors = other.field.state_dict()
    return all(torch.equal(tensors[name], t) for name, t in one.field.state_dict().items())


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


def resumed(volume, preset, path, stop_at):
    """A fit that was stopped after `stop_at` steps, written, and finished by another fitter."""
    fitter = fitter_of(volume, preset)
    for report in fitter:
        if report.usable and report.step == stop_at:
            break
    fitter.checkpoint(path)
    again = Fitter.resume(path, volume, FilterBackbone.for_volume(volume), preset)
    return again, list(again)


@pytest.mark.parametrize(
    ("preset", "stop_at"),
    [(GRID, 0), (GRID, 13), (THREES, 13), (NFNET, 1), (NFNET, 23)],
    ids=["grid 0", "grid 13", "in threes 13", "nfnet 1", "nfnet 23"],
)
def test_a_resumed_fit_is_the_uninterrupted_one_bit_for_bit(preset, stop_at, a_phantom, tmp_path):
    whole, _ = fitted(a_phantom, preset)
    again, reports = resumed(a_phantom, preset, tmp_path / "half.voxelfeat", stop_at)
    assert same_weights(whole, again)
    assert again.record["heldout"] == whole.record["heldout"]
    assert again.record["step"] == preset.steps
    assert reports[-1].fraction == 1
    assert reports[-1].seconds_left == 0
    assert [r.step for r in reports if r.losses] == list(range(stop_at + 1, preset.steps + 1))


def test_a_fit_may_be_resumed_twice(a_phantom, tmp_path):
    whole, _ = fitted(a_phantom, NFNET)
    path = tmp_path / "half.voxelfeat"
    fitter = fitter_of(a_phantom, NFNET)
    for stop_at in (5, 11):
        for report in fitter:
            if report.usable and report.step == stop_at:
                break
        fitter.checkpoint(path)
        fitter = Fitter.resume(path, a_phantom, FilterBackbone.for_volume(a_phantom), NFNET)
    list(fitter)
    assert same_weights(whole, fitter)


@pytest.fixture(scope="module")
def a_checkpoint(a_phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "half.voxelfeat"
    fitter = fitter_of(a_phantom, GRID)
    for report in fitter:
        if report.step == 2:
            break
    fitter.checkpoint(path)
    return path


def refusal(path, volume, preset=GRID, seed=0, backbone=None):
    with pytest.raises(FieldFileError) as caught:
        Fitter.resume(
            path, volume, backbone or FilterBackbone.for_volume(volume), preset, seed=seed
        )
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_resuming_with_another_seed_is_refused(a_checkpoint, a_phantom):
    assert "(seed)" in refusal(a_checkpoint, a_phantom, seed=1)


def test_resuming_with_another_preset_is_refused(a_checkpoint, a_phantom):
    preset = dataclasses.replace(GRID, steps=25)
    assert "(preset)" in refusal(a_checkpoint, a_phantom, preset)
    assert "(preset)" in refusal(a_checkpoint, a_phantom, NFNET)
    finer = dataclasses.replace(GRID, grid=GridSettings(latents=(9, 8, 24)))
    assert "(preset)" in refusal(a_checkpoint, a_phantom, finer)


def test_resuming_with_another_backbone_is_refused(a_checkpoint, a_phantom):
    backbone = FilterBackbone(FilterBackbone.for_volume(a_phantom).encoding.windows[:2], 128)
    assert "(backbone)" in refusal(a_checkpoint, a_phantom, backbone=backbone)


def test_resuming_on_another_volume_is_refused(a_checkpoint, a_phantom):
    voxels = a_phantom.voxels.copy()
    voxels[3, 3, 3] += 1
    assert "other voxel values" in refusal(
        a_checkpoint, Volume(voxels, a_phantom.geometry, a_phantom.modality)
    )
    assert "another volume" in refusal(a_checkpoint, random_volume((24, 40, 41)))


def test_resuming_a_finished_field_is_refused(a_phantom, tmp_path):
    fitter, _ = fitted(a_phantom, GRID)
    path = tmp_path / "done.voxelfeat"
    save_field(path, fitter.field, a_phantom, fitter.record)
    assert "finished" in refusal(path, a_phantom)


TENSOR_DAMAGES = {
    "no node values": lambda t: t.pop("field.network.grids.0.values"),
    "no scaling": lambda t: t.pop("channels.0.mean"),
    "no weights": lambda t: t.pop("channels.2.weight"),
    "wrong shape": lambda t: t.update({"field.mean": torch.ones(2)}),
    "not a number": lambda t: t["channels.0.mean"].fill_(math.nan),
}
RECORD_DAMAGES = {
    "no step": lambda r: r.pop("step"),
    "text for the step": lambda r: r.update(step="two"),
    "held-out of a wrong type": lambda r: r.update(heldout=5),
    "held-out without field": lambda r: r.update(heldout={"stride4": {}}),
    "no seconds": lambda r: r.pop("seconds"),
    "no settings": lambda r: r.pop("settings"),
}


@pytest.mark.parametrize("damage", TENSOR_DAMAGES.values(), ids=TENSOR_DAMAGES)
def test_a_checkpoint_with_damaged_tensors_is_refused(damage, a_checkpoint, a_phantom, tmp_path):
    header, tensors = read_tensors(a_checkpoint)
    damage(tensors)
    path = tmp_path / "damaged.voxelfeat"
    write_tensors(path, tensors, header)
    refusal(path, a_phantom)


@pytest.mark.parametrize("damage", RECORD_DAMAGES.values(), ids=RECORD_DAMAGES)
def test_a_checkpoint_with_a_damaged_record_is_refused(damage, a_checkpoint, a_phantom, tmp_path):
    header, tensors = read_tensors(a_checkpoint)
    damage(header.record)
    path = tmp_path / "damaged.voxelfeat"
    write_tensors(path, tensors, header)
    refusal(path, a_phantom)


def test_a_checkpoint_before_the_first_field_is_refused(a_phantom, tmp_path):
    fitter = fitter_of(a_phantom, GRID)
    next(iter(fitter))
    with pytest.raises(InputError, match="first field"):
        fitter.checkpoint(tmp_path / "early.voxelfeat")
    assert list(tmp_path.iterdir()) == []


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
