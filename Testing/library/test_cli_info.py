"""`voxelfeat info` of field files whose free record somebody has edited."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from library.small_fields import grid_field, rewritten
from typer.testing import CliRunner, Result

from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.field.files import save_field

HELDOUT = {
    "stride4": {
        "field": {"cosine": 0.75, "explained_variance": 0.5},
        "upsampling": {"cosine": 0.25},
    }
}
RECORD = {"settings": {"preset": {"name": "fast", "batch": 8}, "seed": 3}, "heldout": HELDOUT}


@pytest.fixture
def a_file(a_volume, tmp_path: Path) -> Path:
    path = tmp_path / "a.voxelfeat"
    save_field(path, grid_field(a_volume.geometry), a_volume, RECORD)
    return path


def info(path: Path, *options: str) -> Result:
    result = CliRunner().invoke(full_program(), ("info", str(path), *options))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result


def edited(path: Path, **entries: object) -> None:
    rewritten(path, lambda values, _: values["record"].update(entries), checksum=True)


def test_the_record_of_a_fit(a_file) -> None:
    shown = info(a_file).stdout
    assert "fit settings preset" in shown
    assert "fast" in shown
    assert "batch" not in shown
    assert "0.750" in shown
    assert json.loads(info(a_file, "--json").stdout)["fit"] == RECORD


@pytest.mark.parametrize("settings", [None, 5, "quick", [], {"preset": None}, {"preset": "quick"}])
def test_other_settings(settings, a_file) -> None:
    edited(a_file, settings=settings)
    assert "0.750" in info(a_file).stdout
    assert json.loads(info(a_file, "--json").stdout)["fit"]["settings"] == settings


@pytest.mark.parametrize(
    "heldout",
    [
        None,
        5,
        "good",
        ["good"],
        {"stride4": "good"},
        {"stride4": {"field": {"cosine": 0.5}}},
        {"stride4": {"field": "good", "upsampling": {}}},
        {"stride4": {"field": {"cosine": "good"}, "upsampling": {}}},
        {"stride4": {"field": {"cosine": [0.5]}, "upsampling": {}}},
    ],
)
def test_another_held_out_measure(heldout, a_file) -> None:
    edited(a_file, heldout=heldout)
    shown = info(a_file).stdout
    assert "fit heldout" in shown
    assert "never saw" not in shown
    assert json.loads(info(a_file, "--json").stdout)["fit"]["heldout"] == heldout


def test_a_level_with_rich_markup_for_a_name(a_file) -> None:
    edited(a_file, heldout={"[/bold]": HELDOUT["stride4"]})
    assert "[/bold]" in info(a_file).stdout


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_are_none(value, a_file) -> None:
    edited(a_file, seconds=value)
    assert json.loads(info(a_file, "--json").stdout)["fit"]["seconds"] is None
    assert "fit seconds" in info(a_file).stdout


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        ("[/red] or [blue]", "[/red] or [blue]"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\ud800", r"\ud800"),
        (10**400, "1000000"),
        ({"[/b]\x07": 1}, r"[/b]\x07"),
    ],
    ids=["markup", "escape", "surrogate", "huge", "key"],
)
def test_what_the_record_says_is_shown_and_does_nothing(note, shown, a_file) -> None:
    edited(a_file, note=note)
    assert shown in info(a_file).stdout
    assert json.loads(info(a_file, "--json").stdout)["fit"]["note"] == note


def test_a_file_with_markup_in_its_name(a_file) -> None:
    path = a_file.with_name("[blue]a.voxelfeat")
    a_file.rename(path)
    assert "[blue]a.voxelfeat" in info(path).stdout
