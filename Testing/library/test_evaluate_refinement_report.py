"""What a refinement experiment leaves: means beside the paper's numbers, tables, files, dots."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from library.refining import result
from matplotlib.figure import Figure

from VoxelFeatLib.backbones.registry import BackboneOptions
from VoxelFeatLib.evaluation.fields import BackboneChoice
from VoxelFeatLib.evaluation.grouping import ALL
from VoxelFeatLib.evaluation.metrics import Scores
from VoxelFeatLib.evaluation.refinement import dots
from VoxelFeatLib.evaluation.refinement.dots import draw_dots
from VoxelFeatLib.evaluation.refinement.evaluation import RefinementEvaluation
from VoxelFeatLib.evaluation.refinement.methods.antialiasing import AntiAliasing
from VoxelFeatLib.evaluation.refinement.noise import Noise
from VoxelFeatLib.evaluation.refinement.published import published_dice
from VoxelFeatLib.evaluation.refinement.report import markdown, write_report
from VoxelFeatLib.evaluation.refinement.summary import lines
from VoxelFeatLib.evaluation.refinement.titles import PAPER_TITLES, titles_of
from VoxelFeatLib.evaluation.running import Failure

FILTERS = BackboneChoice("filters", BackboneOptions())
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("spleen", (0.93, 0.94, 0.95)),
        ("kidney_left", (0.90, 0.92, 0.93)),
        ("kidney", (0.91, 0.92, 0.92)),
        ("vertebrae_L1", (0.82, 0.76, 0.67)),
        ("autochthon_right", (0.91, 0.90, 0.90)),
        ("tumor", (0.83, 0.86, 0.87)),
        ("kidney_right", None),
        ("Label 1", None),
        ("autochthon_left", None),
    ],
)
def test_the_papers_numbers_are_found_by_name(label, values):
    methods = ("anti-aliasing", "sam-probe", "voxelfeat-probe")
    assert published_dice(label) == (dict(zip(methods, values, strict=True)) if values else {})


def test_lines_are_means_and_deviations():
    found = lines(
        [
            result(dice=0.5, hd95=2.0),
            result(dice=0.75, hd95=4.0, case="b"),
            result("sam-probe", dice=0.25),
            result(label="spleen", dice=1.0),
        ]
    )
    assert [(line.method, line.label, line.targets) for line in found] == [
        ("anti-aliasing", "liver", 2),
        ("sam-probe", "liver", 1),
        ("anti-aliasing", "spleen", 1),
        ("anti-aliasing", ALL, 3),
        ("sam-probe", ALL, 1),
    ]
    assert found[0].mean == Scores(0.625, 3.0, 1.0, 2.0)
    assert found[0].deviation.dice == pytest.approx(0.25 / np.sqrt(2))
    assert found[0].deviation.hd95_mm == pytest.approx(np.sqrt(2))
    assert found[1].deviation == Scores(0.0, 0.0, 0.0, 0.0)
    assert found[3].mean.dice == 0.75
    assert found[3].as_json()["mean"]["hd95_mm"] == 3.0


@pytest.fixture
def a_run(tmp_path) -> RefinementEvaluation:
    made = RefinementEvaluation([], [], [AntiAliasing()], Noise(), tmp_path)
    made.results += [
        result(dice=0.5),
        result(dice=0.7, case="b"),
        result("sam-probe", dice=0.6),
        result(label="a|b", dice=0.8),
    ]
    made.left_out.append("SAM-Video-Prop: no weights.")
    made.failures.append(Failure("b", "liver", "sam-probe", "Broken."))
    return made


def test_the_tables_have_the_papers_form(a_run):
    text = markdown(lines(a_run.results), a_run, FILTERS)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == (
        "| label | cases | Anti-Aliasing | Probe on upsampled features (SAM-Probe) | "
        "paper: Anti-Aliasing | paper: SAM-Probe | paper: VoxelFeat-Probe |"
    )
    assert rows[2] == "| liver | 2 | 0.600 ± 0.141 | 0.600 (of 1) | 0.96 | 0.95 | 0.95 |"
    assert rows[3] == "| a/b | 1 | 0.800 |  |  |  |  |"
    assert rows[4] == "| all | 3 | 0.667 ± 0.153 | 0.600 (of 1) |  |  |  |"
    hd95 = text.split("## HD95, mm")[1].splitlines()
    assert hd95[4] == "| liver | 2 | 3.00 ± 0.00 | 3.00 (of 1) |"
    assert "blocks of 4 × 4 × 4 voxels" in text
    assert "not comparable" in text
    assert "- SAM-Video-Prop: no weights." in text
    assert "- b, liver, sam-probe: Broken." in text


def test_the_files_of_a_report(a_run, tmp_path):
    write_report(tmp_path, a_run, FILTERS)
    rows = list(csv.DictReader((tmp_path / "refinement.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 4
    assert rows[1]["case"] == "b"
    assert float(rows[1]["dice"]) == 0.7
    assert float(rows[1]["prediction_to_reference_mm"]) == 2.0
    summary = json.loads((tmp_path / "refinement.json").read_text("utf-8"))
    assert summary["noise"] == {"factor": 4.0, "mm": None}
    assert summary["published_dice"]["liver"]["voxelfeat-probe"] == 0.95
    assert summary["lines"][0]["mean"]["dice"] == 0.6
    assert summary["left_out"] == ["SAM-Video-Prop: no weights."]
    assert (tmp_path / "refinement.md").read_text("utf-8").startswith("# Refinement")
    assert (tmp_path / "refinement.png").read_bytes().startswith(PNG)


def test_what_asks_sams_features_has_the_papers_name(a_run):
    text = markdown(lines(a_run.results), a_run, BackboneChoice("sam2.1-tiny", BackboneOptions()))
    assert "| label | cases | Anti-Aliasing | SAM-Probe | paper: " in text
    assert "; SAM-Probe has them upsampled" in text
    assert titles_of("fine-tuned.pt") == PAPER_TITLES != titles_of("filters")


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that were drawn, instead of files of them."""
    figures: list[Figure] = []
    monkeypatch.setattr(dots, "save", lambda figure, _: figures.append(figure))
    return figures


