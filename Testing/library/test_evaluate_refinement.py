"""The refinement experiment: noise, methods without SAM, runs, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from library.refining import GEOMETRY, SHAPE, TARGET, result
from typer.testing import CliRunner

from VoxelFeatLib.backbones.encodings import WindowEncoding
from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.backbones.registry import BackboneOptions
from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.datasets import find_cases
from VoxelFeatLib.evaluation.fields import BackboneChoice, FieldStore
from VoxelFeatLib.evaluation.grouping import ALL
from VoxelFeatLib.evaluation.refinement.evaluation import RefinementEvaluation
from VoxelFeatLib.evaluation.refinement.methods.antialiasing import AntiAliasing
from VoxelFeatLib.evaluation.refinement.methods.probes import Probe
from VoxelFeatLib.evaluation.refinement.methods.registry import MethodMaker
from VoxelFeatLib.evaluation.refinement.methods.upsampled import upsampled_field
from VoxelFeatLib.evaluation.refinement.noise import Noise
from VoxelFeatLib.evaluation.refinement.results import RefinementResult
from VoxelFeatLib.evaluation.running import Target
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import Window
from VoxelFeatLib.imaging.writing import write_labelmap, write_volume
from VoxelFeatLib.segmenting.coarse import anti_alias


@pytest.fixture
def a_two_part_volume() -> Volume:
    """Grey level 100 where TARGET is, else 0, with noise of 5."""
    noise = np.random.default_rng(0).normal(0, 5, SHAPE)
    return Volume((np.where(TARGET, 100, 0) + noise).astype(np.int16), GEOMETRY, "CT", "two parts")


@pytest.fixture
def a_data_set(tmp_path: Path, a_two_part_volume: Volume) -> Path:
    """Two cases with a large box 1, and in the first a voxel 2, which no coarse mask keeps."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in "ab":
        labels = TARGET.astype(np.uint8)
        if name == "a":
            labels[14, 20, 20] = 2
        write_volume(folder / f"{name}.nii.gz", a_two_part_volume)
        write_labelmap(folder / f"{name}_labels.nii.gz", labels, GEOMETRY)
    return folder


def ended(steps):
    """The parts that a method yields, and what it returns."""
    parts = []
    while True:
        try:
            parts.append(next(steps))
        except StopIteration as end:
            return parts, end.value


class Given:
    """Returns what `then` makes of the noisy mask."""

    name = "anti-aliasing"

    def __init__(self, then) -> None:
        self.settings: dict[str, object] = {}
        self.then = then
        self.asked = 0

    def start(self, volume):
        assert volume.voxels.shape == SHAPE

    def refine(self, noisy):
        self.asked += 1
        yield 0.5
        return self.then(noisy)


def evaluation(data: Path, folder: Path, *methods, wanted=("1",), noise=None):
    noise = noise or Noise(None, 6.0)
    return RefinementEvaluation(find_cases(data), wanted, methods, noise, folder)


# ---------------------------------------------------------------------------- noise


def test_noise_keeps_every_nth_voxel():
    noisy = Noise(3.0).of(TARGET, GEOMETRY)
    assert noisy.grid.spacing.tolist() == [6.0, 6.0, 9.0]
    # Six blocks of 3 slices are centred on 16: the first one's centre is slice 0, the next 3.
    np.testing.assert_array_equal(noisy.coarse[1:], TARGET[3::3, 1::3, 1::3])
    blocks = noisy.coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2)[1:17]
    np.testing.assert_array_equal(noisy.mask, blocks)


def test_noise_of_millimetres_leaves_thick_slices():
    noisy = Noise(None, 3.0).of(TARGET, GEOMETRY)
    assert noisy.grid.spacing.tolist() == [3.0, 3.0, 3.0]
    assert noisy.coarse.shape[0] == SHAPE[0]
    assert str(Noise(None, 3.0)) == "blocks of 3 mm"
    assert str(Noise()) == "blocks of 4 × 4 × 4 voxels"


@pytest.mark.parametrize("wrong", [(None, None), (4.0, 6.0), (0.0, None), (None, float("inf"))])
def test_noise_is_one_positive_number(wrong):
    with pytest.raises(InputError):
        Noise(*wrong)


# ---------------------------------------------------------------------------- methods


def test_anti_aliasing_is_the_baseline(a_two_part_volume):
    method, noisy = AntiAliasing(), Noise(3.0).of(TARGET, GEOMETRY)
    method.start(a_two_part_volume)
    _, mask = ended(method.refine(noisy))
    np.testing.assert_array_equal(mask, anti_alias(noisy.mask, GEOMETRY, 3.0))
    assert method.settings == {"sigma_mm": 3.0}


