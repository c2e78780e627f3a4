"""Checkpoints of SAM2: every layout that is read, and one sentence for every one that is not."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

pytest.importorskip("sam2", reason="SAM2's package is not installed")

from library.sam2_files import hollow, random_sam2, save
from safetensors.torch import save_file

from VoxelFeatLib.backbones.sam2 import checkpoints
from VoxelFeatLib.backbones.sam2.checkpoints import load_checkpoint
from VoxelFeatLib.backbones.sam2.model import ARCHITECTURES, Encoder
from VoxelFeatLib.backbones.weights.catalogue import CATALOGUE, OfficialWeights, sha256_of
from VoxelFeatLib.errors import Cancelled, InputError, NotEnoughMemoryError, WeightsError

FIRST = "image_encoder.trunk.patch_embed.proj.weight"
LAST_BLOCK = "image_encoder.trunk.blocks.11.norm1.weight"
POSITIONS = "image_encoder.trunk.pos_embed"
FINE = "sam_mask_decoder.conv_s0.weight"


@pytest.fixture(scope="module")
def a_state():
    """Names and shapes of the whole SAM2.1 tiny; all alike but for two weights."""
    state = hollow(random_sam2("tiny").state_dict())
    state[FIRST] = torch.rand(96, 3, 7, 7)
    state[FINE] = torch.rand(32, 256, 1, 1)
    return state


def assert_loaded(checkpoint, state):
    assert checkpoint.architecture == "tiny"
    weights = checkpoint.encoder.state_dict()
    torch.testing.assert_close(weights[FIRST], state[FIRST])
    torch.testing.assert_close(weights["conv_s0.weight"], state[FINE])
    assert not checkpoint.encoder.training


@pytest.mark.parametrize(
    "layout",
    [
        lambda state: {"model": state},
        lambda state: {"model": state, "optimizer": {"state": {}}, "epoch": 4, "loss": None},
        lambda state: {"state_dict": state},
        lambda state: state,
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"sam.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["official", "of a trainer", "state_dict", "bare", "distributed", "prefixed"],
)
def test_layouts_of_official_and_other_files(layout, a_state, tmp_path):
    path = save(layout(a_state), tmp_path / "fine.tuned.pth")
    checkpoint = load_checkpoint(path)
    assert_loaded(checkpoint, a_state)
    assert checkpoint.name == "fine.tuned"
    assert checkpoint.sha256 == sha256_of(path)


def test_safetensors_are_read(a_state, tmp_path):
    wanted = {k: v.contiguous() for k, v in a_state.items() if "encoder" in k or "conv_s" in k}
    save_file(wanted, tmp_path / "a.safetensors")
    assert_loaded(load_checkpoint(tmp_path / "a.safetensors"), a_state)


def test_files_of_old_torch_are_read(a_state, tmp_path):
    torch.save(  # noqa: TID251 - a file of others
        {"model": a_state}, tmp_path / "a.pt", _use_new_zipfile_serialization=False
    )
    assert_loaded(load_checkpoint(tmp_path / "a.pt"), a_state)


def test_reading_ends_when_nobody_wants_it_any_more(a_state, tmp_path, monkeypatch):
    path = save(a_state, tmp_path / "a.pt")
    reading = checkpoints.read_weights
    unread = Mock(side_effect=reading)
    monkeypatch.setattr(checkpoints, "read_weights", unread)
    with pytest.raises(Cancelled):
        load_checkpoint(path, cancelled=lambda: True)
    unread.assert_not_called()
    with pytest.raises(Cancelled):
        load_checkpoint(path, cancelled=lambda: unread.called)
    assert load_checkpoint(path, cancelled=lambda: False).architecture == "tiny"


def test_half_precision_files_become_float32(a_state, tmp_path):
    half = {name: tensor.half() for name, tensor in a_state.items()}
    checkpoint = load_checkpoint(save({"model": half}, tmp_path / "a.pt"))
    assert {weight.dtype for weight in checkpoint.encoder.parameters()} == {torch.float32}
    torch.testing.assert_close(checkpoint.encoder.state_dict()[FIRST], half[FIRST].float())


@pytest.mark.parametrize("size", ARCHITECTURES)
def test_sizes_are_told_from_the_weights(size, tmp_path):
    state = hollow(Encoder(ARCHITECTURES[size]).state_dict())
    state = {k.replace("conv_s", "sam_mask_decoder.conv_s"): v for k, v in state.items()}
    assert load_checkpoint(save(state, tmp_path / "whatever.pt")).architecture == size


def test_weights_that_are_all_zero_are_refused(a_state, tmp_path):
    zeros = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in a_state.items()}
    path = save({"model": zeros}, tmp_path / "zeros.pt")
    with pytest.raises(WeightsError, match=r"zeros\.pt has weights that are all zero"):
        load_checkpoint(path)


def changed(**changes):
    """The whole state with some weights exchanged, by the names below; None leaves one out."""
    names = {"first": FIRST, "positions": POSITIONS, "fine": FINE, "block": LAST_BLOCK}

    def make(state):
        new = {**state, **{names.get(key, key): value for key, value in changes.items()}}
        return {"model": {key: value for key, value in new.items() if value is not None}}

    return make


FOREIGN = {
    "a list": (lambda _: [1, 2], "it holds a list"),
    "a tensor": (lambda _: torch.zeros(3), "it holds a Tensor"),
    "nothing": (lambda _: {}, "no weights of SAM2's image encoder"),
    "SAM 1": (
        lambda _: {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)},
        "no weights of SAM2's image encoder",
    ),
    "no decoder": (changed(fine=None), "“conv_s0.weight” is missing"),
    "no positions": (changed(positions=None), "“image_encoder.trunk.pos_embed” is missing"),
    "other blocks": (changed(block=None), "is missing"),
    "other positions": (
        changed(positions=torch.zeros(1, 96, 14, 14)),
        r"is \(1, 96, 14, 14\) instead of \(1, 96, 7, 7\)",
    ),
    "another width": (changed(first=torch.zeros(80, 3, 7, 7)), "80 channels and 12 blocks"),
    "adapters": (
        changed(**{"image_encoder.trunk.blocks.3.adapter.weight": torch.zeros(3)}),
        r"“image_encoder\.trunk\.blocks\.3\.adapter\.weight” is not SAM2's",
    ),
    "integers": (changed(first=torch.zeros(96, 3, 7, 7).int()), "is no tensor of numbers"),
    "no tensor": (changed(first=[1.0]), "is no tensor of numbers"),
    "a scalar": (changed(first=torch.tensor(1.0)), "0 channels and 12 blocks"),
    "sparse": (changed(first=torch.zeros(96, 147).to_sparse()), "is no tensor of numbers"),
    "shapes alone": (changed(first=torch.zeros(96, 3, 7, 7).to("meta")), "is no tensor of numbers"),
    "complex": (changed(first=torch.zeros(96, 3, 7, 7) * 1j), "is no tensor of numbers"),
    "too large": (
        changed(first=torch.full((96, 3, 7, 7), 1e300, dtype=torch.float64)),
        "not finite",
    ),
    "nan": (changed(first=torch.full((96, 3, 7, 7), torch.nan)), "not finite"),
    "infinite": (changed(fine=torch.full((32, 256, 1, 1), torch.inf)), "not finite"),
    "objects": (
        lambda state: {"model": state, "args": argparse.Namespace(lr=1)},
        "holds Python objects besides its weights",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_checkpoint_is_told_in_a_sentence(make, sentence, a_state, tmp_path):
    path = save(make(a_state), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=sentence) as caught:
        load_checkpoint(path)
    assert str(path) in caught.value.message
    assert isinstance(caught.value, InputError)


DAMAGED = {
    "empty.pt": lambda _: b"",
    "text.pt": lambda _: b"version https://git-lfs.github.com/spec/v1\n",
    "page.pth": lambda _: b"<!DOCTYPE html><html></html>",
    "zeros.pt": lambda whole: bytes(len(whole)),
    "half.pt": lambda whole: whole[: len(whole) // 2],
    "most.pt": lambda whole: whole[:-10],
    "zip of nothing.pt": lambda _: b"PK\x05\x06" + bytes(18),
    "half.safetensors": lambda whole: whole[: len(whole) // 2],
}


@pytest.mark.parametrize(("name", "make"), DAMAGED.items(), ids=DAMAGED)
def test_a_damaged_file_is_told_in_a_sentence(name, make, a_state, tmp_path):
    whole = save({"model": a_state}, tmp_path / "whole.pt").read_bytes()
    (tmp_path / name).write_bytes(make(whole))
    with pytest.raises(WeightsError, match="damaged, or no checkpoint") as caught:
        load_checkpoint(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)")]
)
def test_too_little_memory_is_not_called_damage(error, a_state, tmp_path, monkeypatch):
    def load(*_, **__):
        raise error

    path = save({"model": a_state}, tmp_path / "a.pt")
    monkeypatch.setattr(checkpoints.torch, "load", load)
    with pytest.raises(NotEnoughMemoryError, match="too little free memory"):
        load_checkpoint(path)


@pytest.mark.parametrize("function", [open, os.system])
def test_code_in_a_file_is_not_run(function, tmp_path):
    class Trap:
        def __reduce__(self):
            if function is open:
                return (open, (str(tmp_path / "trapped"), "w"))
            return (os.system, (f"echo > '{tmp_path / 'trapped'}'",))

    path = save({"model": {FIRST: Trap()}}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="Python objects"):
        load_checkpoint(path)
    assert not (tmp_path / "trapped").exists()


def test_a_missing_file_or_a_folder_is_told(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(WeightsError, match="cannot be read"):
            load_checkpoint(path)


@pytest.mark.parametrize("name", ["~nobody-has-this-name/a.pt", "a\0b.pt", "a" * 5000 + ".pt"])
def test_a_name_that_no_file_has_is_told(name):
    with pytest.raises(WeightsError, match="cannot be read"):
        load_checkpoint(Path(name))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes by name")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(WeightsError, match="It is no file"):
        load_checkpoint(tmp_path / "pipe.pt")


def test_eight_bits_are_numbers_too(a_state, tmp_path):
    first = torch.ones(96, 3, 7, 7)
    state = {**a_state, FIRST: first.to(torch.float8_e4m3fn)}
    assert_loaded(load_checkpoint(save(state, tmp_path / "a.pt")), {**a_state, FIRST: first})


def test_a_truncated_official_file_is_told_its_size(tmp_path):
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    path.write_bytes(b"PK\x03\x04 half of it")
    with pytest.raises(WeightsError, match=r"it has 15 bytes, the official .* has 156008466"):
        load_checkpoint(path)


def test_an_official_name_is_for_official_bytes(a_state, tmp_path, monkeypatch, caplog):
    path = save({"model": a_state}, tmp_path / "sam2.1_hiera_tiny.pt")
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(path).name == "sam2.1_hiera_tiny"
    assert "has an official file's name, but other weights" in caplog.text
    with pytest.raises(WeightsError, match="its SHA-256 differs"):
        load_checkpoint(path, CATALOGUE["sam2.1-tiny"])

    renamed = path.rename(tmp_path / "sam2.1-tiny.pt")
    assert load_checkpoint(renamed).name == f"sam2.1-tiny-{sha256_of(renamed)[:8]}"

    official = OfficialWeights("sam2.1-tiny", "x.pt", renamed.stat().st_size, sha256_of(renamed))
    monkeypatch.setattr(checkpoints, "CATALOGUE", {"sam2.1-tiny": official})
    assert load_checkpoint(renamed, official).name == "sam2.1-tiny"
    assert load_checkpoint(renamed).name == "sam2.1-tiny"