def test_dots_are_where_the_numbers_are(drawn):
    results = [
        result("anti-aliasing", dice=0.8, hd95=3.0),
        result("anti-aliasing", dice=0.9, hd95=5.0, case="b"),
        result("sam-probe", dice=0.7, hd95=4.0),
    ]
    draw_dots("", lines(results), titles_of("filters"))
    dice, distance = drawn[0].axes
    for axes, means in ((dice, (0.85, 0.7)), (distance, (4.0, 4.0))):
        of_methods = [container.lines[0].get_ydata() for container in axes.containers]
        assert [list(values) for values in of_methods] == [
            pytest.approx([mean, mean]) for mean in means
        ]
    # A standard deviation to both sides, and none of a single target.
    (bars,) = dice.containers[0].lines[2]
    spread = np.std([0.8, 0.9], ddof=1)
    assert bars.get_segments()[0][:, 1] == pytest.approx([0.85 - spread, 0.85 + spread])
    assert dice.get_ylim()[0] < 0.7
    assert dice.get_ylabel() == "Dice, from 0.65 up"
    # Hollow, the paper's numbers of the liver, beside the methods' own.
    hollow = [line for line in dice.lines if line.get_markerfacecolor() == "none"]
    assert [line.get_ydata()[0] for line in hollow] == [0.96, 0.95]
    own = [container.lines[0].get_xdata()[0] for container in dice.containers]
    assert [line.get_xdata()[0] for line in hollow] == own


def test_nothing_is_drawn_as_a_bar_from_a_cut_axis(drawn):
    draw_dots("", lines([result(dice=0.9)]), titles_of("filters"))
    assert all(not axes.patches for axes in drawn[0].axes)


def test_the_figure_has_room_for_its_legend(drawn):
    methods = list(PAPER_TITLES)
    for count in (1, 9):
        results = [result(m, f"label {n}") for n in range(count) for m in methods]
        draw_dots("", lines(results), titles_of("filters"))
    for figure in drawn:
        figure.draw_without_rendering()
        (legend,) = figure.legends
        inside, whole = legend.get_window_extent(), figure.bbox
        assert whole.x0 <= inside.x0 < inside.x1 <= whole.x1
    few, many = (figure.get_figwidth() for figure in drawn)
    assert few < many
