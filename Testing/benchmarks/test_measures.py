"""Every benchmark measures something tiny, so that none of them rots."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import clicks
import encoder
import gpu
import pytest
import torch
import worker
from _curve_figure import draw
from _curves import Curve, Point
from _fits import MeasuredFit, targets_of
from _subjects import Choice, phantom_of
from _tables import Row, show
from library.pretended import pretending

from VoxelFeatLib.fitting.presets import preset_named


def values_of(rows):
    return {row.what.strip(): row.value for row in rows}


def test_a_phantom_of_any_size_shows_the_same():
    volume = phantom_of("32x16x10").volume
    assert volume.voxels.shape == (10, 16, 32)
    assert volume.geometry.spacing.tolist() == [12.0, 24.0, 30.0]


def test_a_fit(a_phantom, filters, a_preset, a_roofline):
    measured = MeasuredFit(a_phantom.volume, filters, a_preset)
    measured.run()
    rows = measured.rows(a_roofline)
    values = values_of(rows)
    assert values["ready for the first click"] > 0
    assert values["mask of the first click, whole volume"] <= values["fit done"]
    assert values["steps"] == a_preset.steps
    planes, held_out = a_preset.planes * (1 + a_preset.augmentations), a_preset.heldout_views
    assert values["views encoded"] >= planes + held_out + a_preset.views
    shares = [row.roofline for row in rows if row.roofline is not None]
    assert len(shares) == 2
    assert all(share > 0 for share in shares)


def test_a_fit_that_may_not_take_long(a_phantom, filters, a_preset):
    measured = MeasuredFit(a_phantom.volume, filters, a_preset, seconds=0)
    measured.run()
    values = values_of(measured.rows())
    assert values["fit stopped at 0 steps"] > 0
    assert values["ready for the first click"] is None


def test_targets_are_for_the_sizes_they_name(filters):
    fast, large = preset_named("fast"), (100, 512, 512)
    assert targets_of((24, 40, 40), filters, fast, 128).done is None
    assert targets_of(large, filters, fast, 1024).done == 240
    tiny = Choice("sam2.1-tiny", torch.device("cpu"))
    assert targets_of(large, tiny, fast, 512).ready == 180
    assert targets_of(large, tiny, fast, 1024).ready is None


def test_clicks(a_phantom, filters, a_preset, a_roofline):
    field = clicks.first_field(a_phantom.volume, filters, replace(a_preset, views=12))
    values = values_of(clicks.measure(a_phantom, field, a_roofline))
    assert values["click to the whole mask, cold"] > 0
    assert all(value > 0 for value in values.values())


@pytest.mark.slow
def test_a_worker(a_phantom, tmp_path):
    field_file = tmp_path / "field.voxelfeat"
    worker.keep_first_field(a_phantom.volume, field_file)
    values = values_of(worker.measure(a_phantom, field_file))
    assert values["volume upload, its hash included"] > 0
    assert values["query of a single voxel, round trip"] > 0
    assert values["click to three visible slices, through the worker (median)"] > 0


def test_an_encoder(a_phantom, filters, a_roofline):
    bench = encoder.EncoderBench(filters, a_phantom.volume, a_roofline)
    rows = bench.measure([1, 2], plain=True)
    best = next(row for row in rows if row.what.startswith("best"))
    assert best.value == max(r.value for r in rows if r.what.startswith("batch"))
    assert bench.measure([4], deadline=0)[-1].what.startswith("rendered")


def test_other_settings_change_one_thing():
    best = encoder.Setting(8)
    found = list(encoder.variants(best, torch.device("cuda")))
    assert all(setting.batch == 8 and setting != best for setting in found)
    assert len(set(found)) == 5


def test_tables_say_what_is_met(capsys, tmp_path):
    rows = [
        Row("fast enough", 1.0, "s", 2.0),
        Row("too slow", 3.0, "views/s", 60.0, 0.125, at_least=True),
        Row("not there", None, "s", 1.0),
    ]
    show("A table", rows, output=tmp_path / "new" / "table.json", more={"curves": [1]})
    printed = capsys.readouterr().out
    assert "≤ 2 met" in printed
    assert "≥ 60 missed" in printed
    assert "12 %" in printed
    facts = json.loads((tmp_path / "new" / "table.json").read_text())
    assert facts["curves"] == [1]
    assert facts["rows"][0] == {"what": "fast enough", "value": 1.0, "unit": "s", "target": 2.0}
    assert "value" not in facts["rows"][2]


def test_a_figure(tmp_path):
    quality = {"fine": {"explained_variance": 0.5}, "coarse": {"explained_variance": 0.6}}
    curve = Curve("ours", (Point(1, 1, 0, quality), Point(9, 2, 5, quality)), 1, 1)
    draw(tmp_path / "curves.png", [curve], "a title")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", "results"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_everything_at_once(tmp_path, filters):
    scale = gpu.Scale("filters", 128, "40x40x24", (1, 2), tiny=True)
    gpu.GpuBench(scale, filters, tmp_path, 600).run()
    rows = json.loads((tmp_path / "everything.json").read_text())["rows"]
    assert {row["what"].split(":")[0] for row in rows} == {
        "encoder",
        "fit and clicks",
        "small-gpu",
        "recipes",
        "ceiling",
    }
    assert not [row for row in rows if "failed" in row["what"] or "no time" in row["what"]]
    assert (tmp_path / "curves.png").exists()
    assert len(json.loads((tmp_path / "curves.json").read_text())["curves"]) == 2


@pytest.mark.slow
def test_everything_on_a_pretended_gpu(tmp_path, monkeypatch):
    for name, answer in (
        ("synchronize", None),
        ("init", None),
        ("reset_peak_memory_stats", None),
        ("max_memory_reserved", 5 * 10**9),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    scale = gpu.Scale("filters", 128, "40x40x24", (1,), tiny=True)
    with pretending("cuda"):
        gpu.GpuBench(scale, Choice("filters", torch.device("cuda")), tmp_path, 600).run()
    values = values_of(
        Row(**{"value": None} | row)
        for row in json.loads((tmp_path / "everything.json").read_text())["rows"]
    )
    assert not [what for what in values if "failed" in what or "no time" in what]
    assert values["small-gpu: largest GPU memory"] == 5


def test_what_there_is_no_time_for_is_left_out(tmp_path, filters):
    scale = gpu.Scale("filters", 128, "40x40x24", (1,), tiny=True)
    gpu.GpuBench(scale, filters, tmp_path, 0.001).run()
    rows = json.loads((tmp_path / "everything.json").read_text())["rows"]
    assert {row["what"].split(": ")[1] for row in rows} == {"no time left"}
