from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.segmenting.projection import pca_colors


@pytest.fixture
def some_samples():
    """Independent channels; channel 2 varies most, then 0, then 3; channel 1 hardly."""
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (4000, 4)) * (5, 0.01, 10, 2) + (7, 0, -3, 1)


def test_the_axes_are_the_channels_of_largest_variance_in_order(some_samples):
    weight = pca_colors(some_samples).weight
    assert np.abs(weight).argmax(axis=1).tolist() == [2, 0, 3]
    # Uniform in +-10: 98 % of the range of 20 becomes 1.
    np.testing.assert_allclose(
        weight[[0, 1, 2], [2, 0, 3]], 1 / (0.98 * np.array([20, 10, 4])), rtol=0.03
    )


def test_the_percentiles_become_0_and_1(some_samples):
    projection = pca_colors(some_samples)
    components = some_samples @ projection.weight.T + projection.bias
    np.testing.assert_allclose(np.percentile(components, 1, axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.percentile(components, 99, axis=0), 1, atol=1e-9)


def test_apply_keeps_the_shape_clips_and_follows_the_affine_map(some_samples):
    projection = pca_colors(some_samples)
    colors = projection.apply(some_samples.reshape(40, 100, 4))
    assert colors.shape == (40, 100, 3)
    assert colors.dtype == np.float32
    assert colors.min() == 0
    assert colors.max() == 1
    expected = np.clip(some_samples @ projection.weight.T + projection.bias, 0, 1)
    np.testing.assert_allclose(colors.reshape(-1, 3), expected, atol=1e-6)


def test_signs_do_not_depend_on_the_samples_signs(some_samples):
    flipped = pca_colors(-some_samples).weight
    np.testing.assert_allclose(np.sign(flipped[[0, 1, 2], [2, 0, 3]]), 1)
    np.testing.assert_allclose(flipped, pca_colors(some_samples).weight, rtol=1e-6)


def test_a_component_without_variance_is_half(some_samples):
    flat = some_samples * (1, 0, 1, 0)
    colors = pca_colors(flat).apply(flat)
    assert (colors[:, 2] == 0.5).all()
    assert colors[:, 1].std() > 0.1
    constant = np.ones((5, 3))
    np.testing.assert_array_equal(pca_colors(constant).apply(constant), 0.5)


@pytest.mark.parametrize("shape", [(1, 5), (5, 2), (5,)])
def test_too_little_is_refused(shape):
    with pytest.raises(InputError, match="at least 2 samples"):
        pca_colors(np.zeros(shape))


def test_values_that_are_not_finite_and_other_channels_are_refused(some_samples):
    with pytest.raises(InputError, match="finite"):
        pca_colors(np.full((4, 3), np.nan))
    with pytest.raises(InputError, match="4 channels"):
        pca_colors(some_samples).apply(np.zeros((2, 3)))
