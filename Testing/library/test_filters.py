"""The embedded backbone: shapes, symmetries, and values known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.backbones.registry import BACKBONES, BackboneOptions, create_backbone
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import CT_WINDOWS, Window

SIZE = 128
WINDOWS = (Window(400, 40), Window(1800, 400), Window(1500, -160))


def images(seed=0, channels=3, size=SIZE):
    """Smooth random images in [0, 1], float64, so that only the order of sums differs."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, channels, size // 8, size // 8, generator=generator).double()
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize(
    "windows", [WINDOWS[:1], WINDOWS[:2], WINDOWS, (*WINDOWS, Window(150, 60))]
)
@pytest.mark.parametrize("size", [128, 192])
def test_maps_have_the_shapes_that_the_levels_promise(windows, size):
    backbone = FilterBackbone(windows, size)
    assert [level.stride for level in backbone.levels] == [4, 8, 16]
    assert len({level.name for level in backbone.levels}) == 3

    maps = backbone(torch.rand(2, len(windows), size, size))

    for level, features in zip(backbone.levels, maps, strict=True):
        cells = level.cells(size)
        assert cells == size // level.stride
        assert features.shape == (2, level.channels, cells, cells)
        assert features.dtype == torch.float32


SYMMETRIES = {
    "quarter turn": lambda x: torch.rot90(x, 1, (2, 3)),
    "half turn": lambda x: torch.rot90(x, 2, (2, 3)),
    "mirrored columns": lambda x: x.flip(3),
    "mirrored rows": lambda x: x.flip(2),
    "transposed": lambda x: x.transpose(2, 3),
}


@pytest.mark.parametrize("symmetry", SYMMETRIES.values(), ids=SYMMETRIES)
def test_features_turn_with_the_image(symmetry):
    backbone = FilterBackbone(WINDOWS, SIZE)
    image = images()
    by_direction = 4 * 8 * 2
    for plain, turned in zip(backbone(image), backbone(symmetry(image)), strict=True):
        invariant = plain.shape[1] - (by_direction if plain.shape[1] > by_direction else 0)
        # The deviation is a root of a difference, which rounding may leave at 1e-16.
        torch.testing.assert_close(
            turned[:, :invariant], symmetry(plain[:, :invariant]), rtol=1e-6, atol=1e-7
        )


def test_a_constant_image_has_no_structure():
    backbone = FilterBackbone(WINDOWS, SIZE)
    image = torch.tensor([0.3, 0.6, 0.9]).view(1, 3, 1, 1).expand(1, 3, SIZE, SIZE)

    maps = backbone(image.contiguous())

    for features in maps:
        # Constant over space, whatever the channel.
        torch.testing.assert_close(
            features, features[:, :, :1, :1].expand_as(features), rtol=0, atol=1e-6
        )
        torch.testing.assert_close(features[0, :3, 0, 0], torch.tensor([0.3, 0.6, 0.9]))
    for features in maps[:2]:
        # Gradient, Hessian eigenvalues and deviation of two windows.
        assert features[:, 3 : 3 + 8].abs().max() < 1e-6


def test_a_ramp_has_its_slope_as_gradient_and_no_curvature():
    backbone = FilterBackbone(WINDOWS[:1], SIZE)
    ramp = torch.arange(SIZE).double() / SIZE
    fine = backbone(ramp.expand(1, 1, SIZE, SIZE).contiguous())[0][0]
    inner = fine[:, 8:-8, 8:-8]
    # The finest filters run at half the input's size: two input pixels apart.
    torch.testing.assert_close(inner[1], torch.full_like(inner[1], 2 / SIZE), atol=1e-9, rtol=0)
    assert inner[2:4].abs().max() < 1e-9
    assert inner[4].min() > 0


def test_the_larger_hessian_eigenvalue_comes_first():
    backbone = FilterBackbone(WINDOWS[:1], SIZE)
    # Half sizes: x^2 curves upwards, -y^2 downwards.
    t = (torch.arange(SIZE).double() - SIZE / 2) / SIZE
    saddle = 0.5 + t[None, :].square() - 0.5 * t[:, None].square()
    fine = backbone(saddle.expand(1, 1, SIZE, SIZE).contiguous())[0][0]
    inner = fine[:, 8:-8, 8:-8]
    step = 2 / SIZE
    torch.testing.assert_close(inner[2], torch.full_like(inner[2], 2 * step**2), atol=1e-9, rtol=0)
    torch.testing.assert_close(inner[3], torch.full_like(inner[3], -(step**2)), atol=1e-9, rtol=0)


def test_the_histograms_sum_to_one():
    windows = WINDOWS
    maps = FilterBackbone(windows, SIZE)(images())
    local = FilterBackbone(windows, SIZE).levels[0].channels
    for start in (local, local + 8 + len(windows)):
        histogram = maps[2][:, start : start + 8]
        assert histogram.min() >= 0
        torch.testing.assert_close(
            histogram.sum(1), torch.ones_like(histogram[:, 0]), rtol=0, atol=1e-9
        )


