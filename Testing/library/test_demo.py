"""`voxelfeat demo` on its small size: what it leaves, read by other programs' readers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK
from matplotlib.image import imread
from safetensors import safe_open
from typer.testing import CliRunner, Result

from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.demo.clicking import Structure, click_through
from VoxelFeatLib.demo.colors import FeatureColors
from VoxelFeatLib.demo.refining import Agreement, refine_coarse
from VoxelFeatLib.field.files import load_field
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.phantom_labels import Label
from VoxelFeatLib.imaging.reading import read_volume
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import read_clicks
from VoxelFeatLib.segmenting.session import Session

CLICKED = ["liver", "spleen", "right kidney"]
REFINED = ["liver", "right kidney"]


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(full_program(), [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def a_demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder that the command left, and what it said."""
    folder = tmp_path_factory.mktemp("run") / "new" / "demo"
    result = run("demo", "--output", folder, "--size", "small")
    assert result.exit_code == 0
    return folder, result


@pytest.fixture(scope="module")
def a_summary(a_demo: tuple[Path, Result]) -> dict:
    return json.loads((a_demo[0] / "summary.json").read_text(encoding="utf-8"))


pytestmark = pytest.mark.slow


def test_the_folder_holds_these_files_only(a_demo) -> None:
    names = {path.name for path in a_demo[0].iterdir()}
    outside = {name for name in names if name.endswith("-outside.mrk.json")}
    assert names - outside == {
        "phantom.nrrd",
        "phantom.voxelfeat",
        "truth.seg.nrrd",
        "segmentation.seg.nrrd",
        "coarse.seg.nrrd",
        "refined.seg.nrrd",
        "summary.json",
        "segments.png",
        "segment-liver.png",
        "segment-spleen.png",
        "segment-right-kidney.png",
        "refinement.png",
        "features-axial.png",
        "features-coronal.png",
        "liver-inside.mrk.json",
        "spleen-inside.mrk.json",
        "right-kidney-inside.mrk.json",
    }


def test_the_summary_has_exactly_these_keys_and_plausible_numbers(a_summary) -> None:
    assert list(a_summary) == [
        "fit_seconds",
        "first_click_seconds",
        "heldout",
        "segments",
        "refinement",
    ]
    assert 0 < a_summary["first_click_seconds"] < a_summary["fit_seconds"] < 600
    assert list(a_summary["heldout"]) == ["stride4", "stride8", "stride16"]
    for methods in a_summary["heldout"].values():
        assert set(methods) == {"field", "upsampling"}
        for numbers in methods.values():
            assert set(numbers) == {"cosine", "explained_variance"}
            assert 0.5 < numbers["explained_variance"] <= numbers["cosine"] <= 1
    assert [segment["name"] for segment in a_summary["segments"]] == CLICKED
    for segment in a_summary["segments"]:
        assert set(segment) == {"name", "dice", "seconds"}
        assert len(segment["dice"]) == len(segment["seconds"]) <= 10
        assert segment["dice"][-1] > 0.7
        assert all(0 < seconds < 60 for seconds in segment["seconds"])
    assert [one["name"] for one in a_summary["refinement"]] == REFINED
    for one in a_summary["refinement"]:
        assert set(one) == {
            "name",
            "coarse_dice",
            "refined_dice",
            "coarse_hd95_mm",
            "refined_hd95_mm",
        }
        assert 0.7 < one["coarse_dice"] < one["refined_dice"] <= 1
        assert 0 < one["refined_hd95_mm"] <= one["coarse_hd95_mm"] < 30


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("segmentation.seg.nrrd", CLICKED),
        ("refined.seg.nrrd", REFINED),
        ("coarse.seg.nrrd", REFINED),
    ],
)
def test_segmentations_have_slicers_names_and_colours(a_demo, file, names) -> None:
    _, header = nrrd.read(str(a_demo[0] / file))
    assert [header[f"Segment{n}_Name"] for n in range(len(names))] == names
    assert f"Segment{len(names)}_Name" not in header
    for n, name in enumerate(names):
        color = [float(part) for part in header[f"Segment{n}_Color"].split()]
        expected = Label[name.upper().replace(" ", "_")].color
        np.testing.assert_allclose(np.array(color) * 255, expected, atol=0.01)


