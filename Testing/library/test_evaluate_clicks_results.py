"""What an evaluation of clicks keeps and goes on with, its fields, and the command."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
import torch
from library.click_results import result
from typer.testing import CliRunner

from VoxelFeatLib.backbones.registry import BackboneOptions
from VoxelFeatLib.cli import evaluating
from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.errors import Cancelled, InputError, OutputError, VoxelFeatError
from VoxelFeatLib.evaluation.clicks import evaluation as evaluations
from VoxelFeatLib.evaluation.clicks.evaluation import ClickEvaluation
from VoxelFeatLib.evaluation.clicks.methods.threshold import ThresholdRegion
from VoxelFeatLib.evaluation.clicks.results import ClickResult
from VoxelFeatLib.evaluation.clicks.runs import ClickRun
from VoxelFeatLib.evaluation.clicks.user import Habits
from VoxelFeatLib.evaluation.datasets import Label, find_cases
from VoxelFeatLib.evaluation.fields import BackboneChoice, FieldStore
from VoxelFeatLib.evaluation.results import ResultFiles
from VoxelFeatLib.evaluation.running import Failure, Target
from VoxelFeatLib.fitting import presets
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import write_labelmap, write_volume
from VoxelFeatLib.segmenting.clicks import Click

SHAPE = (8, 12, 16)
GEOMETRY = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))


@pytest.fixture
def a_data_set(tmp_path: Path) -> Path:
    """Two cases with a bright box 1 and a dim box 2 in them; case b has no box 2."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in "ab":
        labels = np.zeros(SHAPE, dtype=np.uint8)
        labels[2:6, 2:10, 2:7] = 1
        if name == "a":
            labels[2:6, 2:10, 9:14] = 2
        grey = np.array([0, 200, 100])[labels].astype(np.int16)
        write_volume(folder / f"{name}.nii.gz", Volume(grey, GEOMETRY))
        write_labelmap(folder / f"{name}_labels.nii.gz", labels, GEOMETRY)
    return folder


class Recorded(ThresholdRegion):
    """Remembers what it was asked, and does what `then` says first."""

    def __init__(self, then=lambda _: None) -> None:
        super().__init__(width=50.0, radius_mm=2.0)
        self.then = then
        self.starts = 0

    def start(self, volume):
        self.starts += 1
        super().start(volume)

    def segment(self, clicks):
        self.then(self.starts)
        return super().segment(clicks)


def evaluation(data: Path, folder: Path, *methods, wanted=(), clicks=3) -> ClickEvaluation:
    return ClickEvaluation(find_cases(data), wanted, methods, Habits(clicks), folder)


# ---------------------------------------------------------------------------- results


def test_a_result_takes_the_numbers_of_a_run():
    run = ClickRun([0.0, 1.0], [np.inf, 0.0], [0.1, 0.2], 3.0, [Click((1.0, 2.0, 3.0), False)])
    volume = Volume(np.zeros(SHAPE, dtype=np.int16), GEOMETRY)
    target = Target("c", "l", volume, np.ones(SHAPE, dtype=bool))
    made = ClickResult.of(run, target, "m")
    assert (made.case, made.label, made.method) == ("c", "l", "m")
    # 32 x 24 x 24 mm.
    assert made.hd95_mm == (pytest.approx(np.sqrt(32**2 + 24**2 + 24**2)), 0.0)
    assert made.clicks == ((1.0, 2.0, 3.0, False),)
    with pytest.raises(InputError):
        result(seconds=(1.0,))
    with pytest.raises(InputError):
        result(dice=())
    with pytest.raises(InputError):
        result(dice=(0.5, float("nan")), hd95_mm=(1.0, 1.0))


def test_results_are_found_again_only_whole_and_of_the_same_settings(tmp_path):
    files = ResultFiles(tmp_path / "results", ClickResult)
    path = files.path("case 1/x", Label("left/right lung", 4), "a")
    assert path == tmp_path / "results" / "case_1_x" / "4-left_right_lung" / "a.json"
    assert files.path("..", Label("liver"), "a").parts[-3:] == ("_", "liver", "a.json")
    settings = {"user": {"clicks": 3}, "method": {"names": ("x", "y")}}
    assert files.read(path, settings) is None
    files.write(path, settings, result())
    assert files.read(path, settings) == result()
    assert files.read(path, {**settings, "user": {"clicks": 4}}) is None
    text = path.read_text("utf-8")
    for damaged in (
        text[:-20],
        "",
        "[]",
        text.replace('"dice"', '"rice"'),
        text.replace("0.9", "-1"),
        text.replace("0.9", "1.1"),
        text.replace("0.9", "1" + 400 * "0"),
        100_000 * "[",
    ):
        path.write_text(damaged, "utf-8")
        assert files.read(path, settings) is None
    assert [other.name for other in path.parent.iterdir()] == ["a.json"]


