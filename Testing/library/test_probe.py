from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad, minimize

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.probe import (
    LayerNormHead,
    LogisticProblem,
    fit_layernorm,
    fit_whitened,
)
from VoxelFeatLib.segmenting.spatial import CosineBasis
from VoxelFeatLib.segmenting.statistics import FeatureStatistics, shrunk_covariance

CENTRE_OF_A, CENTRE_OF_B = np.array([2.0, 0, 0, 0.5]), np.array([-1.0, 3, 0, 0.5])
CENTRE_OF_REST = np.array([0.0, 0, 0, 0.2])


def cluster(centre, count, seed):
    spread = np.array([0.3, 0.3, 0.3, 0.05])
    return centre + spread * np.random.default_rng(seed).standard_normal((count, 4))


def logits(head, x):
    """Of an affine head, but for its spatial term."""
    x = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    if isinstance(head, LayerNormHead):
        return head.logits(x[:, :-1], x[:, -1]).numpy()
    return (x[:, :-1] @ head.weight + x[:, -1] * head.intensity_weight + head.bias).numpy()


@pytest.fixture
def a_mixture():
    """A volume of three tissues: 10 % A, 20 % B, the rest around the origin."""
    rest = cluster(CENTRE_OF_REST, 1400, 2)
    x = np.concatenate([cluster(CENTRE_OF_A, 200, 0), cluster(CENTRE_OF_B, 400, 1), rest])
    return FeatureStatistics(x.mean(axis=0), shrunk_covariance(x), x[::4], np.zeros((500, 3)))


@pytest.fixture
def a_problem():
    generator = np.random.default_rng(5)
    z = generator.standard_normal((60, 7))
    targets = np.where(z[:, 0] + 0.5 * generator.standard_normal(60) > 0.5, 1.0, -1.0)
    return LogisticProblem(z, targets, generator.uniform(0.1, 2, 60), 0.3)


def test_gradient_is_the_derivative_of_the_value(a_problem):
    at = np.random.default_rng(6).standard_normal(8)
    assert check_grad(a_problem.value, a_problem.gradient, at) < 1e-5


def test_newton_finds_the_optimum_that_scipy_finds(a_problem):
    options = {"gtol": 1e-9, "ftol": 1e-15}
    expected = minimize(
        a_problem.value, np.zeros(8), jac=a_problem.gradient, method="L-BFGS-B", options=options
    )
    found = a_problem.solve()
    assert a_problem.value(found) <= expected.fun + 1e-12
    np.testing.assert_allclose(found, expected.x, atol=1e-5)
    assert np.abs(a_problem.gradient(found)).max() < 1e-7


def test_newton_converges_from_a_bad_start(a_problem):
    start = 50 * np.random.default_rng(7).standard_normal(8)
    np.testing.assert_allclose(a_problem.solve(start), a_problem.solve(), atol=1e-6)


def test_separable_samples_have_a_finite_solution():
    z = np.array([[-1.0], [1.0]])
    problem = LogisticProblem(z, np.array([-1.0, 1.0]), np.ones(2), 0.5)
    slope, offset = problem.solve()
    # Stationary: 2 sigmoid(-slope) = slope / 2, by symmetry without offset.
    assert offset == pytest.approx(0, abs=1e-9)
    assert 2 / (1 + np.exp(slope)) == pytest.approx(slope / 2, abs=1e-9)


def test_one_positive_click_finds_its_tissue(a_mixture):
    head = fit_whitened(CENTRE_OF_A[None], np.empty((0, 4)), a_mixture)
    assert (logits(head, cluster(CENTRE_OF_A, 500, 10)) > 0).mean() > 0.95
    assert (logits(head, cluster(CENTRE_OF_B, 500, 11)) < 0).mean() > 0.99
    assert (logits(head, a_mixture.background_x[150:]) < 0).mean() > 0.99


def test_a_negative_click_takes_over(a_mixture):
    mistaken = 0.75 * CENTRE_OF_A + [0, 0.5, 0, 0.125]
    before = fit_whitened(CENTRE_OF_A[None], np.empty((0, 4)), a_mixture)
    assert logits(before, mistaken[None])[0] > 0
    after = fit_whitened(CENTRE_OF_A[None], mistaken[None], a_mixture)
    assert logits(after, mistaken[None])[0] < 0
    assert logits(after, CENTRE_OF_A[None])[0] > 0


