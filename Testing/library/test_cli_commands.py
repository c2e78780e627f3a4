"""The commands, each run whole on a tiny volume whose field is known in every voxel."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from typer.testing import CliRunner, Result

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import save_field
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.fitting.presets import PRESETS
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.reading import read_labelmap, read_segmentation, read_volume
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import (
    SegmentMask,
    write_labelmap,
    write_segmentation,
    write_volume,
)

SHAPE = (10, 12, 14)
ORGAN = (slice(3, 7), slice(4, 9), slice(5, 10))
INSIDE = "4,17,40"  # voxel i 7, j 6, k 5, in the middle of the organ
OUTSIDE = "-6,9,34"  # voxel i 2, j 2, k 2
EXACT = np.zeros(SHAPE, dtype=bool)
EXACT[ORGAN] = True
Run = Callable[..., Result]


@pytest.fixture
def a_geometry() -> Geometry:
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = (-10, 5, 30)
    return Geometry(SHAPE, matrix)


@pytest.fixture
def a_volume(a_geometry: Geometry) -> Volume:
    voxels = np.full(SHAPE, -900, dtype=np.int16)
    voxels[1:9, 1:11, 1:13] = 20
    return Volume(voxels, a_geometry, "CT", "ct")


@pytest.fixture
def a_folder(tmp_path: Path, a_volume: Volume) -> Path:
    """`ct.nrrd` and `ct.voxelfeat`: channel 0 tells the organ, which the image does not show."""
    features = np.random.default_rng(0).normal(0, 0.05, (*SHAPE, 4))
    features[ORGAN][..., 0] += 2
    features[..., 1] += a_volume.voxels > 0
    network = GridNetwork(a_volume.geometry, (FeatureLevel("stride4", 4, 4),), (2.0,), (4,))
    network.grids[0].values.data[:] = torch.tensor(features.reshape(-1, 4), dtype=torch.float32)
    write_volume(tmp_path / "ct.nrrd", a_volume)
    record = {"preset": "fast"}
    save_field(tmp_path / "ct.voxelfeat", FeatureField(network, "filters", "v1"), a_volume, record)
    (tmp_path / "in.csv").write_text(f"r,a,s\n{INSIDE}\n")
    (tmp_path / "out.csv").write_text(f"x,y,z\n{OUTSIDE}\n")
    return tmp_path


@pytest.fixture
def run(a_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in the folder: `run("info", "ct.nrrd")`."""
    monkeypatch.chdir(a_folder)

    def run_there(*arguments: str) -> Result:
        result = CliRunner().invoke(full_program(), arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_there


FIELD = ("ct.voxelfeat", "--volume", "ct.nrrd")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


# ------------------------------------------------------------------ segment


def test_segment_finds_the_organ_from_one_click(run: Run, a_folder: Path) -> None:
    result = run("segment", *FIELD, "-p", "in.csv", "--name", "organ", "-o", "o.seg.nrrd", "--json")
    assert result.exit_code == 0
    written = read_labelmap(a_folder / "o.seg.nrrd")
    assert written.names == {1: "organ"}
    assert dice(written.labels == 1, EXACT) > 0.9
    report = json.loads(result.stdout)
    assert report["output"] == "o.seg.nrrd"
    assert [(one["name"], one["voxels"]) for one in report["segments"]] == [
        ("organ", np.count_nonzero(written.labels))
    ]
    assert report["segments"][0]["ml"] == pytest.approx(0.008 * np.count_nonzero(written.labels))


def test_segment_prints_where_to_click_next(run: Run, a_folder: Path) -> None:
    arguments = ("-p", "in.csv", "--name", "organ", "-o", "o.nrrd")
    plain = run("segment", *FIELD, *arguments, "--json")
    assert "suggestions" not in json.loads(plain.stdout)["segments"][0]
    told = run("segment", *FIELD, *arguments, "--json", "--suggest")
    suggestions = json.loads(told.stdout)["segments"][0]["suggestions"]
    image = read_volume(a_folder / "ct.nrrd")
    assert 0 < len(suggestions) <= 5
    for one in suggestions:
        assert image.geometry.contains(one["ras"])
        assert 0 < one["doubt"] <= 1
        assert one["doubt"] == round(one["doubt"], 4)
    table = run("segment", *FIELD, *arguments, "--suggest").stdout
    assert "Where to click next" in table
    for one in suggestions:
        row = [f"{mm:.1f}" for mm in one["ras"]] + [f"{one['doubt']:.2f}"]
        assert any(all(cell in line for cell in row) for line in table.splitlines())
    only_the_click = ("--box", f"{INSIDE},{INSIDE}")
    assert "nowhere" in run("segment", *FIELD, *arguments, *only_the_click, "--suggest").stdout


def test_segment_makes_several_at_once(run: Run, a_folder: Path) -> None:
    arguments = ("--also", "rest=out.csv", "--coordinates", "ras", "-o", "o.nii.gz")
    assert run("segment", *FIELD, "-p", "in.csv", *arguments).exit_code == 0
    labels = read_labelmap(a_folder / "o.nii.gz").labels
    assert labels[5, 6, 7] == 1
    assert labels[2, 2, 2] == 2


def test_segment_stays_in_the_box(run: Run, a_folder: Path) -> None:
    box = ("--box", "10,23,44,-2,11,34")  # one voxel around the organ
    assert run("segment", *FIELD, "-p", "in.csv", *box, "-o", "o.nrrd").exit_code == 0
    labels = read_labelmap(a_folder / "o.nrrd").labels
    assert dice(labels == 1, EXACT) > 0.9
    labels[2:8, 3:10, 4:11] = 0
    assert not labels.any()


def test_segment_says_when_nothing_was_found(
    run: Run, a_folder: Path, a_geometry: Geometry
) -> None:
    corner = a_geometry.to_ras([[0, 0, 0], [1, 1, 1]]).ravel().tolist()  # the click is elsewhere
    away = ("--box", ",".join(map(str, corner)), "--json")
    result = run("segment", *FIELD, "-p", "in.csv", *away, "--name", "organ", "-o", "o.nrrd")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["segments"][0]["voxels"] == 0
    assert "organ is empty" in " ".join(result.stderr.split())


def test_segment_starts_from_a_mask_on_other_voxels(
    run: Run, a_folder: Path, a_geometry: Geometry
) -> None:
    half = Geometry((10, 12, 7), a_geometry.ijk_to_ras)  # the lower half along i
    write_labelmap(a_folder / "m.nrrd", EXACT[..., :7].astype(np.uint8), half)
    arguments = ("--start-from", "m.nrrd", "-n", "out.csv", "--coordinates", "RAS", "-o", "o.nrrd")
    result = run("segment", *FIELD, *arguments)
    assert result.exit_code == 0
    assert "m.nrrd lies on other voxels than the volume; it was resampled." in result.stderr
    assert read_labelmap(a_folder / "o.nrrd").labels[5, 6, 5] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "o.seg.nrrd"), "There is no positive click"),
        (("-p", "in.csv", "-o", "o.png"), "Name the output o.png with one of the endings"),
        (("-p", "in.csv", "-o", "none/o.nrrd"), "The folder none does not exist"),
        (("-p", "out.csv", "-o", "o.nrrd"), "Say whether out.csv is in RAS or LPS"),
        (("-p", "in.csv", "--box", "1,2", "-o", "o.nrrd"), "“1,2” is no box"),
        (("-p", "in.csv", "--box", "90,90,90,95,95,95", "-o", "o.nrrd"), "no voxel of the volume"),
        (("-p", "in.csv", "--also", "o=in.csv", "-o", "o.nrrd"), "Two segments are named"),
        (("-p", "in.csv", "--device", "warp", "-o", "o.nrrd"), "The device “warp” cannot be used"),
        (("-p", "far.csv", "-o", "o.nrrd"), "lies outside the volume"),
        (("-p", "in.csv", "-n", "in.csv", "-o", "o.nrrd"), "segment “o” and a negative one"),
        (
            ("-p", "in.csv", "--also", "k=in.csv", "-o", "o.nrrd"),
            "positive click of segment “k” and of segment “o”",
        ),
        (("-p", "in.csv", "--seed", str(2**64), "-o", "o.nrrd"), "Invalid value for '--seed'"),
    ],
)
def test_segment_refuses_in_one_sentence_and_writes_nothing(
    run: Run, a_folder: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (a_folder / "far.csv").write_text("l,p,s\n4,17,40\n")
    before = sorted(a_folder.iterdir())
    result = run("segment", *FIELD, *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert sorted(a_folder.iterdir()) == before


def test_a_field_of_another_volume_is_refused(run: Run, a_folder: Path, a_volume: Volume) -> None:
    other = a_volume.voxels.copy()
    other[5, 5, 5] += 1
    write_volume(a_folder / "other.nrrd", Volume(other, a_volume.geometry, "CT"))
    result = run("segment", "ct.voxelfeat", "-v", "other.nrrd", "-p", "in.csv", "-o", "o.nrrd")
    assert result.exit_code == 2
    assert "other voxel values" in " ".join(result.stderr.split())


# ------------------------------------------------------------------ refine


@pytest.mark.parametrize("mode", ["prior", "paper"])
def test_refine_a_mask_on_coarser_voxels(
    run: Run, a_folder: Path, a_geometry: Geometry, mode: str
) -> None:
    blocks = EXACT.reshape(5, 2, 6, 2, 7, 2).mean(axis=(1, 3, 5)) >= 0.5
    matrix = a_geometry.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] += 1.0  # the centre of a block lies half a voxel beyond that of its first voxel
    coarse = Geometry(blocks.shape, matrix)
    write_labelmap(a_folder / "m.nii.gz", 3 * blocks.astype(np.uint8), coarse)
    result = run("refine", *FIELD, "-m", "m.nii.gz", "--mode", mode, "-o", "r.seg.nrrd", "--json")
    assert result.exit_code == 0
    refined = read_labelmap(a_folder / "r.seg.nrrd")
    assert refined.geometry.matches(a_geometry)
    assert list(refined.names.values()) == ["Label 3"]
    if mode == "prior":  # five channels are too few for the paper's LayerNorm
        upsampled = blocks.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
        assert dice(refined.labels > 0, EXACT) > dice(upsampled, EXACT) + 0.1
    (report,) = json.loads(result.stdout)["segments"]
    assert report["name"] == "Label 3"
    assert report["voxels"] == np.count_nonzero(refined.labels)
    assert ("field_weight" in report) == (mode == "prior")


def test_refine_only_what_is_asked(run: Run, a_folder: Path, a_geometry: Geometry) -> None:
    two = EXACT.astype(np.uint8)
    two[0] = 2
    write_labelmap(a_folder / "m.nrrd", two, a_geometry)
    mask = ("-m", "m.nrrd", "-o", "r.seg.nrrd")
    for name in ("Label 1", "1"):
        assert run("refine", *FIELD, *mask, "--only", name).exit_code == 0
        assert list(read_labelmap(a_folder / "r.seg.nrrd").names.values()) == ["Label 1"]
    for wrong, sentence in (
        (("--only", "liver"), "m.nrrd has no segment “liver”; it has Label 1, Label 2."),
        (("--mode", "magic"), "There is no mode “magic”; choose prior or paper."),
    ):
        result = run("refine", *FIELD, *mask, *wrong)
        assert result.exit_code == 2
        assert sentence in " ".join(result.stderr.split())


def test_refine_keeps_segments_that_lie_under_others(
    run: Run, a_folder: Path, a_geometry: Geometry
) -> None:
    part = EXACT.copy()
    part[5:] = False
    red, blue = (0.8, 0.2, 0.2), (0.2, 0.2, 0.8)
    segments = [SegmentMask("part", part, red, "a~b~c"), SegmentMask("organ", EXACT, blue)]
    write_segmentation(a_folder / "m.seg.nrrd", segments, a_geometry)
    result = run("refine", *FIELD, "-m", "m.seg.nrrd", "-o", "r.seg.nrrd")
    assert result.exit_code == 0
    refined, _ = read_segmentation(a_folder / "r.seg.nrrd")
    assert [(one.name, one.color) for one in refined] == [("part", red), ("organ", blue)]
    assert refined[0].terminology == "a~b~c"
    assert dice(refined[0].mask, part) > 0.9
    assert dice(refined[1].mask, EXACT) > 0.9


# ------------------------------------------------------------------ features, supervoxels


def test_features_at_positions(run: Run) -> None:
    result = run("features", *FIELD, "--at", INSIDE, "--at", OUTSIDE)
    assert result.exit_code == 0
    inside, outside = csv.DictReader(io.StringIO(result.stdout))
    assert [float(inside[key]) for key in "ras"] == [4.0, 17.0, 40.0]
    assert float(inside["stride4_0"]) == pytest.approx(2, abs=0.3)
    assert float(outside["stride4_0"]) == pytest.approx(0, abs=0.3)
    assert float(outside["intensity"]) == pytest.approx(0.51)
    report = json.loads(run("features", *FIELD, "--at", INSIDE, "--json").stdout)
    assert report["levels"] == [{"name": "stride4", "channels": 4}]
    assert report["at"][0]["features"][0] == pytest.approx(float(inside["stride4_0"]))


def test_features_as_colours(run: Run, a_folder: Path, a_geometry: Geometry) -> None:
    assert run("features", *FIELD, "-o", "c.nrrd").exit_code == 0
    image = SimpleITK.ReadImage(str(a_folder / "c.nrrd"))
    colors = SimpleITK.GetArrayFromImage(image).astype(int)
    assert colors.shape == (*SHAPE, 3)
    assert image.GetOrigin() == (10.0, -5.0, 30.0)
    # the organ is what varies most, so the first component tells it from the rest
    red = colors[..., 0]
    assert (
        min(red[EXACT].min(), 255 - red[~EXACT].max()) > 128
        or max(red[EXACT].max(), 255 - red[~EXACT].min()) < 128
    )


def test_features_as_likeness(run: Run, a_folder: Path) -> None:
    assert run("features", *FIELD, "--similar-to", INSIDE, "-o", "s.nrrd").exit_code == 0
    likeness = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(a_folder / "s.nrrd")))
    assert likeness[5, 6, 7] == pytest.approx(1)
    assert likeness[EXACT].mean() > likeness[~EXACT].mean() + 0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Ask either for numbers with --at or for an image"),
        (("--at", INSIDE, "-o", "c.nrrd"), "Ask either for numbers with --at or for an image"),
        (("--at", INSIDE, "--similar-to", INSIDE), "give it with --output, not with --at"),
        (("--at", "4,17,400"), "4, 17, 400 lies outside the volume"),
        (("--similar-to", "4,17,400", "-o", "s.nrrd"), "The point lies outside the volume"),
    ],
)
def test_features_refuses(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    result = run("features", *FIELD, *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())


def test_supervoxels_leave_the_air_out(run: Run, a_folder: Path, a_volume: Volume) -> None:
    result = run("supervoxels", *FIELD, "--count", "8", "-o", "s.nii.gz", "--json")
    assert result.exit_code == 0
    labels = read_labelmap(a_folder / "s.nii.gz").labels
    assert np.array_equal(labels == 0, a_volume.voxels == -900)
    assert json.loads(result.stdout)["supervoxels"] == len(np.unique(labels)) - 1 > 1


# ------------------------------------------------------------------ info, presets


def test_info_of_a_field_and_of_its_volume_agree(run: Run) -> None:
    field = json.loads(run("info", "ct.voxelfeat", "--json").stdout)
    volume = json.loads(run("info", "ct.nrrd", "--json").stdout)
    assert field["kind"] == "field"
    assert field["backbone"] == "filters"
    assert field["fit"] == {"preset": "fast"}
    assert field["volume_sha256"] == volume["sha256"]
    for key in ("voxels_ijk", "spacing_ijk_mm", "centre_ras_mm", "ijk_to_ras"):
        assert field[key] == volume[key]
    assert volume["voxels_ijk"] == [14, 12, 10]
    assert volume["modality"] == "CT"
    assert volume["range"] == [-900.0, 20.0]
    assert "spacing ijk mm" in run("info", "ct.nrrd").stdout


def test_info_shows_positions_and_grey_values_as_they_are(run: Run, a_folder: Path) -> None:
    matrix = np.diag([0.781, 0.781, 2.5, 1.0])
    matrix[:3, 3] = (-177.956, 11.319, 1094.3)
    voxels = np.full((4, 5, 6), -1024, dtype=np.int16)
    voxels[0] = 1207
    write_volume(a_folder / "v.nrrd", Volume(voxels, Geometry(voxels.shape, matrix)))
    shown = run("info", "v.nrrd").stdout
    for words in ("0.781, 0, 0, -177.956", "0, 0, 2.5, 1094.3", "-1024, 1207"):
        assert words in shown


def test_info_of_bad_files(run: Run, a_folder: Path) -> None:
    (a_folder / "bad.voxelfeat").write_bytes(b"\x00" * 100)
    for file in ("bad.voxelfeat", "none.voxelfeat", "none.nrrd", "in.csv"):
        result = run("info", file)
        assert result.exit_code == 2, file
        assert result.stderr.startswith("Error: ")


def test_presets_are_all_there(run: Run) -> None:
    assert list(json.loads(run("presets", "--json").stdout)) == list(PRESETS)
    paper = json.loads(run("presets", "--json").stdout)["paper"]
    assert paper["learning_rate"] == 0.002
    assert paper["network"] == "nfnet"
    assert "learning rate" in run("presets").stdout


def test_presets_have_only_the_numbers_that_their_network_reads(run: Run) -> None:
    presets = json.loads(run("presets", "--json").stdout)
    assert set(presets["paper"]) - set(presets["fast"]) == {"objective", "nfnet"}
    assert list(presets["paper"]["grid"]) == ["slices"]
    assert set(presets["paper"]["grid"]) < set(presets["fast"]["grid"])
    row = next(line for line in run("presets").stdout.splitlines() if "objective blur" in line)
    assert [cell.strip() for cell in row.split("│")[2:-1]] == ["", "", "", "", "0.1"]


def test_every_command_has_help_with_an_example(run: Run) -> None:
    for command in ("fit", "segment", "refine", "features", "supervoxels", "info", "presets"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert f"voxelfeat {command}" in result.stdout