def test_the_summarys_dice_is_that_of_the_files(a_demo, a_summary) -> None:
    folder = a_demo[0]
    _, header = nrrd.read(str(folder / "segmentation.seg.nrrd"))
    truth, names = _truth(folder)
    for n, segment in enumerate(a_summary["segments"]):
        found = _layer(folder / "segmentation.seg.nrrd", header, n)
        wanted = truth == names[segment["name"]]
        dice = 2 * (found & wanted).sum() / (found.sum() + wanted.sum())
        assert dice == pytest.approx(segment["dice"][-1], abs=1e-4)


def test_the_truth_has_the_volumes_voxels_and_every_structure(a_demo) -> None:
    folder = a_demo[0]
    truth, names = _truth(folder)
    image = SimpleITK.ReadImage(str(folder / "phantom.nrrd"))
    assert truth.shape == image.GetSize() == (128, 128, 40)
    assert image.GetSpacing() == (3.0, 3.0, 5.0)
    assert len(names) >= 12
    # The liver is soft tissue, and air is not.
    voxels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    assert 60 < voxels[truth == names["liver"]].mean() < 160
    assert voxels[truth == names["left lung"]].mean() < -500


def test_coarse_voxels_are_coarse_and_lie_on_the_volume(a_demo) -> None:
    coarse = read_geometry(a_demo[0] / "coarse.seg.nrrd")
    volume = read_volume(a_demo[0] / "phantom.nrrd").geometry
    np.testing.assert_allclose(coarse.spacing, (9, 9, 15))
    np.testing.assert_allclose(coarse.centre_ras, volume.centre_ras, atol=1e-6)


def test_the_field_opens_with_its_volume(a_demo) -> None:
    folder = a_demo[0]
    with safe_open(folder / "phantom.voxelfeat", "pt") as file:
        assert json.loads(file.metadata()["voxelfeat"])["kind"] == "field"
    field, header = load_field(folder / "phantom.voxelfeat", read_volume(folder / "phantom.nrrd"))
    assert field.geometry.shape_kji == (40, 128, 128)
    assert header.record["settings"]["preset"]["name"] == "fast"


def test_the_clicks_are_those_that_were_counted(a_demo, a_summary) -> None:
    truth, names = _truth(a_demo[0])
    geometry = read_volume(a_demo[0] / "phantom.nrrd").geometry
    for segment in a_summary["segments"]:
        inside, outside = _click_files(a_demo[0], segment["name"])
        clicks = read_clicks(positive=inside, negative=outside)
        assert len(clicks) == len(segment["dice"])
        assert clicks == read_clicks(labelled=[*inside, *outside])  # labels say the same
        for click in clicks:
            i, j, k = np.rint(geometry.to_ijk(click.ras)).astype(int)
            assert (truth[i, j, k] == names[segment["name"]]) == click.positive


def test_figures_are_pictures(a_demo) -> None:
    for path in a_demo[0].glob("*.png"):
        picture = imread(path)[..., :3]
        assert min(picture.shape[:2]) > 400
        assert picture.std() > 0.1


def test_a_segment_is_made_again_from_the_clicks_as_the_demo_says(a_demo, tmp_path) -> None:
    folder, result = a_demo
    (command,) = [line for line in result.stderr.splitlines() if "--positive" in line]
    arguments = command[command.index("segment ") :].split()
    target = Path(arguments[-1])
    assert arguments[-2:] == ["--output", str(folder / "liver-again.seg.nrrd")]
    output = tmp_path / target.name
    assert run(*arguments[:-1], output).exit_code == 0
    again, header = nrrd.read(str(output))
    assert header["Segment0_Name"] == "liver"
    truth, names = _truth(folder)
    wanted = truth == names["liver"]
    assert 2 * (wanted & (again > 0)).sum() / (wanted.sum() + (again > 0).sum()) > 0.6


def test_the_end_of_the_run_says_what_was_measured_and_what_to_open(a_demo) -> None:
    folder, result = a_demo
    for words in ("On views that the fit never saw", "Segments from", "refined", *CLICKED):
        assert words in result.stdout
    for name in ("phantom.nrrd", "segmentation.seg.nrrd", "refined.seg.nrrd", "summary.json"):
        assert str(folder / name) in result.stderr