def test_clicks_inside_again_and_again_mean_a_large_segment(a_mixture):
    # Most random samples are of the clicked tissue; they must not balance nine clicks in it.
    outside = CENTRE_OF_A[None]
    head = fit_whitened(cluster(CENTRE_OF_REST, 9, 4), outside, a_mixture)
    assert np.median(logits(head, cluster(CENTRE_OF_REST, 500, 5))) > 1
    # With as many clicks outside they do.
    outside = np.concatenate([cluster(CENTRE_OF_A, 4, 6), cluster(CENTRE_OF_B, 5, 7)])
    head = fit_whitened(cluster(CENTRE_OF_REST, 9, 4), outside, a_mixture)
    assert np.median(logits(head, cluster(CENTRE_OF_REST, 500, 5))) < 1


def test_clicks_are_satisfied(a_mixture):
    # Samples of one tissue split by the least telling direction: the background alone says no.
    positive = cluster(CENTRE_OF_A, 12, 3)
    positive[:, 2] = 0.2
    negative = positive.copy()
    negative[:, 2] = -0.2
    head = fit_whitened(positive, negative, a_mixture)
    assert logits(head, positive).min() > 0
    assert logits(head, negative).max() < 0


def test_contradicting_clicks_end(a_mixture):
    head = fit_whitened(CENTRE_OF_A[None], CENTRE_OF_A[None], a_mixture)
    assert np.isfinite(logits(head, CENTRE_OF_A[None])).all()


def test_the_same_clicks_give_the_same_head(a_mixture):
    clicks = cluster(CENTRE_OF_A, 5, 4)
    first, second = (fit_whitened(clicks[:3], clicks[3:], a_mixture) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert (first.bias, first.intensity_weight) == (second.bias, second.intensity_weight)


def test_rescaled_features_give_the_same_answer(a_mixture):
    scale = np.array([100.0, 0.01, 7.0, 1.0])
    rescaled = FeatureStatistics(
        a_mixture.mean * scale,
        a_mixture.covariance * scale * scale[:, None],
        a_mixture.background_x * scale,
        a_mixture.background_ras,
    )
    x = cluster(CENTRE_OF_A, 50, 12)
    plain = fit_whitened(CENTRE_OF_A[None], CENTRE_OF_B[None], a_mixture)
    other = fit_whitened((CENTRE_OF_A * scale)[None], (CENTRE_OF_B * scale)[None], rescaled)
    np.testing.assert_allclose(logits(plain, x), logits(other, x * scale), rtol=1e-3, atol=1e-3)


def test_position_tells_like_tissues_apart(a_mixture):
    basis = CosineBasis(Geometry((40, 40, 40), np.diag([5.0, 5.0, 5.0, 1.0])))
    ras = np.random.default_rng(0).uniform(0, 195, (len(a_mixture.background_x), 3))
    placed = replace(a_mixture, background_ras=ras, basis=basis)
    here, there = np.array([[50.0, 100, 100]]), np.array([[150.0, 100, 100]])
    clicks = CENTRE_OF_A[None]
    head = fit_whitened(clicks, clicks, placed, positive_ras=here, negative_ras=there)
    part = logits(head, clicks)[0]
    assert part + head.spatial.at(here)[0] > 0
    assert part + head.spatial.at(there)[0] < 0
    assert fit_whitened(clicks, clicks, placed).spatial is None


def test_no_positive_click_is_refused(a_mixture):
    with pytest.raises(InputError):
        fit_whitened(np.empty((0, 4)), CENTRE_OF_A[None], a_mixture)


def test_layer_norm_head_is_torch_layer_norm_and_linear():
    torch.manual_seed(0)
    norm, linear = torch.nn.LayerNorm(6), torch.nn.Linear(6, 1)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        scale = norm.weight * linear.weight[0]
        offset = float(norm.bias @ linear.weight[0] + linear.bias)
        x = 10 * torch.randn(20, 6)
        expected = linear(norm(x))[:, 0]
    head = LayerNormHead(scale, offset, norm.eps)
    torch.testing.assert_close(head.logits(x[:, :-1], x[:, -1]), expected, rtol=1e-5, atol=1e-5)


def test_layer_norm_probe_learns_and_repeats():
    inside, outside = cluster(CENTRE_OF_A, 200, 20), cluster(CENTRE_OF_B, 300, 21)
    first = fit_layernorm(inside, outside, seed=3, epochs=100)
    again = fit_layernorm(inside, outside, seed=3, epochs=100)
    other = fit_layernorm(inside, outside, seed=4, epochs=100)
    assert logits(first, inside).min() > 0
    assert logits(first, outside).max() < 0
    assert torch.equal(first.scale, again.scale)
    assert not torch.equal(first.scale, other.scale)


def test_layer_norm_probe_needs_both_sides():
    with pytest.raises(InputError):
        fit_layernorm(cluster(CENTRE_OF_A, 3, 0), np.empty((0, 4)))
