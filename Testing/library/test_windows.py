from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import (
    CT_WINDOWS,
    Window,
    default_windows,
    percentile_window,
    subsample,
)


def test_a_window_maps_low_to_0_and_high_to_1():
    window = Window(width=400, level=40)
    assert (window.low, window.high) == (-160, 240)
    values = np.array([-1000, -160, 40, 140, 240, 3000], dtype=np.int16)
    np.testing.assert_array_equal(window(values), np.float32([0, 0, 0.5, 0.75, 1, 1]))
    assert window(values).dtype == np.float32
    assert values[0] == -1000  # the input is left alone


@pytest.mark.parametrize(
    ("name", "width", "level"),
    [("soft", 400, 40), ("lung", 1500, -160), ("brain", 80, 40), ("bone", 1800, 400)],
)
def test_ct_windows(name, width, level):
    assert CT_WINDOWS[name] == Window(width, level)


@pytest.mark.parametrize(("width", "level"), [(0, 40), (-1, 40), (float("nan"), 0), (1, np.inf)])
def test_a_window_without_width_is_refused(width, level):
    with pytest.raises(InputError, match="positive width"):
        Window(width, level)


def test_percentiles_ignore_outliers():
    voxels = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    voxels[9, 9, 9] = 1e6
    window = percentile_window(voxels)
    assert window.low == pytest.approx(4.995)
    assert window.high == pytest.approx(994.005)


@pytest.mark.parametrize("value", [0, 7, 60000])
def test_a_constant_volume_is_black(value):
    voxels = np.full((3, 3, 3), value, dtype=np.uint16)
    np.testing.assert_array_equal(percentile_window(voxels)(voxels), 0)


def test_large_volumes_are_sampled_in_every_column():
    voxels = np.broadcast_to(np.arange(300, dtype=np.uint16), (50, 300, 300))
    sample = subsample(voxels)
    assert 500_000 < sample.size <= 2_250_000
    counts = np.bincount(sample)
    assert counts.min() > 0.99 * counts.max()
    assert np.array_equal(sample, subsample(voxels))


def test_default_window_by_modality(a_geometry):
    voxels = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    assert default_windows(Volume(voxels, a_geometry, "CT")) == (Window(400, 40),)
    assert default_windows(Volume(voxels, a_geometry, "MR")) == (percentile_window(voxels),)
