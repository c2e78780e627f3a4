"""`voxelfeat fit`, with a preset of a few steps."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from VoxelFeatLib.cli import fit
from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.field.files import read_tensors
from VoxelFeatLib.fitting import presets
from VoxelFeatLib.fitting.progress import FitProgress
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import write_volume

Run = Callable[..., Result]
TINY = dataclasses.replace(
    presets.PRESETS["fast"],
    name="tiny",
    views=3,
    pool=3,
    first_views=1,
    steps=5,
    windows=2,
    window=4,
    planes=2,
    augmentations=1,
    heldout_views=1,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder with `ct.nrrd`; the preset `tiny` stands beside the others."""
    k, j, i = np.indices((12, 24, 24))
    ball = (k - 6) ** 2 * 4 + (j - 11) ** 2 + (i - 13) ** 2 < 64
    noise = np.random.default_rng(0).normal(0, 10, ball.shape)
    voxels = (np.where(ball, 80, -20) + noise).astype(np.int16)
    geometry = Geometry(ball.shape, np.diag([1.5, 1.5, 3.0, 1.0]))
    write_volume(tmp_path / "ct.nrrd", Volume(voxels, geometry, "CT"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "PRESETS", {**presets.PRESETS, "tiny": TINY})

    def run_there(*arguments: str) -> Result:
        result = CliRunner().invoke(full_program(), arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_there


FIT = ("fit", "ct.nrrd", "--preset", "tiny", "-o", "ct.voxelfeat", "--device", "cpu")


def test_fit_writes_a_field_and_says_how_good_it_is(run: Run) -> None:
    result = run(*FIT, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["output"], report["preset"], report["steps"]) == ("ct.voxelfeat", "tiny", 5)
    assert 0 < report["ready_seconds"] <= report["seconds"] + 1
    assert list(report["heldout"]) == ["stride4", "stride8", "stride16"]
    for methods in report["heldout"].values():
        for method in ("field", "upsampling"):
            assert -1 <= methods[method]["cosine"] <= 1
            assert methods[method]["explained_variance"] <= 1
    field = json.loads(run("info", "ct.voxelfeat", "--json").stdout)
    assert field["fit"]["heldout"] == report["heldout"]
    shown = run("info", "ct.voxelfeat").stdout
    assert "On views that the fit never saw" in shown
    assert "tiny" in shown


def test_the_held_out_table_ends_a_fit(run: Run) -> None:
    result = run(*FIT)
    assert result.exit_code == 0
    assert "On views that the fit never saw" in result.stdout
    assert "stride16" in result.stdout
    assert "Fitted in" in result.stderr


def test_same_seed_same_field(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run(*FIT[:5], f"{name}.voxelfeat", "--seed", seed).exit_code == 0
    a, b, c = (read_tensors(tmp_path / f"{name}.voxelfeat")[1] for name in "abc")
    assert all(a[name].equal(b[name]) for name in a)
    assert not all(a[name].equal(c[name]) for name in a)


def test_ctrl_c_saves_and_resume_ends_where_the_whole_fit_does(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*FIT).exit_code == 0
    whole = read_tensors(tmp_path / "ct.voxelfeat")[1]
    (tmp_path / "ct.voxelfeat").unlink()
    show = fit._show

    def press_at_step_3(shown: object, progress: FitProgress) -> None:
        show(shown, progress)
        if progress.step == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as pressing:
        pressing.setattr(fit, "_show", press_at_step_3)
        result = run(*FIT, "--checkpoint", "ct.checkpoint")
    assert result.exit_code == 130
    assert "go on with the same command and --resume ct.checkpoint" in result.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ct.checkpoint", "ct.nrrd"]

    assert run(*FIT, "--resume", "ct.checkpoint").exit_code == 0
    resumed = read_tensors(tmp_path / "ct.voxelfeat")[1]
    differences = {n: float((whole[n] - resumed[n]).abs().max()) for n in whole}
    assert max(differences.values()) < 1e-5, differences  # rounding; a step moves values by 0.1

    result = run(*FIT, "--resume", "ct.checkpoint", "--seed", "3")
    assert result.exit_code == 2
    assert "other settings (seed)" in " ".join(result.stderr.split())


def test_ctrl_c_without_a_checkpoint_writes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_show", lambda *_: signal.raise_signal(signal.SIGINT))
    result = run(*FIT)
    assert result.exit_code == 130
    assert "Cancelled; nothing was written." in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["ct.nrrd"]


def test_a_checkpoint_is_written_now_and_then(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_CHECKPOINT_SECONDS", 0.0)
    assert run(*FIT, "--checkpoint", "ct.checkpoint").exit_code == 0
    header, _ = read_tensors(tmp_path / "ct.checkpoint")
    assert header.kind == "checkpoint"
    assert json.loads(run("info", "ct.checkpoint", "--json").stdout)["kind"] == "checkpoint"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--preset", "best"), "There is no preset named"),
        (("--backbone", "none"), "There is no backbone named"),
        (("-o", "ct.nii.gz"), "with the ending .voxelfeat"),
        (("--checkpoint", "a.voxelfeat"), "with the ending .checkpoint"),
        (("--resume", "none.checkpoint"), "There is no"),
        (("--device", "warp"), "The device “warp” cannot be used on this machine."),
        (("--series", "1"), "there is no series to choose"),
    ],
)
def test_fit_refuses_in_one_sentence_and_writes_nothing(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = run(*FIT, *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert [file.name for file in tmp_path.iterdir()] == ["ct.nrrd"]


def test_a_volume_too_small_to_slice(run: Run, tmp_path: Path) -> None:
    geometry = Geometry((1, 4, 40), np.eye(4))
    write_volume(tmp_path / "ct.nrrd", Volume(np.ones((1, 4, 40), np.int16), geometry))
    result = run(*FIT)
    assert result.exit_code == 2
    assert "too small to fit" in " ".join(result.stderr.split())