def test_the_last_features_say_what_lies_in_each_direction():
    image = torch.zeros(1, len(WINDOWS), SIZE, SIZE)
    image[..., : SIZE // 2, :] = 1  # bright above, dark below
    cells = SIZE // 16
    blocks = FilterBackbone(WINDOWS, SIZE)(image)[2][0, -64:].view(2, 4, 8, cells, cells)
    middle = cells // 2
    above, below, left, right = blocks[1, :, -1, middle, middle]  # share of the brightest bin
    assert above > 0.9
    assert below < 0.1
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_saturated_images_give_finite_features(value):
    maps = FilterBackbone(WINDOWS, SIZE)(torch.full((1, 3, SIZE, SIZE), value))
    assert all(torch.isfinite(features).all() for features in maps)


def test_noise_gives_finite_features():
    maps = FilterBackbone(WINDOWS, SIZE)(torch.rand(1, 3, SIZE, SIZE).round())
    assert all(torch.isfinite(features).all() for features in maps)


def test_features_do_not_depend_on_the_batch_and_are_deterministic():
    backbone = FilterBackbone(WINDOWS, SIZE)
    image = images().float()
    together, again = backbone(image), backbone(image)
    alone = [backbone(image[n : n + 1]) for n in range(2)]
    for level in range(3):
        assert torch.equal(together[level], again[level])
        torch.testing.assert_close(
            together[level], torch.cat([maps[level] for maps in alone]), rtol=1e-5, atol=1e-6
        )


def volume_of(shape_kji, modality):
    values = np.random.default_rng(0).normal(100, 30, size=shape_kji).astype(np.float32)
    return Volume(values, Geometry(shape_kji, np.eye(4)), modality)


def test_ct_has_windows_in_hounsfield_units():
    backbone = create_backbone("filters", volume_of((4, 32, 32), "CT"))
    assert backbone.encoding.windows[0] == CT_WINDOWS["soft"]
    assert CT_WINDOWS["bone"] in backbone.encoding.windows
    assert CT_WINDOWS["lung"] in backbone.encoding.windows


@pytest.mark.parametrize("modality", ["MR", "other"])
def test_other_modalities_have_windows_within_their_percentiles(modality):
    volume = volume_of((4, 32, 32), modality)
    backbone = create_backbone("filters", volume)
    full = backbone.encoding.windows[0]
    low, high = np.percentile(volume.voxels, (0.5, 99.5))
    assert (full.low, full.high) == (pytest.approx(low), pytest.approx(high))
    for window in backbone.encoding.windows[1:]:
        assert full.low - 1e-3 <= window.low < window.high <= full.high + 1e-3


def test_a_constant_mr_volume_gets_windows_too():
    volume = Volume(np.full((2, 16, 16), 7, dtype=np.int16), Geometry((2, 16, 16), np.eye(4)), "MR")
    assert create_backbone("filters", volume).encoding.windows


@pytest.mark.parametrize(
    ("largest", "size"), [(16, 128), (64, 128), (65, 192), (100, 256), (512, 1024), (2000, 1024)]
)
def test_cells_of_the_finest_level_are_about_two_voxels(largest, size):
    volume = Volume(np.zeros((1, 8, largest), np.int16), Geometry((1, 8, largest), np.eye(4)), "CT")
    backbone = FilterBackbone.for_volume(volume)
    assert backbone.input_size == size
    assert size % 16 == 0


def test_the_fingerprint_tells_settings_apart():
    prints = {
        FilterBackbone(WINDOWS, 128).fingerprint,
        FilterBackbone(WINDOWS, 192).fingerprint,
        FilterBackbone(WINDOWS[:2], 128).fingerprint,
        FilterBackbone((*WINDOWS[:2], Window(1501, -160)), 128).fingerprint,
    }
    assert len(prints) == 4
    assert FilterBackbone(WINDOWS, 128).fingerprint == FilterBackbone(WINDOWS, 128).fingerprint


def test_percentile_windows_that_differ_in_late_digits_have_their_own_fingerprint():
    one = FilterBackbone((Window(1234567.0, 0),), 128)
    other = FilterBackbone((Window(1234568.0, 0),), 128)
    assert one.fingerprint != other.fingerprint


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="filters"):
        create_backbone("nosuch", volume_of((4, 32, 32), "CT"))
    assert "filters" in BACKBONES


def test_it_works_where_it_is_asked_to():
    volume = volume_of((4, 32, 32), "CT")
    assert create_backbone("filters", volume).device == torch.device("cpu")
    options = BackboneOptions(device="cuda:1")
    assert create_backbone("filters", volume, options).device == torch.device("cuda:1")
