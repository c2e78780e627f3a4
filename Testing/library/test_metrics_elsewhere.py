"""Metrics against the same ones of independent libraries: SimpleITK, scikit-image, SciPy, MONAI."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
import torch
from monai import metrics
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance

from VoxelFeatLib.evaluation.metrics import score, surface_distances

SPACING = (1.0, 2.0, 3.0)  # i, j, k


@pytest.fixture(params=range(3))
def two_blobs(request):
    """Random smooth masks, away from the array's edge, where libraries differ."""
    rng = np.random.default_rng(request.param)
    return tuple(
        np.pad(gaussian_filter(rng.normal(size=(14, 18, 16)), 2) > 0.02, 2) for _ in range(2)
    )


def distances_to(contour):
    signed = SimpleITK.SignedMaurerDistanceMap(contour, squaredDistance=False, useImageSpacing=True)
    return SimpleITK.Abs(signed)


def test_scores_are_those_of_simpleitk(two_blobs):
    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in two_blobs]
    for image in images:
        image.SetSpacing(SPACING)
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    contours = [SimpleITK.LabelContour(image, fullyConnected=False) for image in images]
    far = [SimpleITK.GetArrayFromImage(distances_to(contour)) for contour in contours]
    surface = [SimpleITK.GetArrayFromImage(contour) != 0 for contour in contours]
    prediction_to_reference, reference_to_prediction = far[1][surface[0]], far[0][surface[1]]
    scores = score(*two_blobs, SPACING)
    assert scores.dice == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-12)
    assert scores.prediction_to_reference_mm == pytest.approx(
        prediction_to_reference.mean(), rel=1e-5
    )
    assert scores.reference_to_prediction_mm == pytest.approx(
        reference_to_prediction.mean(), rel=1e-5
    )
    percentiles = [np.percentile(d, 95) for d in (prediction_to_reference, reference_to_prediction)]
    assert scores.hd95_mm == pytest.approx(max(percentiles), rel=1e-5)


def test_the_farthest_distance_is_scikit_images(two_blobs):
    there, back = surface_distances(*two_blobs, SPACING)
    surfaces = [mask & ~binary_erosion(mask) for mask in two_blobs]
    points = [np.argwhere(surface) * SPACING[::-1] for surface in surfaces]
    expected = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    assert max(there.max(), back.max()) == pytest.approx(expected, rel=1e-12)
    # scikit-image knows no spacing.
    there, back = surface_distances(*two_blobs, (1.0, 1.0, 1.0))
    assert max(there.max(), back.max()) == pytest.approx(hausdorff_distance(*surfaces), rel=1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_scores_are_those_of_monai(two_blobs):
    a, b = (torch.tensor(mask)[None, None].float() for mask in two_blobs)
    given = {"include_background": True, "spacing": SPACING[::-1]}
    scores = score(*two_blobs, SPACING)
    for found, expected in (
        (scores.dice, metrics.compute_dice(a, b)),
        (scores.hd95_mm, metrics.compute_hausdorff_distance(a, b, percentile=95, **given)),
        (
            scores.prediction_to_reference_mm,
            metrics.compute_average_surface_distance(a, b, **given),
        ),
        (
            scores.reference_to_prediction_mm,
            metrics.compute_average_surface_distance(b, a, **given),
        ),
    ):
        assert found == pytest.approx(float(expected), rel=1e-5)
