"""What an evaluation of clicks says: means, clicks needed, tables, files."""

from __future__ import annotations

import csv
import json

import numpy as np
from library.click_results import result

from VoxelFeatLib.evaluation.clicks.curves import draw_curves
from VoxelFeatLib.evaluation.clicks.evaluation import ClickEvaluation
from VoxelFeatLib.evaluation.clicks.methods.threshold import ThresholdRegion
from VoxelFeatLib.evaluation.clicks.report import markdown, write_report
from VoxelFeatLib.evaluation.clicks.results import padded
from VoxelFeatLib.evaluation.clicks.summary import Needed, largest_fall, lines, needed
from VoxelFeatLib.evaluation.clicks.user import Habits
from VoxelFeatLib.evaluation.grouping import ALL
from VoxelFeatLib.evaluation.running import Failure

PNG = b"\x89PNG\r\n\x1a\n"


def test_curves_are_padded_with_their_last_value():
    assert padded([0.5, 0.75], 4) == [0.5, 0.75, 0.75, 0.75]
    assert padded([0.5, 0.75], 1) == [0.5]


def test_clicks_needed():
    curves = np.array([[0.5, 0.9, 0.8, 0.9], [0.85, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]])
    assert needed(curves, 0.85) == Needed(round((2 + 1 + 4) / 3, 2), 1)
    assert needed(curves, 0.95) == Needed(4.0, 3)


def test_the_largest_fall():
    assert largest_fall([0.5, 0.625, 0.5, 0.75, 0.5]) == 0.25
    assert largest_fall([0.5, 0.75]) == largest_fall([0.5]) == 0.0


def test_lines_are_means_over_targets():
    found = lines(
        [
            result("a", "liver", (0.5, 0.75)),
            result("a", "spleen", (1.0,), seconds=(3.25,)),
            result("b", "liver", (0.75, 0.25), start_seconds=7.0),
        ],
        3,
    )
    names = [(line.method, line.label, line.targets) for line in found]
    assert names == [
        ("a", ALL, 2),
        ("b", ALL, 1),
        ("a", "liver", 1),
        ("b", "liver", 1),
        ("a", "spleen", 1),
    ]
    assert found[0].dice == (0.75, 0.875, 0.875)
    assert found[0].hd95_mm == (2.5, 1.25, 1.25)
    assert found[0].seconds == 0.25
    assert found[0].noc85 == Needed(2.0, 1)
    assert found[1].largest_fall == 0.5
    assert found[1].start_seconds == 7.0
    assert found[0].as_json()["noc90"] == {"mean": 2.0, "missed": 1}


def test_the_tables_say_what_was_measured():
    found = lines([result(dice=(0.5, 0.9)), result(label="a|b", dice=(0.7, 0.8))], 2)
    failure = Failure("c", "liver", "a", "Broken.")
    text = markdown(found, Habits(2, negative=True), [failure], ["No b."])
    assert "## What was left out\n\n- No b." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == (
        "| method | targets | Dice 1 | Dice 2 | HD95 1 | HD95 2 | NoC@85 | NoC@90 | s a click | "
        "fall |"
    )
    assert rows[2] == "| a | 2 | 0.600 | 0.850 | 4.0 | 1.5 | 2.0 (1) | 2.0 (1) | 0.25 | 0.000 |"
    assert rows[-1].startswith("| a/b | a | 1 | 0.700 |")
    assert {row.count("|") for row in rows[3:]} == {12}
    assert "One click 6 to 12 mm outside" in text
    assert "- c, liver, a: Broken." in text
    assert "strokes" in markdown(found, Habits(2, stroke_mm=5.0))
    assert "miss by 3 mm" in markdown(found, Habits(2, noise_mm=3.0))


def test_the_files_of_a_report(tmp_path):
    made = ClickEvaluation([], [], [ThresholdRegion()], Habits(3), tmp_path)
    made.results += [result(), result(label="spleen", dice=(0.25,))]
    write_report(tmp_path, made)
    rows = list(csv.reader((tmp_path / "clicks.csv").read_text("utf-8").splitlines()))
    assert rows[0] == ["case", "label", "method", "click", "dice", "hd95_mm", "seconds"]
    assert rows[2] == ["case", "liver", "a", "2", "0.90000", "1.000", "0.2500"]
    assert len(rows) == 4
    summary = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert summary["lines"][0]["dice"] == [0.375, 0.575, 0.575]
    assert summary["methods"] == {"threshold": {"width": 2.5, "radius_mm": 6.0}}
    assert (tmp_path / "summary.md").read_text("utf-8").startswith("# Few-click segmentation")
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)


def test_curves_of_one_label_need_no_small_ones(tmp_path):
    draw_curves(tmp_path / "one.png", lines([result()], 2))
    draw_curves(tmp_path / "two.png", lines([result(), result(label="spleen")], 2))
    one, two = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two"))
    height = [int.from_bytes(data[20:24], "big") for data in (one, two)]
    assert height[0] < height[1]
