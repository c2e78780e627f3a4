"""All that computes, on pretended GPUs: nothing mixes devices, and results are the CPU's."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from library.pretended import Pretence, pretending

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field, save_field
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import GridSettings, NFNetSettings, preset_named
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.views import ViewSampler, slicing_axes
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting import refinement
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.probe import AffineHead, LayerNormHead, fit_layernorm
from VoxelFeatLib.segmenting.projection import colors_of
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.segmenting.similarity import similarity
from VoxelFeatLib.segmenting.statistics import FeatureStatistics
from VoxelFeatLib.segmenting.supervoxels import supervoxels
from VoxelFeatLib.worker.server import seeing
from VoxelFeatLib.worker.server.workspace import Model

SHAPE = (12, 24, 24)
GRID = dataclasses.replace(
    preset_named("balanced"),
    views=4,
    pool=3,
    first_views=2,
    batch=2,
    steps=4,
    windows=3,
    window=3,
    planes=2,
    augmentations=1,
    heldout_views=1,
    grid=GridSettings(slices=3, most_values=100_000),
)
NFNET = dataclasses.replace(
    GRID,
    name="nfnet",
    network="nfnet",
    windows=1,
    learning_rate=0.002,
    nfnet=NFNetSettings(16, 1, 4),
)
FITS = pytest.mark.parametrize(
    ("device", "preset"),
    [("cuda", GRID), ("mps", GRID), ("cuda", NFNET), ("mps", NFNET)],
    ids=["cuda-grid", "mps-grid", "cuda-nfnet", "mps-nfnet"],
)
ON = pytest.mark.parametrize("device", ["cuda", "mps"])


@pytest.fixture(scope="module")
def a_volume() -> Volume:
    return make_phantom(SHAPE, (10.0, 10.0, 19.0)).volume


@pytest.fixture(scope="module")
def a_backbone_on(a_volume):
    """Make the backbone of a device."""
    windows = FilterBackbone.for_volume(a_volume).encoding.windows[:2]
    return lambda device: FilterBackbone(windows, 64, device)


@pytest.fixture(scope="module")
def a_fit_on_the_cpu(a_volume, a_backbone_on):
    """Fits by preset: what every device is compared with."""
    fits = {}
    for preset in (GRID, NFNET):
        fits[preset.name] = Fitter(a_volume, a_backbone_on("cpu"), preset)
        list(fits[preset.name])
    return fits


@pytest.fixture
def a_field_there(a_fit_on_the_cpu, a_volume, tmp_path):
    """Load the grid field on a device, and on the CPU."""
    fitter = a_fit_on_the_cpu[GRID.name]
    path = tmp_path / "a.voxelfeat"
    save_field(path, fitter.field, a_volume, fitter.record)
    return lambda device: load_field(path, a_volume, device)[0]


def on_the_cpu(value) -> np.ndarray:
    return value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def assert_alike(found, expected, tolerance=1e-4) -> None:
    found, expected = on_the_cpu(found), on_the_cpu(expected)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance)


def waits_of_steps(fitter: Fitter, pretence: Pretence) -> list[dict[str, int]]:
    """Fit, and say what the processor waited for in each step."""
    found = []
    pretence.waits.clear()
    for progress in fitter:
        if progress.losses:
            found.append(dict(pretence.waits))
        pretence.waits.clear()
    return found


@FITS
def test_a_fit_is_that_of_the_cpu(
    a_fit_on_the_cpu, a_volume, a_backbone_on, tmp_path, device, preset
) -> None:
    expected = a_fit_on_the_cpu[preset.name]
    checkpoint = tmp_path / "a.checkpoint"
    with pretending(device):
        fitter = Fitter(a_volume, a_backbone_on(device), preset)
        for progress in fitter:
            if progress.step == 2 and not checkpoint.exists():
                fitter.checkpoint(checkpoint)
        assert {p.device.type for p in fitter.field.state_dict().values()} == {device}
        for name, tensor in expected.field.state_dict().items():
            assert_alike(fitter.field.state_dict()[name], tensor, 2e-3)
        for level, values in expected.record["heldout"].items():
            found = fitter.record["heldout"][level]
            for kind in ("field", "upsampling"):
                assert found[kind] == pytest.approx(values[kind], abs=1e-2)
        resumed = Fitter.resume(checkpoint, a_volume, a_backbone_on(device), preset)
        list(resumed)
        for name, tensor in fitter.field.state_dict().items():
            assert_alike(resumed.field.state_dict()[name], tensor, 1e-6)


@pytest.mark.parametrize("preset", [GRID, NFNET], ids=["grid", "nfnet"])
def test_a_step_waits_for_the_gpu_once(a_volume, a_backbone_on, preset, monkeypatch) -> None:
    """At its end: so clicks never queue behind more than one step."""
    monkeypatch.setattr("VoxelFeatLib.fitting.fitter._MEASURES", 1)
    preset = dataclasses.replace(preset, views=2, pool=2)
    with pretending("cuda") as pretence:
        waits = waits_of_steps(Fitter(a_volume, a_backbone_on("cuda"), preset), pretence)
    assert [sum(wait.values()) for wait in waits] == [1] * preset.steps


@ON
def test_images_and_maps(a_volume, a_backbone_on, device) -> None:
    sampler = ViewSampler(a_volume.geometry, slicing_axes(a_volume.geometry))
    views = [sampler.draw(np.random.default_rng(n)) for n in range(2)]

    def maps(place: str) -> list[torch.Tensor]:
        return SliceEncoder(a_volume, a_backbone_on(place)).maps(views)

    expected = maps("cpu")
    with pretending(device) as pretence:
        found = maps(device)
        assert all(m.device.type == device for m in found)
        if device == "cuda":
            # For what a renderer is made of; views are drawn while others are encoded.
            assert pretence.waits == {"from the CPU": 4}
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)


@ON
@pytest.mark.parametrize("preset", [GRID, NFNET], ids=["grid", "nfnet"])
def test_a_field_answers(a_fit_on_the_cpu, a_volume, tmp_path, device, preset) -> None:
    fitter = a_fit_on_the_cpu[preset.name]
    path = tmp_path / "a.voxelfeat"
    save_field(path, fitter.field, a_volume, fitter.record)
    ijk = np.random.default_rng(0).uniform(0, SHAPE[::-1], size=(50, 3))
    ras = torch.tensor(a_volume.geometry.to_ras(ijk), dtype=torch.float32)
    weight = torch.randn(2, fitter.field.channels, generator=torch.Generator().manual_seed(0))
    bias = torch.tensor([0.5, -1.0])
    lattice = Lattice((1.0, 2.0, 0.5), (2.0, 1.5, 1.0), (3, 4, 5))

    def answers(field: FeatureField) -> list[torch.Tensor]:
        return [
            field.features(ras),
            field.features(ras.to(field.device)),
            field.project(ras, weight, bias),
            field.features_on(lattice),
            field.project_on(lattice, weight, bias),
            lattice.ras(a_volume.geometry, field.device),
        ]

    expected = answers(load_field(path, a_volume)[0])
    with pretending(device):
        field = load_field(path, a_volume, device)[0]
        again = tmp_path / "again.voxelfeat"
        save_field(again, field, a_volume, fitter.record)
        assert again.read_bytes() == path.read_bytes()
        for one, other in zip(answers(field), expected, strict=True):
            assert one.device.type == device
            assert_alike(one, other)


@ON
def test_masks_and_statistics(a_field_there, a_volume, device) -> None:
    plain = a_field_there("cpu")
    statistics = FeatureStatistics.of(plain, a_volume, count=500)
    weight = torch.as_tensor(statistics.whitening[0, :-1], dtype=torch.float32)
    bias = -float(weight @ torch.as_tensor(statistics.mean[:-1], dtype=torch.float32))
    affine = AffineHead(weight, 0.3, bias)
    normalised = LayerNormHead(torch.linspace(-1, 1, plain.channels + 1), 0.1, 1e-5)
    points = a_volume.geometry.to_ras(np.random.default_rng(0).uniform(0, 12, size=(20, 3)))

    def answers(field: FeatureField) -> list[np.ndarray]:
        inference = VolumeInference(field, a_volume)
        found = [mask for _, mask in inference.masks(normalised, inference.whole)]
        found.append(inference.logits_at(affine, points))
        return [*found, FeatureStatistics.of(field, a_volume, count=500).covariance]

    expected = answers(plain)
    with pretending(device):
        for one, other in zip(answers(a_field_there(device)), expected, strict=True):
            # A logit of almost 0 may round to either side.
            if one.dtype == bool:
                assert (one != other).mean() < 0.01
            else:
                assert_alike(one, other)


@ON
def test_a_session_answers_clicks(a_field_there, a_volume, device) -> None:
    first, second = (a_volume.geometry.to_ras(ijk) for ijk in ([12, 12, 6], [2, 2, 2]))

    def masks(field: FeatureField) -> list[np.ndarray]:
        session = Session(a_volume, field)
        session.add_segment("organ")
        session.add_click("organ", Click(tuple(first), positive=True))
        list(session.update("organ", visible=[Extent.of((6, 0, 0), (7, 24, 24))]))
        found = [session.mask("organ")]
        session.use_field(field)
        session.add_click("organ", Click(tuple(second), positive=False))
        list(session.update("organ", fresh=True))
        return [*found, session.mask("organ")]

    expected = masks(a_field_there("cpu"))
    assert expected[0].any()
    with pretending(device):
        for one, other in zip(masks(a_field_there(device)), expected, strict=True):
            assert (one != other).mean() < 0.01


@ON
@pytest.mark.parametrize("mode", ["prior", "paper"])
def test_a_mask_is_refined(a_field_there, a_volume, device, mode, monkeypatch) -> None:
    monkeypatch.setattr(refinement, "fit_layernorm", partial(fit_layernorm, epochs=2))
    coarse = np.zeros(SHAPE, dtype=bool)
    coarse[4:8, 8:16, 8:16] = True

    def refined(field: FeatureField) -> np.ndarray:
        steps = list(refinement.refine_steps(a_volume, field, coarse, mode=mode))
        return steps[-1].mask

    expected = refined(a_field_there("cpu"))
    with pretending(device):
        assert (refined(a_field_there(device)) != expected).mean() < 0.01


@ON
def test_pictures_and_regions(a_field_there, a_volume, device) -> None:
    ras = tuple(a_volume.geometry.to_ras([12, 12, 6]).tolist())
    points = a_volume.geometry.to_ras(np.random.default_rng(0).uniform(0, 12, size=(20, 3)))
    lattice = Lattice.of_voxels((0, 0, 0), (2, 3, 4))

    def answers(field: FeatureField) -> list[np.ndarray]:
        model = Model(a_volume, field)
        return [
            similarity(a_volume, field, ras, lattice),
            np.concatenate([colors for _, colors in colors_of(field)]).astype(float) / 255,
            seeing._likeness(model, ras)(points).astype(float) / 255,
            seeing._colors(model)(points).astype(float) / 255,
        ]

    expected = answers(a_field_there("cpu"))
    with pretending(device):
        field = a_field_there(device)
        for one, other in zip(answers(field), expected, strict=True):
            assert_alike(one, other, 1.5 / 255)
        regions = supervoxels(a_volume, field, count=4)
        assert regions.shape == SHAPE
        assert regions.max() >= 2