def test_an_evaluation_goes_on_where_it_stopped(a_data_set, tmp_path):
    first = Recorded()
    run = evaluation(a_data_set, tmp_path / "r", first)
    steps = list(run)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert "b, Label 1, threshold" in {step.words for step in steps}
    assert [(r.case, r.label) for r in run.results] == [
        ("a", "Label 1"),
        ("a", "Label 2"),
        ("b", "Label 1"),
    ]
    assert (run.failures, run.reused, first.starts) == ([], 0, 3)
    (tmp_path / "r" / "a" / "2-Label_2" / "threshold.json").write_text("{")
    second = Recorded()
    again = evaluation(a_data_set, tmp_path / "r", second)
    list(again)
    assert (again.reused, second.starts) == (2, 1)
    assert [r.dice for r in again.results] == [r.dice for r in run.results]
    other = evaluation(a_data_set, tmp_path / "r", Recorded(), clicks=2)
    list(other)
    assert other.reused == 0


def test_what_is_cancelled_loses_one_target(a_data_set, tmp_path):
    def then(start: int) -> None:
        if start == 2:
            raise KeyboardInterrupt

    run = evaluation(a_data_set, tmp_path / "r", Recorded(then))
    with pytest.raises(KeyboardInterrupt):
        list(run)
    kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("r/**/*.*"))
    assert kept == ["r/a/1-Label_1/threshold.json"]
    again = evaluation(a_data_set, tmp_path / "r", Recorded())
    list(again)
    assert (again.reused, len(again.results)) == (1, 3)


