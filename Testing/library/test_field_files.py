"""Field files: what goes in comes out, and everything else is one clear sentence."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from library.small_fields import (
    LEVELS,
    RECORD,
    grid_field,
    nfnet_field,
    refused,
    rewritten,
    stored,
)
from safetensors.torch import load_file, save_file

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field import files
from VoxelFeatLib.field.files import (
    FORMAT_VERSION,
    header_of,
    load_field,
    read_header,
    save_field,
    write_tensors,
)
from VoxelFeatLib.imaging.atomic import replacing
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume


@pytest.fixture
def a_field(a_volume):
    return grid_field(a_volume.geometry)


@pytest.fixture
def a_file(a_field, a_volume, tmp_path):
    path = tmp_path / "a.voxelfeat"
    save_field(path, a_field, a_volume, RECORD)
    return path


@pytest.mark.parametrize("make", [grid_field, nfnet_field])
def test_what_goes_in_comes_out(make, a_volume, tmp_path):
    field, path = make(a_volume.geometry), tmp_path / "a.voxelfeat"
    field.load_state_dict(field.stored())  # rounded as files are; a finished fit is
    save_field(path, field, a_volume, RECORD)

    again, header = load_field(path, a_volume)

    assert again.network.name == field.network.name
    assert again.levels == LEVELS
    assert again.geometry == a_volume.geometry
    assert (again.backbone, again.fingerprint) == ("filters", "print")
    assert not any(p.requires_grad for p in again.parameters())
    tensors = again.state_dict()
    assert tensors.keys() == field.state_dict().keys()
    for name, tensor in field.state_dict().items():
        assert torch.equal(tensors[name], tensor), name
    ras = torch.tensor(a_volume.geometry.to_ras(np.random.default_rng(0).uniform(0, 4, (9, 3))))
    assert torch.equal(again.features(ras), field.features(ras))
    assert header.record == RECORD
    assert header.kind == "field"
    assert header.volume_sha256 == a_volume.sha256()
    assert read_header(path).record == RECORD


def test_node_values_are_rounded_to_half_precision(a_field, a_file):
    values, again = (f.network.grids[0].values for f in (a_field, load_field(a_file)[0]))
    assert again.dtype == torch.float32
    assert torch.equal(again, values.half().float())
    bases, again = (f.network.bases[0] for f in (a_field, load_field(a_file)[0]))
    assert torch.equal(again, bases)


def test_saving_again_replaces_the_file_and_leaves_nothing_beside_it(a_file, a_volume):
    save_field(a_file, grid_field(a_volume.geometry, seed=1), a_volume, {})
    assert load_field(a_file)[1].record == {}
    assert list(a_file.parent.iterdir()) == [a_file]


def test_saving_leaves_the_field_as_it_was(a_field, a_volume, tmp_path):
    before = {name: t.clone() for name, t in a_field.state_dict().items()}
    save_field(tmp_path / "b.voxelfeat", a_field, a_volume, {})
    assert all(p.requires_grad for p in a_field.parameters())
    assert all(torch.equal(before[n], t) for n, t in a_field.state_dict().items())


def test_a_missing_file(tmp_path):
    assert "no field file" in refused(tmp_path / "none.voxelfeat")


def test_a_folder(tmp_path):
    refused(tmp_path)


def test_truncated_files(a_file):
    whole = a_file.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        a_file.write_bytes(whole[:length])
        assert "damaged" in refused(a_file), length


def test_random_bytes(tmp_path):
    path = tmp_path / "noise.voxelfeat"
    rng = np.random.default_rng(0)
    for length in (3, 8, 64, 5000):
        path.write_bytes(rng.bytes(length))
        assert "damaged" in refused(path)


def test_a_safetensors_file_of_somebody_else(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.ones(3)}, path)
    assert "not one of VoxelFeat" in refused(path)
    save_file({"weight": torch.ones(3)}, path, metadata={"format": "pt"})
    assert "not one of VoxelFeat" in refused(path)


def test_a_newer_format(a_file):
    rewritten(a_file, lambda values, _: values.update(format=FORMAT_VERSION + 1))
    assert "update VoxelFeat" in refused(a_file)


def test_a_newer_format_is_told_even_when_nothing_else_is_understood(a_file):
    def change(values, tensors):
        values.clear()
        values["format"] = FORMAT_VERSION + 5

    rewritten(a_file, change)
    assert "update VoxelFeat" in refused(a_file)


def test_a_volume_of_another_shape_or_place(a_file, a_volume):
    moved = np.array(a_volume.geometry.ijk_to_ras)
    moved[0, 3] += 1
    other = Volume(a_volume.voxels, Geometry(a_volume.geometry.shape_kji, moved), "CT")
    assert "another volume" in refused(a_file, other)
    cropped = Volume(
        a_volume.voxels[1:].copy(), Geometry((3, 5, 6), a_volume.geometry.ijk_to_ras), "CT"
    )
    message = refused(a_file, cropped)
    assert "6 x 5 x 4" in message
    assert "6 x 5 x 3" in message


def test_a_volume_with_other_voxels(a_file, a_volume):
    voxels = a_volume.voxels.copy()
    voxels[0, 0, 0] += 1
    assert "other voxel values" in refused(a_file, Volume(voxels, a_volume.geometry, "CT"))


def test_a_checkpoint_is_no_field(a_field, a_volume, tmp_path):
    path = tmp_path / "half.voxelfeat"
    write_tensors(path, a_field.state_dict(), header_of(a_field, a_volume, {}, "checkpoint"))
    assert "--resume" in refused(path)
    assert read_header(path).kind == "checkpoint"


WRONG_HEADERS = {
    "no shape": lambda v: v.pop("shape_kji"),
    "two sizes": lambda v: v.update(shape_kji=[4, 5]),
    "no sizes": lambda v: v.update(shape_kji=[]),
    "four sizes": lambda v: v.update(shape_kji=[4, 5, 6, 7]),
    "negative size": lambda v: v.update(shape_kji=[4, 5, -6]),
    "text for sizes": lambda v: v.update(shape_kji="abc"),
    "null sizes": lambda v: v.update(shape_kji=None),
    "huge sizes": lambda v: v.update(shape_kji=[10**9, 10**9, 10**9]),
    "singular matrix": lambda v: v.update(ijk_to_ras=np.zeros((4, 4)).tolist()),
    "infinite matrix": lambda v: v.update(ijk_to_ras=[[math.inf] * 4] * 4),
    "small matrix": lambda v: v.update(ijk_to_ras=[[1, 0], [0, 1]]),
    "ragged matrix": lambda v: v.update(ijk_to_ras=[[1, 0], [0]]),
    "text for matrix": lambda v: v.update(ijk_to_ras="abc"),
    "unknown network": lambda v: v.update(network="nosuch"),
    "network of a wrong type": lambda v: v.update(network=["grid"]),
    "other network": lambda v: v.update(network="nfnet"),
    "no settings": lambda v: v.update(settings={}),
    "settings of a wrong type": lambda v: v.update(settings=5),
    "text for spacings": lambda v: v["settings"].update(spacings="ab"),
    "unknown setting": lambda v: v["settings"].update(colour=1),
    "one spacing too few": lambda v: v["settings"].update(spacings=[1.0]),
    "negative latents": lambda v: v["settings"].update(latents=[-3, 2]),
    "other latents": lambda v: v["settings"].update(latents=[4, 2]),
    "no levels": lambda v: v.update(levels=[]),
    "levels of a wrong type": lambda v: v.update(levels=7),
    "a level without channels": lambda v: v["levels"][0].pop("channels"),
    "text for channels": lambda v: v["levels"][0].update(channels="5"),
    "other channels": lambda v: v["levels"][0].update(channels=6),
    "text for a stride": lambda v: v["levels"][0].update(stride="4"),
    "number for a name": lambda v: v["levels"][0].update(name=4),
    "unknown level key": lambda v: v["levels"][0].update(colour=1),
    "record of a wrong type": lambda v: v.update(record=5),
    "text for format": lambda v: v.update(format="one"),
    "null format": lambda v: v.update(format=None),
    "infinite format": lambda v: v.update(format=math.inf),
}


@pytest.mark.parametrize("damage", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
def test_headers_with_wrong_contents(damage, a_file):
    rewritten(a_file, lambda values, _: damage(values))
    assert "damaged" in refused(a_file)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '"field"', "[" * 100_000])
def test_headers_that_are_no_json_object(text, a_file):
    _, tensors = stored(a_file)
    save_file(tensors, a_file, metadata={"voxelfeat": text})
    assert "damaged" in refused(a_file)


WRONG_TENSORS = {
    "missing": lambda t: t.pop("mean"),
    "surplus": lambda t: t.update(extra=torch.ones(2)),
    "too short": lambda t: t.update(mean=torch.ones(11)),
    "transposed": lambda t: t.update({"network.bases.0": torch.ones(3, 5)}),
    "NaN in the weights": lambda t: t["network.grids.0.values"][3].fill_(math.nan),
    "numbers of eight bits": lambda t: t.update(mean=t["mean"].to(torch.float8_e4m3fn)),
    "infinite scale": lambda t: t["std"][:1].fill_(math.inf),
}


@pytest.mark.parametrize("damage", WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_wrong_tensors(damage, a_file):
    rewritten(a_file, lambda _, tensors: damage(tensors))
    assert "damaged" in refused(a_file)


def test_a_file_without_permission(a_file, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "safe_open", deny)
    assert "Permission denied" in refused(a_file)


def test_a_failure_in_the_middle_of_a_write_leaves_the_old_file(
    a_file, a_field, a_volume, monkeypatch
):
    before = a_file.read_bytes()

    def half(path, tensors, metadata):
        path.write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", half)
    with pytest.raises(InputError, match="No space left on device"):
        save_field(a_file, a_field, a_volume, {})

    assert a_file.read_bytes() == before
    assert list(a_file.parent.iterdir()) == [a_file]


def test_the_library_reads_what_is_written_in_a_single_file(a_file, a_field, a_volume, monkeypatch):
    """A second temporary file, as the library's own writer makes it, would outlive a kill."""
    opened = []

    @contextlib.contextmanager
    def watched(path):
        with replacing(path) as temporary:
            opened.append(temporary.stat().st_ino)
            yield temporary

    monkeypatch.setattr(files, "replacing", watched)
    tensors = {
        "half": torch.rand(3, 5).half(),
        "none": torch.zeros(0, 4),
        "number": torch.tensor(7),
        "single": torch.rand(2, 3, 5).mT,
        "switch": torch.tensor([True, False, True]),
    }
    write_tensors(a_file, tensors, header_of(a_field, a_volume, {}))
    assert [a_file.stat().st_ino] == opened
    read = load_file(a_file)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert all(read[name].dtype is tensors[name].dtype for name in tensors)
