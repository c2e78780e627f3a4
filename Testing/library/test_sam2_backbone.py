"""SAM2.1's features: equal to the `sam2` package's own at every input size, batch, precision."""

from __future__ import annotations

import re
import subprocess
import sys
import weakref
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("sam2", reason="SAM2's package is not installed")

from library.sam2_files import CONFIGS, FAINT, hollow, official_config, random_sam2, save
from library.weights_server import WeightsServer, listening

from VoxelFeatLib.backbones import registry
from VoxelFeatLib.backbones.encodings import ENCODINGS, WindowEncoding, create_encoding
from VoxelFeatLib.backbones.registry import BACKBONES, BackboneOptions, create_backbone
from VoxelFeatLib.backbones.sam2 import backbone as backbone_module
from VoxelFeatLib.backbones.sam2 import checkpoints
from VoxelFeatLib.backbones.sam2.backbone import Sam2Backbone, fast_precision
from VoxelFeatLib.backbones.sam2.checkpoints import load_checkpoint
from VoxelFeatLib.backbones.sam2.model import ARCHITECTURES, Encoder
from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.backbones.weights import availability
from VoxelFeatLib.backbones.weights.catalogue import OfficialWeights, sha256_of
from VoxelFeatLib.backbones.weights.download import DownloadSettings
from VoxelFeatLib.errors import InputError, WeightsError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.views import axis_view
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import Window

CPU = torch.device("cpu")
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
GRAY = WindowEncoding("gray", (Window(400, 40),), channels=3)


@pytest.fixture(scope="module")
def a_tiny(tmp_path_factory):
    """SAM2's own model of random weights, and its file."""
    model = random_sam2("tiny")
    folder = tmp_path_factory.mktemp("tiny")
    return model, save({"model": model.state_dict()}, folder / "own_model.pt")


@pytest.fixture(scope="module")
def a_hollow_file(tmp_path_factory):
    """A checkpoint of one number, tiny and small."""
    weights = hollow(random_sam2("tiny").state_dict())
    return save({"model": weights}, tmp_path_factory.mktemp("hollow") / "hollow.pt")


@pytest.fixture(scope="module")
def a_checkpoint(a_hollow_file):
    return load_checkpoint(a_hollow_file)


@pytest.fixture
def a_scan():
    voxels = np.random.default_rng(0).integers(-1000, 1000, (6, 40, 40)).astype(np.int16)
    return Volume(voxels, Geometry((6, 40, 40), np.eye(4)), "CT", "a scan")