def test_what_fails_does_not_stop_the_rest(a_data_set, tmp_path):
    (a_data_set / "a.nii.gz").write_bytes(b"nothing")

    def then(start: int) -> None:
        if start == 1:
            raise ZeroDivisionError("oh")

    run = evaluation(a_data_set, tmp_path / "r", Recorded(then), Recorded())
    list(run)
    assert [(f.case, f.label, f.method) for f in run.failures] == [
        ("a", "", ""),
        ("b", "Label 1", "threshold"),
    ]
    assert run.failures[1].sentence == "ZeroDivisionError: oh"
    assert len(run.results) == 1

    def cancel(_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(evaluation(a_data_set, tmp_path / "s", Recorded(cancel)))


def test_a_result_of_other_names_is_not_taken(a_data_set, tmp_path):
    (tmp_path / "two").mkdir()
    for name in ("a b", "a_b"):  # whose results have the same place
        for ending in (".nii.gz", "_labels.nii.gz"):
            copy(a_data_set / f"b{ending}", tmp_path / "two" / f"{name}{ending}")
    run = evaluation(tmp_path / "two", tmp_path / "r", Recorded())
    list(run)
    assert ([r.case for r in run.results], run.reused) == (["a b", "a_b"], 0)
    (path,) = (tmp_path / "r").rglob("*.json")
    path.write_text(path.read_text("utf-8").replace('"Label 1"', "5"), "utf-8")
    again = evaluation(tmp_path / "two" / "a_b.nii.gz", tmp_path / "r", Recorded())
    list(again)
    assert ([r.label for r in again.results], again.reused) == (["Label 1"], 0)


def test_it_ends_where_results_cannot_be_written(a_data_set, tmp_path):
    (tmp_path / "r").write_text("")
    method = Recorded()
    with pytest.raises(OutputError, match="Cannot write"):
        list(evaluation(a_data_set, tmp_path / "r", method))
    assert method.starts == 1


def test_a_case_without_labels_is_told(a_data_set, tmp_path):
    write_labelmap(a_data_set / "b_labels.nii.gz", np.zeros(SHAPE, dtype=np.uint8), GEOMETRY)
    run = evaluation(a_data_set, tmp_path / "r", Recorded())
    list(run)
    assert {result.case for result in run.results} == {"a"}
    (failure,) = run.failures
    assert (failure.case, failure.sentence) == (
        "b",
        "No voxel of this case has a label; check its label file.",
    )


def test_a_label_that_no_case_has_is_told(a_data_set, tmp_path):
    run = evaluation(a_data_set, tmp_path / "r", Recorded(), wanted=["2", "spleen"])
    list(run)
    assert [r.case for r in run.results] == ["a"]
    sentence = "No case has the label “spleen”; there are: Label 1, Label 2"
    assert run.failures == [Failure("", "spleen", "", sentence)]


def test_no_label_is_taken_for_the_mean_of_all(a_data_set, tmp_path):
    run = evaluation(a_data_set, tmp_path / "r", Recorded(), wanted=["1=all"])
    list(run)
    assert run.results == []
    assert "named “all”" in run.failures[0].sentence


# ---------------------------------------------------------------------------- fields


@pytest.fixture
def a_short_preset(monkeypatch: pytest.MonkeyPatch) -> str:
    short = {"views": 2, "pool": 2, "first_views": 2, "steps": 2, "planes": 1, "heldout_views": 1}
    few = {"few": replace(presets.PRESETS["draft"], name="few", **short)}
    monkeypatch.setattr(presets, "PRESETS", few)
    return "few"


def test_fields_are_fitted_once_and_kept(tmp_path, monkeypatch, a_short_preset):
    told: list[str] = []
    grey = np.random.default_rng(0).normal(0, 100, (8, 24, 24)).astype(np.int16)
    volume = Volume(grey, Geometry(grey.shape, np.eye(4)), "CT", "a / b")
    choice = BackboneChoice("filters", BackboneOptions())
    store = FieldStore(
        tmp_path / "fields", choice, a_short_preset, 0, tell=lambda *news: told.append(news[0])
    )
    fitted = store(volume)
    (path,) = (tmp_path / "fields").iterdir()
    assert path.name.startswith(f"{volume.sha256()[:16]}-a_b-filters-few-")
    assert told[-1] == "a / b, fitting 100%"
    told.clear()
    places = torch.tensor([[1.0, 2.0, 3.0], [20.0, 10.0, 5.0]])
    assert torch.equal(store(volume).features(places), fitted.features(places))
    assert told == []
    given = tmp_path / "mine.voxelfeat"
    path.rename(given)
    mine = replace(store, given=(given,))
    assert torch.equal(mine(volume).features(places), fitted.features(places))
    assert mine.settings["fields"] != store.settings["fields"] == []
    assert not any((tmp_path / "fields").iterdir())
    path.write_bytes(given.read_bytes()[:-50] + bytes(50))
    assert torch.equal(store(volume).features(places), fitted.features(places))
    assert told[0] == f"{path.name} is damaged and is made anew"
    few = presets.PRESETS["few"]
    monkeypatch.setattr(presets, "PRESETS", {"few": replace(few, steps=1)})
    told.clear()
    store(volume)
    assert told[-1] == "a / b, fitting 100%"
    assert len(list((tmp_path / "fields").iterdir())) == 2
    with pytest.raises(VoxelFeatError, match="missing"):
        replace(store, given=(tmp_path / "missing.voxelfeat",))(volume)


def test_backbones_whose_input_differs_by_device_say_which_they_have():
    options = [BackboneOptions(torch.device(name)) for name in ("cpu", "cuda")]
    sizes = [BackboneChoice("sam2.1-tiny", o).settings["input_size"] for o in options]
    assert sizes == [512, 1024]
    assert "input_size" not in BackboneChoice("filters", options[0]).settings


# ---------------------------------------------------------------------------- command


def run_command(*arguments: str | Path):
    return CliRunner().invoke(full_program(), ["evaluate", "clicks", *map(str, arguments)])


def test_the_command_measures_and_goes_on(a_data_set, tmp_path):
    out = tmp_path / "out"
    base = (a_data_set, "--methods", "threshold", "--clicks", "3", "-o", out)
    first = run_command(*base, "--labels", "1,label 2", "--json")
    assert first.exit_code == 0, first.output
    (whole, *_) = json.loads(first.stdout)["lines"]
    assert (whole["method"], whole["label"], whole["targets"]) == ("threshold", "all", 3)
    assert {path.name for path in out.iterdir()} == {
        "clicks.csv",
        "curves.png",
        "results",
        "summary.json",
        "summary.md",
    }
    again = run_command(*base)
    assert again.exit_code == 0
    assert "3 results were there from before" in again.stderr
    assert "threshold" in again.stdout


def test_the_table_is_whole_in_80_columns(a_data_set, tmp_path):
    done = run_command(a_data_set, "--methods", "threshold", "--labels", "1", "-o", tmp_path / "o")
    assert done.exit_code == 0
    assert "NoC@90" in done.stdout
    assert "…" not in done.stdout


def test_the_command_tells_what_failed(a_data_set, tmp_path):
    (a_data_set / "b.nii.gz").write_bytes(b"nothing")
    base = (a_data_set, "--methods", "threshold", "--clicks", "1", "-o", tmp_path / "out")
    done = run_command(*base)
    assert done.exit_code == 2
    assert "Failed: b: " in done.stderr
    assert "1 of the measurements failed" in done.stderr
    assert (tmp_path / "out" / "summary.md").read_text("utf-8").count("- b: ") == 1
    none = run_command(*base, "--labels", "99")
    assert none.exit_code == 2
    assert "Nothing was measured" in none.stderr


def test_what_cannot_be_written_is_told_at_once(a_data_set, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(evaluating, "TemporaryFile", refused)
    early = run_command(a_data_set, "--methods", "threshold", "-o", tmp_path / "out")
    assert early.exit_code == 2
    assert "Cannot write to" in early.stderr
    monkeypatch.undo()
    (tmp_path / "out" / "results").write_text("")
    late = run_command(a_data_set, "--methods", "threshold", "-o", tmp_path / "out")
    assert late.exit_code == 2
    assert "the same command then goes on where it stopped" in late.stderr


def test_ctrl_c_is_no_loss(a_data_set, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluations, "clicking", stopped)
    done = run_command(a_data_set, "--methods", "threshold", "-o", tmp_path / "out")
    assert done.exit_code == 130
    assert "goes on where it stopped" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere", "-o", "out"), "no folder"),
        (("phantom", "--methods", "magic", "-o", "out"), "no method"),
        (("phantom", "-o", "file"), "is a file"),
        (("phantom", "--preset", "magic", "-o", "out"), "Error: There is no preset"),
        (("phantom", "--field", "missing.voxelfeat", "-o", "out"), "missing.voxelfeat"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    done = run_command(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