class Mirror:
    """A backbone whose features are its input, and the input averaged over 2 x 2 pixels."""

    name, fingerprint, input_size = "mirror", "-", 24
    encoding = WindowEncoding("gray", (Window(200, 100),))
    levels = (FeatureLevel("fine", 1, 1), FeatureLevel("coarse", 2, 1))
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.seen = 0

    def work_bytes(self) -> int:
        return 1

    def __call__(self, images):
        self.seen += len(images)
        return [images, torch.nn.functional.avg_pool2d(images, 2)]


def test_upsampled_features_are_linear_between_slices_and_cells():
    voxels = np.random.default_rng(1).integers(0, 200, SHAPE).astype(np.int16)
    volume = Volume(voxels, GEOMETRY, "CT", "random")
    backbone = Mirror()
    field = upsampled_field(volume, backbone)
    assert (field.channels, backbone.seen) == (2, 0)
    grey = voxels / 200
    cells = grey.reshape(16, 12, 2, 12, 2).mean(axis=(2, 4))
    between = 0.75 * cells[4, 3, 5] + 0.25 * cells[4, 3, 6]
    places = {
        (7, 6, 4): (grey[4, 6, 7], None),
        (7, 6, 4.25): (0.75 * grey[4, 6, 7] + 0.25 * grey[5, 6, 7], None),
        # Between pixels (rows 6 and 7), and in the middle of a cell; then a quarter of a cell on.
        (10.5, 6.5, 4): (grey[4, 6:8, 10:12].mean(), cells[4, 3, 5]),
        (11, 6.5, 4): (grey[4, 6:8, 11].mean(), between),
        # Beyond the last slice and the last pixels: as at them.
        (40, 40, 40): (grey[15, 23, 23], cells[15, 11, 11]),
    }
    ras = torch.tensor(GEOMETRY.to_ras(np.array(list(places))), dtype=torch.float32)
    found = field.features(ras).numpy()
    for row, expected in zip(found, places.values(), strict=True):
        for value, wanted in zip(row, expected, strict=True):
            assert wanted is None or value == pytest.approx(wanted, abs=1e-3)
    assert backbone.seen == 3
    projected = field.project(ras, torch.tensor([[2.0, -1.0]]), torch.tensor([0.5]))[:, 0]
    np.testing.assert_allclose(projected, 2 * found[:, 0] - found[:, 1] + 0.5, atol=1e-5)


def test_probes_find_a_border_that_features_show(a_two_part_volume, a_field_of):
    # LayerNorm takes what all channels have in common: one alone would say nothing.
    features = np.random.default_rng(2).normal(0, 1, (*SHAPE, 6))
    features[..., 0] = np.where(TARGET, 3.0, -3.0)
    asked = []

    def field_of(volume):
        asked.append(volume)
        return a_field_of(GEOMETRY, features)

    noisy = Noise(3.0).of(TARGET, GEOMETRY)
    smooth = anti_alias(noisy.mask, GEOMETRY)
    for name, mode in (("voxelfeat-probe", "paper"), ("voxelfeat-prior", "prior")):
        method = Probe(name, mode, field_of, {"backbone": "x"}, seed=3)
        method.start(a_two_part_volume)
        method.start(a_two_part_volume)
        parts, mask = ended(method.refine(noisy))
        assert parts == sorted(parts)
        assert (mask != TARGET).sum() < 0.5 * (smooth != TARGET).sum()
        assert method.settings == {"backbone": "x", "mode": mode, "seed": 3}
    assert len(asked) == 2


# ---------------------------------------------------------------------------- results


def test_a_result_is_scored_in_the_box_of_the_reference(a_two_part_volume):
    target = Target("c", "l", a_two_part_volume, TARGET)
    prediction = TARGET.copy()
    prediction[3] = False
    prediction[:, :, 21:] = True  # more than 5 voxels from the reference
    made = RefinementResult.of(prediction, target, "m", 1.5)
    assert made.dice == 2 * 8 / 17
    assert made.hd95_mm == 3.0
    assert (made.case, made.label, made.method, made.seconds) == ("c", "l", "m", 1.5)
    nothing = RefinementResult.of(np.zeros_like(TARGET), target, "m", 1.5)
    # The box: 9 + 3 + 4, 12 + 5 + 5, 11 + 4 + 5 voxels of 3, 2 and 2 mm.
    assert nothing.hd95_mm == pytest.approx(np.sqrt((16 * 3) ** 2 + (22 * 2) ** 2 + (20 * 2) ** 2))
    with pytest.raises(InputError, match="shape"):
        RefinementResult.of(TARGET[1:], target, "m", 0.0)
    with pytest.raises(InputError, match="no sound numbers"):
        result(dice=float("nan"))


def test_an_evaluation_goes_on_where_it_stopped(a_data_set, tmp_path):
    def broken(_):
        raise ZeroDivisionError("oh")

    first = Given(broken)
    run = evaluation(a_data_set, tmp_path / "r", first, Given(lambda noisy: noisy.mask))
    list(run)
    assert [(f.case, f.sentence) for f in run.failures] == [
        ("a", "ZeroDivisionError: oh"),
        ("b", "ZeroDivisionError: oh"),
    ]
    assert [r.case for r in run.results] == ["a", "b"]
    second = Given(broken)
    again = evaluation(a_data_set, tmp_path / "r", second)
    list(again)
    assert (again.reused, second.asked, again.results) == (2, 0, run.results)
    other = evaluation(a_data_set, tmp_path / "r", Given(lambda n: n.mask), noise=Noise(2.0))
    list(other)
    assert other.reused == 0