def photographs(count, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


@pytest.fixture(scope="module")
def a_tiny_checkpoint(a_tiny):
    return load_checkpoint(a_tiny[1])


def backbone_of(checkpoint, size, precision=torch.float32, encoding=GRAY):
    return Sam2Backbone(checkpoint, encoding, size, CPU, precision)


@torch.no_grad()
def assert_equals_forward_image(model, checkpoint, size, count=1):
    images = photographs(count, size)
    expected = model.forward_image((images - MEAN) / STD)["backbone_fpn"]
    backbone = backbone_of(checkpoint, size)

    maps = backbone(images)

    shapes = [(count, 32, size // 4), (count, 64, size // 8), (count, 256, size // 16)]
    for level, ours, theirs, (n, channels, cells) in zip(
        backbone.levels, maps, expected, shapes, strict=True
    ):
        assert ours.shape == (n, channels, cells, cells)
        assert (level.channels, level.cells(size)) == (channels, cells)
        assert ours.dtype == torch.float32
        assert theirs.std() > 0.01
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


# 96 and 160 cut every window and leave the positional embedding's grid; 512 is for laptops.
@pytest.mark.parametrize(("size", "count"), [(96, 2), (160, 1), (256, 2), (512, 1)])
def test_tiny_gives_what_sam2_gives(a_tiny, a_tiny_checkpoint, size, count):
    assert_equals_forward_image(a_tiny[0], a_tiny_checkpoint, size, count)


@pytest.mark.slow
@pytest.mark.parametrize("size", [768, 1024])
def test_tiny_gives_what_sam2_gives_at_large_inputs(a_tiny, a_tiny_checkpoint, size):
    assert_equals_forward_image(a_tiny[0], a_tiny_checkpoint, size)


@pytest.mark.parametrize(
    "size", ["small", *(pytest.param(s, marks=pytest.mark.slow) for s in ("base-plus", "large"))]
)
def test_the_other_sizes_give_what_sam2_gives(size, tmp_path):
    model = random_sam2(size)
    checkpoint = load_checkpoint(save({"model": model.state_dict()}, tmp_path / "a.pt"))
    assert checkpoint.architecture == size
    assert_equals_forward_image(model, checkpoint, 256)


@pytest.mark.parametrize("size", CONFIGS)
def test_the_settings_are_those_of_the_official_files(size):
    config, ours = official_config(size), ARCHITECTURES[size]
    trunk, neck = config.image_encoder.trunk, config.image_encoder.neck
    assert (trunk.embed_dim, trunk.num_heads) == (ours.channels, ours.heads)
    assert tuple(trunk.get("stages", (2, 3, 16, 3))) == ours.stages
    assert tuple(trunk.get("global_att_blocks", (12, 16, 20))) == ours.global_blocks
    assert tuple(trunk.get("window_spec", (8, 4, 14, 7))) == ours.windows
    background = (ours.background, ours.background)
    assert tuple(trunk.get("window_pos_embed_bkg_spatial_size", (14, 14))) == background
    assert (neck.d_model, neck.fpn_interp_model) == (256, "nearest")
    assert list(neck.fpn_top_down_levels) == [2, 3]
    assert list(neck.backbone_channel_list) == [ours.channels * n for n in (8, 4, 2, 1)]
    assert config.image_encoder.scalp == 1
    assert config.use_high_res_features_in_sam


def test_images_do_not_depend_on_what_else_is_in_the_batch(a_tiny_checkpoint):
    backbone = backbone_of(a_tiny_checkpoint, 128)
    images = photographs(3, 128)
    for together, alone in zip(backbone(images), backbone(images[1:2]), strict=True):
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_bfloat16_stays_near_float32(a_tiny_checkpoint):
    images = photographs(1, 256)
    exact = backbone_of(a_tiny_checkpoint, 256)(images)
    half = backbone_of(a_tiny_checkpoint, 256, torch.bfloat16)(images)
    for a, b in zip(exact, half, strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() / a.norm() < 0.03


def test_what_exceeds_half_precision_is_done_over(a_tiny):
    backbone = backbone_of(load_checkpoint(a_tiny[1]), 96, torch.float16)
    backbone._encoder.conv_s0.weight.mul_(1e6)  # float16 ends at 65504
    maps = backbone(photographs(1, 96))
    assert all(m.isfinite().all() for m in maps)
    assert maps[0].abs().max() > 65504


def test_nothing_is_left_for_a_backward_pass(a_tiny_checkpoint):
    images = photographs(1, 96).requires_grad_()
    assert not any(m.requires_grad for m in backbone_of(a_tiny_checkpoint, 96)(images))


def test_the_fingerprint_names_everything_that_decides(a_tiny, a_tiny_checkpoint, a_checkpoint):
    one = backbone_of(a_tiny_checkpoint, 96)
    other_gray = WindowEncoding("gray", (Window(400, 41),), channels=3)
    others = [
        backbone_of(a_checkpoint, 96),
        backbone_of(a_tiny_checkpoint, 128),
        backbone_of(a_tiny_checkpoint, 96, torch.bfloat16),
        backbone_of(a_tiny_checkpoint, 96, encoding=other_gray),
    ]
    fingerprints = {one.fingerprint, *(other.fingerprint for other in others)}
    assert len(fingerprints) == 5
    assert sha256_of(a_tiny[1]) in one.fingerprint
    assert "without no_mem_embed" in one.fingerprint
    assert one.fingerprint == backbone_of(a_tiny_checkpoint, 96).fingerprint


@pytest.mark.parametrize("size", [0, -32, 100, 1000])
def test_input_sizes_are_multiples_of_32(size, a_checkpoint):
    with pytest.raises(InputError, match="multiples of 32"):
        backbone_of(a_checkpoint, size)


def test_an_encoding_has_three_channels(a_checkpoint):
    with pytest.raises(InputError, match="makes 1"):
        backbone_of(a_checkpoint, 96, encoding=WindowEncoding("one", (Window(400, 40),)))


class TensorBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, but for those it is told of."""

    def __init__(self, known):
        super().__init__()
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._live = self.peak = 0

    def __torch_dispatch__(self, function, _types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage):
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._seen:
            self._seen.add(address)
            self._live += size
            self.peak = max(self.peak, self._live)
            weakref.finalize(storage, self._drop, address, size)

    def _drop(self, address, size):
        self._seen.discard(address)
        self._live -= size


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_work_is_somewhat_more_than_tensors_take(precision, a_checkpoint):
    backbone = Sam2Backbone(a_checkpoint, GRAY, 256, CPU, precision)
    images = photographs(1, 256)
    with TensorBytes([images, *backbone._encoder.parameters()]) as tensors:
        backbone(images)
    assert tensors.peak < backbone.work_bytes() < 1.6 * tensors.peak


def test_precision_follows_the_device(monkeypatch):
    monkeypatch.setattr(backbone_module, "_has_bfloat16", lambda: False)
    assert fast_precision(CPU) is torch.float32
    monkeypatch.setattr(backbone_module, "_has_bfloat16", lambda: True)
    assert fast_precision(CPU) is torch.bfloat16
    assert fast_precision(torch.device("mps")) is torch.float32
    for supported, precision in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", Mock(return_value=supported))
        assert fast_precision(torch.device("cuda")) is precision


def test_a_path_is_a_backbone_with_its_own_name(a_scan, a_hollow_file):
    backbone = create_backbone(str(a_hollow_file), a_scan)
    assert backbone.name == "hollow"
    assert backbone.input_size == 512  # on a CPU
    assert backbone.encoding.name == "gray"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_view_encoding_reaches_sam2(encoding, a_scan, a_tiny):
    options = BackboneOptions(encoding=encoding, input_size=96)
    backbone = create_backbone(str(a_tiny[1]), a_scan, options)
    assert backbone.encoding.fingerprint == create_encoding(encoding, a_scan).fingerprint
    encoder = SliceEncoder(a_scan, backbone)
    views = [axis_view(a_scan.geometry, 0, position) for position in (1.0, 3.0)]
    maps = encoder.maps(views)
    assert [m.shape for m in maps] == [(2, 32, 24, 24), (2, 64, 12, 12), (2, 256, 6, 6)]
    assert all(m.isfinite().all() for m in maps)
    assert not torch.equal(maps[2][0], maps[2][1])


def test_an_official_backbone_downloads_its_weights(a_scan, a_hollow_file, tmp_path, monkeypatch):
    content = a_hollow_file.read_bytes()
    official = OfficialWeights("sam2.1-tiny", "t.pt", len(content), sha256_of(a_hollow_file))
    for module in (registry, checkpoints):
        monkeypatch.setattr(module, "CATALOGUE", {official.name: official})
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path))
    with listening(WeightsServer(content).answer) as url:
        options = BackboneOptions(input_size=96, download=DownloadSettings(mirror=url))
        backbone = create_backbone("sam2.1-tiny", a_scan, options)
    assert backbone.name == "sam2.1-tiny"
    assert create_backbone("sam2.1-tiny", a_scan).name == "sam2.1-tiny"  # without the server

    (tmp_path / "weights" / "t.pt").write_bytes(bytes(len(content)))
    with pytest.raises(WeightsError, match=r"is not the official t\.pt"):
        create_backbone("sam2.1-tiny", a_scan)


def test_missing_packages_are_named(a_scan, monkeypatch):
    monkeypatch.setattr(availability, "missing_packages", lambda: ("sam2", "iopath"))
    sentence = "The backbone “sam2.1-tiny” cannot be used here: not installed: sam2, iopath."
    with pytest.raises(WeightsError, match=re.escape(sentence)):
        create_backbone("sam2.1-tiny", a_scan)
    assert create_backbone("filters", a_scan).name == "filters"


def test_sam2_is_imported_only_when_it_is_used():
    script = (
        "import sys, VoxelFeatLib.backbones.registry as r;"
        "print('sam2' in sys.modules, 'sam2.1-base-plus' in r.BACKBONES)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "True"]
    assert list(BACKBONES) == ["filters", *(f"sam2.1-{size}" for size in ARCHITECTURES)]


def test_making_a_backbone_draws_no_random_numbers(a_hollow_file, monkeypatch):
    """Not even for a while: other threads draw from the same generator."""
    before, states = torch.get_rng_state(), []

    def made(architecture):
        encoder = Encoder(architecture)
        states.append(torch.get_rng_state())
        return encoder

    monkeypatch.setattr(checkpoints, "Encoder", made)
    encoder = load_checkpoint(a_hollow_file).encoder
    assert torch.equal(states[0], before)
    assert torch.equal(torch.get_rng_state(), before)
    assert all((weight == FAINT).all() for weight in encoder.parameters())
