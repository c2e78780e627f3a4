"""Field files whose bytes changed on the way: never taken for what was written."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from library.small_fields import RECORD, grid_field, refused, rewritten, stored

from VoxelFeatLib.errors import FieldFileError
from VoxelFeatLib.field.files import (
    header_of,
    load_field,
    read_header,
    read_tensors,
    save_field,
    write_tensors,
)


@pytest.fixture
def a_file(a_volume, tmp_path):
    path = tmp_path / "a.voxelfeat"
    save_field(path, grid_field(a_volume.geometry), a_volume, RECORD)
    return path


def flipped(path, offset, bit):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_one_other_bit_of_the_weights(part, bit, a_file):
    whole = a_file.stat().st_size
    begin = 8 + int.from_bytes(a_file.read_bytes()[:8], "little")
    flipped(a_file, begin + round(part * (whole - 1 - begin)), bit)
    assert "differ from its checksum" in refused(a_file)


def test_another_byte_of_the_header_is_refused_or_changes_the_record_only(a_file):
    whole = a_file.read_bytes()
    written, tensors = load_field(a_file)[1], stored(a_file)[1]
    loaded = 0
    for offset in range(8, 8 + int.from_bytes(whole[:8], "little"), 5):
        a_file.write_bytes(whole)
        flipped(a_file, offset, 0)
        try:
            header, values = read_tensors(a_file)
        except FieldFileError:
            refused(a_file)
            continue
        loaded += 1
        assert replace(header, record=written.record) == written, offset
        assert values.keys() == tensors.keys(), offset
        assert all(torch.equal(values[name], tensors[name]) for name in tensors), offset
    assert 0 < loaded < 40


def test_a_header_that_was_edited(a_file):
    def change(values, _):
        values["fingerprint"] = "another"

    rewritten(a_file, change, checksum=True)
    assert "differ from its checksum" in refused(a_file)


def test_a_tensor_under_anothers_name(a_file):
    def change(_, tensors):
        tensors["mean"], tensors["std"] = tensors["std"], tensors["mean"]

    rewritten(a_file, change, checksum=True)
    assert "differ from its checksum" in refused(a_file)


def test_the_record_is_free_to_be_edited(a_file):
    rewritten(a_file, lambda values, _: values.update(record={"note": "a liver"}), checksum=True)
    assert load_field(a_file)[1].record == {"note": "a liver"}


def test_files_of_before_there_were_checksums_load(a_file):
    before = load_field(a_file)[0].state_dict()
    rewritten(a_file, lambda *_: None)
    assert "sha256" not in stored(a_file)[0]
    after = load_field(a_file)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_checkpoints_have_a_checksum_too(a_volume, tmp_path):
    field, path = grid_field(a_volume.geometry), tmp_path / "half.voxelfeat"
    write_tensors(path, field.state_dict(), header_of(field, a_volume, {}, "checkpoint"))
    assert read_header(path).kind == "checkpoint"
    flipped(path, path.stat().st_size - 1, 0)
    assert "differ from its checksum" in refused(path)


def test_a_header_alone_is_read_without_the_weights(a_file):
    flipped(a_file, a_file.stat().st_size - 1, 0)
    assert read_header(a_file).record == RECORD
