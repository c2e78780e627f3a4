"""Fits that go on from a checkpoint, and checkpoints that are refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from library.tiny_fits import (
    GRID,
    NFNET,
    THREES,
    fitted,
    fitter_of,
    random_volume,
    same_weights,
    tiny_phantom,
)

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.errors import FieldFileError, InputError
from VoxelFeatLib.field.files import read_tensors, save_field, write_tensors
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import GridSettings
from VoxelFeatLib.imaging.volume import Volume


@pytest.fixture(scope="module")
def a_phantom() -> Volume:
    return tiny_phantom()


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