def test_field_and_backbone_share_their_colours(a_demo) -> None:
    """Averaged over a cell the field has the colour of the backbone's cell."""
    volume = read_volume(a_demo[0] / "phantom.nrrd")
    field, _ = load_field(a_demo[0] / "phantom.voxelfeat", volume)
    colors = FeatureColors(volume, create_backbone("filters", volume), field)
    for levels in (colors.axial(20), colors.coronal(60)):
        finest = levels[0]
        rows, columns = finest.backbone.shape[:2]
        high, wide = (n // m for n, m in zip(finest.field.shape, (rows, columns), strict=False))
        means = finest.field.reshape(rows, high, columns, wide, 3).mean(axis=(1, 3))
        error = np.abs(means - finest.backbone).mean()
        assert error < 0.05
        for other in (means[::-1], means[:, ::-1], means[..., ::-1]):
            assert np.abs(other - finest.backbone).mean() > 2 * error


def test_a_size_that_is_not_there_is_refused_before_anything_is_made(tmp_path) -> None:
    result = run("demo", "--output", tmp_path / "demo", "--size", "huge")
    assert result.exit_code == 2
    assert "choose full or small" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("demo", "--output", tmp_path / "file", "--size", "small")
    assert result.exit_code == 2
    assert "cannot be made" in result.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_what_is_infinite_is_null(a_field_of) -> None:
    geometry = Geometry((8, 8, 8), np.eye(4))
    rng = np.random.default_rng(0)
    volume = Volume(rng.integers(0, 9, (8, 8, 8)).astype(np.int16), geometry, "CT")
    field = a_field_of(geometry, rng.normal(size=(8, 8, 8, 4)))
    truth = np.zeros((8, 8, 8), dtype=bool)
    truth[2:6, 2:6, 2:6] = True
    one = refine_coarse(volume, field, Structure("cube", (1, 0, 0), truth), 2.0, lambda _: None)
    nothing = Agreement.of(np.zeros_like(truth), truth, geometry)
    assert nothing.hd95_mm == math.inf
    numbers = replace(one, before=nothing).summary()
    assert numbers["coarse_hd95_mm"] is None
    assert numbers["coarse_dice"] == 0
    assert json.dumps(numbers, allow_nan=False)


def test_a_user_stops_when_nothing_is_wrong(a_field_of) -> None:
    phantom = make_phantom((8, 24, 24), (16.0, 16.0, 24.0))
    wanted = Structure.of(phantom, "liver")
    assert wanted.color == tuple(part / 255 for part in Label.LIVER.color)
    # It stands out from all else, in the image and in the features.
    volume = replace(phantom.volume, voxels=np.where(wanted.mask, 300, -300).astype(np.int16))
    features = np.repeat(wanted.mask[..., None], 3, axis=-1) * 10.0
    field = a_field_of(volume.geometry, features)
    *_, last = click_through(Session(volume, field), wanted, 10)
    assert last.dice[-1] == 1
    assert len(last.clicks) == len(last.dice) == len(last.seconds) < 10


def read_geometry(path: Path) -> Geometry:
    image = SimpleITK.ReadImage(str(path))
    return Geometry.from_lps(
        image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )


def _truth(folder: Path) -> tuple[np.ndarray, dict[str, int]]:
    """The truth's labels (I, J, K), and each structure's value."""
    labels, header = nrrd.read(str(folder / "truth.seg.nrrd"))
    count = sum(key.endswith("_Name") for key in header)
    return labels, {
        header[f"Segment{n}_Name"]: int(header[f"Segment{n}_LabelValue"]) for n in range(count)
    }


def _layer(path: Path, header: dict, n: int) -> np.ndarray:
    """The mask (I, J, K) of one segment of a file, in whichever layer it is."""
    labels, _ = nrrd.read(str(path))
    if labels.ndim == 4:
        labels = labels[int(header[f"Segment{n}_Layer"])]
    return labels == int(header[f"Segment{n}_LabelValue"])


def _click_files(folder: Path, name: str) -> tuple[list[Path], list[Path]]:
    stem = name.replace(" ", "-")
    files = [[folder / f"{stem}-{side}.mrk.json"] for side in ("inside", "outside")]
    return files[0], [path for path in files[1] if path.exists()]
