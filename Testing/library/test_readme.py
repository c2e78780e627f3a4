"""What the documents show runs as it stands there: the Python example and the commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.fitting import presets
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.reading import read_segmentation
from VoxelFeatLib.imaging.writing import (
    SegmentMask,
    write_labelmap,
    write_segmentation,
    write_volume,
)
from VoxelFeatLib.segmenting.clicks import Click, write_clicks

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "command-line.md"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.fixture
def a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the guide's reader has, of a small phantom; and presets of few steps."""
    phantom = make_phantom((24, 64, 64), (6.0, 6.0, 8.0))
    geometry = phantom.volume.geometry
    write_volume(tmp_path / "ct.nii.gz", phantom.volume)
    (tmp_path / "data").mkdir()
    write_volume(tmp_path / "data" / "a.nii.gz", phantom.volume)
    write_labelmap(tmp_path / "data" / "a_labels.nii.gz", phantom.labels, geometry)
    for file, position in (
        ("inside", (89.0, 15.0, 50.0)),
        ("outside", (-115.0, -17.0, 50.0)),
        ("kidney", (-71.0, -37.0, 18.0)),
    ):
        write_clicks(tmp_path / f"{file}.mrk.json", [Click(position, positive=True)])
    liver = SegmentMask("liver", phantom.mask("liver"))
    write_segmentation(tmp_path / "coarse.seg.nrrd", [liver], geometry)
    short = {"views": 4, "pool": 4, "first_views": 2, "steps": 4, "planes": 1, "heldout_views": 2}
    few = {name: replace(presets.PRESETS["fast"], name=name, **short) for name in presets.PRESETS}
    monkeypatch.setattr(presets, "PRESETS", few)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_segments_the_liver(a_case):
    (example,) = blocks("python")
    exec(compile(example, GUIDE.name, "exec"), {})  # noqa: S102 - our own guide
    (liver,), _ = read_segmentation(a_case / "liver.seg.nrrd")
    assert liver.name == "liver"
    assert liver.mask.any()


def test_the_commands_run_in_their_order(a_case):
    text = "".join(blocks("sh")).replace("\\\n", " ")
    commands = [line for line in text.splitlines() if line.startswith("voxelfeat ")]
    used = {shlex.split(command)[1] for command in commands}
    assert used >= {"fit", "segment", "refine", "features", "supervoxels", "info", "presets"}
    assert "evaluate" in used
    for command in commands:
        result = CliRunner().invoke(full_program(), shlex.split(command, comments=True)[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
    made = {path.name for path in a_case.iterdir()}
    assert made >= {
        "liver.seg.nrrd",
        "organs.seg.nrrd",
        "fine.seg.nrrd",
        "colours.nrrd",
        "measured",
    }
    segments, _ = read_segmentation(a_case / "organs.seg.nrrd")
    assert [segment.name for segment in segments] == ["liver", "kidney"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_it_points_to_are_there(document):
    links = re.findall(r"\]\(((?!http)[^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
