"""SAM's own methods on slices of a volume: prompts, image prediction and video prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("sam2", reason="SAM2's package is not installed")

from library.sam2_files import random_sam2, save

from VoxelFeatLib.backbones.registry import BackboneOptions
from VoxelFeatLib.backbones.sam2.whole import load_whole
from VoxelFeatLib.backbones.weights import availability
from VoxelFeatLib.errors import InputError, WeightsError
from VoxelFeatLib.evaluation.fields import BackboneChoice, FieldStore
from VoxelFeatLib.evaluation.refinement.methods.autoprompt import SamAutoprompt
from VoxelFeatLib.evaluation.refinement.methods.registry import MethodMaker
from VoxelFeatLib.evaluation.refinement.methods.videoprop import SamVideo
from VoxelFeatLib.evaluation.refinement.noise import Noise
from VoxelFeatLib.evaluation.refinement.sam.model import Sam, Slices
from VoxelFeatLib.evaluation.refinement.sam.points import prompts
from VoxelFeatLib.evaluation.refinement.sam.video import Video
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume

CPU = torch.device("cpu")
SIDE = 64
SHAPE = (12, 20, 24)
GEOMETRY = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))
TARGET = np.zeros(SHAPE, dtype=bool)
TARGET[6:9, 5:15, 4:16] = True


@pytest.fixture(scope="module")
def a_checkpoint(tmp_path_factory):
    """A whole SAM 2.1 of random weights, as official files have it."""
    weights = {"model": random_sam2("tiny").state_dict()}
    return save(weights, tmp_path_factory.mktemp("sam") / "tiny.pt")


@pytest.fixture(scope="module")
def a_sam(a_checkpoint) -> Sam:
    return Sam(a_checkpoint, "gray", SIDE, CPU)


@pytest.fixture
def a_volume() -> Volume:
    voxels = np.random.default_rng(0).integers(-200, 250, SHAPE).astype(np.int16)
    return Volume(voxels, GEOMETRY, "CT", "random")


def ended(steps):
    parts = []
    while True:
        try:
            parts.append(next(steps))
        except StopIteration as end:
            return parts, end.value


# ---------------------------------------------------------------------------- prompts


def test_points_are_deep_inside_and_just_outside():
    mask = np.zeros((40, 40), dtype=bool)
    mask[8:29, 10:21] = True
    (prompt,) = prompts(mask, (1.0, 2.0), 4.0)
    inside, outside = prompt.points[prompt.positive], prompt.points[~prompt.positive]
    # 21 mm high and 22 mm wide: the middle first.
    assert inside[0].tolist() == [18, 15]
    assert 1 < len(inside) <= 5
    assert mask[tuple(inside.T)].all()
    edges = np.argwhere(~mask)
    for point in inside:
        assert np.linalg.norm((edges - point) * (1, 2), axis=1).min() >= 2.0
    assert len(outside) == 8
    own = np.argwhere(mask)
    for point in outside:
        assert 3.0 <= np.linalg.norm((own - point) * (1, 2), axis=1).min() <= 5.0
    # All around.
    assert (outside < (8, 10)).any(axis=0).all()
    assert (outside > (28, 20)).any(axis=0).all()


def test_each_part_has_its_own_points():
    mask = np.zeros((30, 30), dtype=bool)
    mask[2:10, 2:10] = mask[22:24, 20:29] = True
    first, second = prompts(mask, (1.0, 1.0), 4.0)
    assert (first.points < 16).all()
    assert (second.points[second.positive] >= 20).all()
    # Too thin for a point two mm inside, so there is only the deepest one.
    assert second.positive.sum() == 1
    for prompt in (first, second):
        assert not mask[tuple(prompt.points[~prompt.positive].T)].any()


def test_a_slice_without_room_outside_has_no_negative_points():
    (prompt,) = prompts(np.ones((6, 6), dtype=bool), (1.0, 1.0), 4.0)
    assert prompt.positive.all()


# ---------------------------------------------------------------------------- slices


def test_slices_lie_along_the_slicing_axis(a_sam):
    # 48 x 12 x 40 mm along i, j, k: squarest across j.
    geometry = Geometry((20, 6, 24), np.diag([-2.0, -2.0, 2.0, 1.0]))
    voxels = np.zeros((20, 6, 24), dtype=np.int16)
    voxels[12:, 3] = 1000
    slices = Slices(Volume(voxels, geometry, "CT", "thin"), a_sam)
    assert (slices.axis, slices.shape, slices.spacing) == (1, (20, 24), (2.0, 2.0))
    bright = slices.image(3)
    assert bright.shape == (3, SIDE, SIDE)
    assert (bright[:, -20:] > 1.9).all()
    assert (bright[:, :30] < 0.1).all()
    mask = slices.along(voxels != 0)[3]
    assert mask.shape == (20, 24)
    logits = torch.zeros(1, 1, 16, 16) - 1
    logits[:, :, 10:] = 1
    assert (slices.voxels(logits) == mask).mean() > 0.9


# ---------------------------------------------------------------------------- image prompts


def test_autoprompt_asks_sam_as_sam_does(a_sam, a_volume):
    method = SamAutoprompt(a_sam)
    method.start(a_volume)
    noisy = Noise(2.0).of(TARGET, GEOMETRY)
    parts, mask = ended(method.refine(noisy))
    used = np.flatnonzero(noisy.mask.any(axis=(1, 2)))
    assert parts == [n / len(used) for n in range(len(used))]
    assert set(np.flatnonzero(mask.any(axis=(1, 2)))) <= set(used)
    # The same by the model's own steps.
    number = int(used[1])
    (prompt,) = prompts(noisy.mask[number], (2.0, 2.0), 4.0)
    model = load_whole(a_sam.path, SIDE, CPU)
    model.pred_obj_scores = False  # single images have no score of whether the object is there
    maps = model.forward_image(method.slices.image(number)[None])
    _, features, _, sizes = model._prepare_backbone_features(maps)
    features[-1] = features[-1] + model.no_mem_embed
    fine, middle, coarse = (
        f.permute(1, 2, 0).reshape(1, -1, *size) for f, size in zip(features, sizes, strict=True)
    )
    share = (prompt.points[:, ::-1] + 0.5) / (24, 20)
    points = {
        "point_coords": torch.tensor(share * SIDE - 0.5, dtype=torch.float32)[None],
        "point_labels": torch.tensor(prompt.positive, dtype=torch.int32)[None],
    }
    heads = model._forward_sam_heads(coarse, points, high_res_features=[fine, middle])
    np.testing.assert_array_equal(mask[number], method.slices.voxels(heads[3]))


# ---------------------------------------------------------------------------- video


def test_the_video_is_as_from_a_folder_of_images(a_sam, a_volume, tmp_path):
    rng = np.random.default_rng(1)
    for number in range(4):
        pixels = rng.integers(0, 255, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", quality=95)
    model = a_sam.model
    state = model.init_state(str(tmp_path))
    slices = Slices(a_volume, a_sam)
    slices.image = lambda number: state["images"][number - 5]
    video = Video(model, slices, range(5, 9))
    ours = video._state()
    assert ours.keys() == state.keys()
    for key in ("num_frames", "video_height", "video_width", "device", "storage_device"):
        assert ours[key] == state[key]
    prompt = TARGET[7]
    found = dict(video.propagated(6, prompt))
    model.add_new_mask(state, 1, 1, torch.from_numpy(prompt))
    expected = {}
    for reverse in (False, True):
        for frame, _, logits in model.propagate_in_video(state, 1, reverse=reverse):
            expected[frame + 5] = (logits[0, 0] > 0).numpy()
    assert found.keys() == expected.keys() == {5, 6, 7, 8}
    for number, mask in expected.items():
        np.testing.assert_array_equal(found[number], mask)


def test_video_starts_in_the_middle_and_ends_beyond_the_mask(a_sam, a_volume, capfd):
    method = SamVideo(a_sam)
    method.start(a_volume)
    target = TARGET.copy()
    target[0, 5:15, 4:16] = target[8] = False
    noisy = Noise(1.0).of(target, GEOMETRY)  # slices 0, 6 and 7: the middle, 3.5, is empty
    parts, mask = ended(method.refine(noisy))
    assert mask.shape == SHAPE
    assert parts[-1] == 1.0
    assert parts == sorted(parts)
    assert "propagate" not in capfd.readouterr().err
    assert method.settings["margin"] == 5


def test_the_central_slice_keeps_the_noisy_mask(a_sam, a_volume):
    method = SamVideo(a_sam)
    method.start(a_volume)
    noisy = Noise(1.0).of(TARGET, GEOMETRY)
    _, mask = ended(method.refine(noisy))
    overlap = 2 * (mask[7] & TARGET[7]).sum() / (mask[7].sum() + TARGET[7].sum())
    assert overlap > 0.9


# ---------------------------------------------------------------------------- weights


def test_both_methods_share_one_model(a_checkpoint, tmp_path):
    choice = BackboneChoice("filters", BackboneOptions())
    fields = FieldStore(tmp_path, choice, "draft", 0)
    (first, second), left_out = MethodMaker(fields, sam=str(a_checkpoint)).methods(
        ["sam-autoprompt", "sam-video"]
    )
    assert left_out == []
    assert first._sam is second._sam
    assert first.settings["input_size"] == 512
    assert len(first.settings["weights"]) == 64


def test_a_backbones_checkpoint_serves_sam_too(a_checkpoint):
    choice = BackboneChoice(str(a_checkpoint), BackboneOptions(input_size=96, encoding="fve1"))
    sam = Sam.chosen(choice)
    assert (sam.path, sam.input_size, sam.encoding) == (a_checkpoint, 96, "fve1")


def test_missing_packages_are_told_as_everywhere(a_checkpoint, monkeypatch):
    monkeypatch.setattr(availability, "missing_packages", lambda: ("sam2", "iopath"))
    sentence = r"SAM 2\.1 cannot be used here: not installed: sam2, iopath\."
    with pytest.raises(WeightsError, match=sentence):
        Sam.chosen(BackboneChoice(str(a_checkpoint), BackboneOptions()))


def test_what_cannot_be_used_is_refused(a_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path / "empty"))
    choice = BackboneChoice("sam2.1-tiny", BackboneOptions())
    with pytest.raises(WeightsError, match=r"weights download sam2\.1-tiny"):
        Sam.chosen(choice)
    with pytest.raises(WeightsError, match="There is no checkpoint"):
        Sam.chosen(choice, str(tmp_path / "gone.pt"))
    with pytest.raises(WeightsError, match=r"checkpoint of SAM 2\.1"):
        Sam.chosen(BackboneChoice("filters", BackboneOptions()))
    with pytest.raises(InputError, match="multiples of 32"):
        load_whole(a_checkpoint, 100, CPU)
    weights = torch.load(a_checkpoint, weights_only=True)["model"]
    encoder = {name: value for name, value in weights.items() if name.startswith("image_encoder.")}
    with pytest.raises(WeightsError, match="whole checkpoint"):
        load_whole(save(encoder, tmp_path / "encoder.pt"), SIDE, CPU)
    other = {name: value for name, value in weights.items() if name not in encoder}
    with pytest.raises(WeightsError, match="image encoder"):
        load_whole(save(other, tmp_path / "decoder.pt"), SIDE, CPU)