def test_what_the_noise_swallows_is_left_out(a_data_set, tmp_path):
    run = evaluation(a_data_set, tmp_path / "r", Given(lambda n: n.mask), wanted=["2", "1=organ"])
    list(run)
    assert run.left_out == ["a, Label 2: nothing of it is left in blocks of 6 mm."]
    assert run.failures == []
    assert [r.label for r in run.results] == ["organ", "organ"]
    assert (tmp_path / "r" / "a" / "1-organ" / "anti-aliasing.json").is_file()


# ---------------------------------------------------------------------------- choice


def test_methods_without_weights_are_left_out(tmp_path):
    fields = FieldStore(tmp_path, BackboneChoice("filters", BackboneOptions()), "draft", 0)
    maker = MethodMaker(fields)
    names = ["sam-video", "voxelfeat-prior", "sam-autoprompt", "anti-aliasing", "sam-probe"]
    made, left_out = maker.methods(names)
    assert [m.name for m in made] == ["voxelfeat-prior", "anti-aliasing", "sam-probe"]
    assert [sentence.partition(":")[0] for sentence in left_out] == [
        "SAM-Video-Prop",
        "SAM-Autoprompt",
    ]
    lost = MethodMaker(fields, sam="missing.pt", missing="There are no weights.")
    made, left_out = lost.methods(["sam-video", "voxelfeat-probe", "sam-probe"])
    assert made == []
    assert left_out[1] == "VoxelFeat-Probe: There are no weights."
    with pytest.raises(InputError, match="choose of: anti-aliasing"):
        maker.methods(["magic"])


def test_fields_of_other_settings_have_other_names(tmp_path):
    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"weights")
    plain = BackboneChoice("filters", BackboneOptions())
    assert (plain.words, plain.settings) == ("filters", {"backbone": "filters"})
    options = BackboneOptions(encoding="fve1", input_size=256)
    chosen = BackboneChoice(str(weights), options)
    assert chosen.words.startswith("mine.pt-fve1-256-")
    assert len(chosen.settings["weights"]) == 64
    with pytest.raises(InputError, match=r"gone\.pt"):
        BackboneChoice("gone.pt", BackboneOptions()).words  # noqa: B018 - it is what raises


# ---------------------------------------------------------------------------- summary


# ---------------------------------------------------------------------------- command


def run_command(*arguments: str | Path):
    return CliRunner().invoke(full_program(), ["evaluate", "refinement", *map(str, arguments)])


def test_the_command_measures_and_goes_on(a_data_set, tmp_path):
    out = tmp_path / "out"
    base = (a_data_set, "--methods", "anti-aliasing,sam-video", "--mm", "6", "-o", out)
    first = run_command(*base, "--labels", "1=liver", "--json")
    assert first.exit_code == 0, first.output
    reply = json.loads(first.stdout)
    assert [(line["label"], line["targets"]) for line in reply["lines"]] == [("liver", 2), (ALL, 2)]
    assert reply["left_out"][0].startswith("SAM-Video-Prop: ")
    assert {path.name for path in out.iterdir()} == {
        "refinement.csv",
        "refinement.json",
        "refinement.md",
        "refinement.png",
        "results",
    }
    again = run_command(*base, "--labels", "1=liver")
    assert again.exit_code == 0
    assert "2 results were there from before" in again.stderr
    assert "Left out: SAM-Video-Prop" in again.stderr
    assert "liver │ 0.845 | 3.0" in again.stdout


def test_missing_weights_are_no_error(a_data_set, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("VOXELFEAT_WEIGHTS_URL", (tmp_path / "nowhere").as_uri())
    done = run_command(
        a_data_set, "--backbone", "sam2.1-tiny", "--labels", "1", "-o", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "refinement.md").read_text("utf-8")
    left_out = text.split("## What was left out")[1]
    for title in ("SAM-Autoprompt", "SAM-Video-Prop", "SAM-Probe", "VoxelFeat-Prior"):
        assert f"- {title}" in left_out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere", "-o", "out"), "no folder"),
        (("phantom", "--methods", "magic", "-o", "out"), "no method"),
        (("phantom", "--factor", "2", "--mm", "6", "-o", "out"), "either a factor"),
        (("phantom", "--mm", "-6", "-o", "out"), "positive"),
        (("phantom", "--methods", "sam-video", "-o", "out"), "Nothing was measured"),
        (("phantom", "--backbone", "gone.pt", "-o", "out"), "gone.pt cannot be read"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    done = run_command(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
