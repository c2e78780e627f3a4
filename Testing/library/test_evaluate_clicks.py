"""The simulated user with habits, runs, and the methods that are compared."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from library.click_results import whole_run

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.clicks.methods.growcut import GrowFromSeeds
from VoxelFeatLib.evaluation.clicks.methods.randomwalker import RandomWalker
from VoxelFeatLib.evaluation.clicks.methods.registry import methods_named, usual_methods
from VoxelFeatLib.evaluation.clicks.methods.seeds import seed_labels
from VoxelFeatLib.evaluation.clicks.methods.threshold import ThresholdRegion
from VoxelFeatLib.evaluation.clicks.methods.voxelfeat import VoxelFeat
from VoxelFeatLib.evaluation.clicks.user import Habits, SimulatedUser, outside_click, stroke
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click

SHAPE = (8, 12, 16)
# 3 mm slices of 2 mm pixels; RAS is -i, -j, k.
GEOMETRY = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))


def box(*where: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[where] = True
    return mask


TARGET = box(slice(2, 6), slice(3, 10), slice(2, 8))


def at(k: int, j: int, i: int, *, positive: bool = True) -> Click:
    return Click((-2.0 * i, -2.0 * j, 3.0 * k), positive)


def voxels(clicks) -> list[list[int]]:
    return GEOMETRY.voxels_of([click.ras for click in clicks]).tolist()


@pytest.fixture
def a_two_part_volume() -> Volume:
    """Grey level 100 where TARGET is, else 0."""
    return Volume(np.where(TARGET, 100, 0).astype(np.int16), GEOMETRY)


class Scripted:
    """Gives one mask after the other."""

    name = "scripted"

    def __init__(self, *masks: np.ndarray) -> None:
        self.settings: dict[str, object] = {}
        self.masks = masks
        self.asked: list[int] = []
        self.started = 0

    def start(self, volume):
        assert volume.voxels.shape == SHAPE
        self.started += 1
        self.asked.clear()

    def segment(self, clicks):
        self.asked.append(len(clicks))
        return self.masks[min(len(self.asked), len(self.masks)) - 1]


# ---------------------------------------------------------------------------- user


def test_the_click_outside_is_6_to_12_mm_away_and_follows_the_seed():
    target = box(slice(2, 6), slice(3, 6), slice(2, 5))
    found = [outside_click(target, GEOMETRY, seed) for seed in range(12)]
    assert outside_click(target, GEOMETRY, 3) == found[3]
    assert len(set(found)) > 3
    inside = np.argwhere(target) * (3, 2, 2)
    for click in found:
        assert not click.positive
        distances = np.linalg.norm(inside - np.multiply(voxels([click])[0], (3, 2, 2)), axis=1)
        assert 6 <= distances.min() <= 12


def test_without_a_voxel_6_to_12_mm_away_the_nearest_to_that_is_taken():
    target = np.ones(SHAPE, dtype=bool)
    target[0, 0, 0] = target[7, 11, 14:] = False
    # 3, 2 and 4 mm away (2 mm pixels, 3 mm slices): the corner 4 mm off is the nearest to 6 mm.
    target[7, 10:, 14:] = target[6, 10:, 14:] = False
    click = outside_click(target, GEOMETRY, 0)
    assert voxels([click]) == [[7, 11, 15]]
    with pytest.raises(InputError, match="fills the volume"):
        outside_click(np.ones(SHAPE, dtype=bool), GEOMETRY, 0)


def test_the_user_starts_in_the_middle_and_does_not_click_there_again():
    user = SimulatedUser(TARGET, GEOMETRY, Habits(5, negative=True))
    (first_outside,) = user.before()
    assert first_outside == outside_click(TARGET, GEOMETRY, 0)
    nothing = np.zeros(SHAPE, dtype=bool)
    first, second = user.next(None), user.next(nothing)
    # 6 mm from the sides along k and i, where there are two middles each, and 8 along j.
    assert voxels(first) == [[3, 6, 4]]
    assert voxels(second) == [[4, 6, 5]]
    assert user.next(TARGET) == []


def test_noise_moves_clicks_but_not_across_the_border():
    def clicked(seed: int) -> list[list[int]]:
        user = SimulatedUser(TARGET, GEOMETRY, Habits(9, noise_mm=4.0, seed=seed))
        return voxels([user.next(None)[0] for _ in range(9)])

    assert clicked(1) == clicked(1) != clicked(2)
    assert all(TARGET[tuple(voxel)] for voxel in clicked(1))
    assert max(abs(voxel[1] - 6) for voxel in clicked(1)) >= 2


def test_a_stroke_is_long_thin_and_inside():
    thin = box(slice(2, 6), slice(3, 10), slice(5, 6))
    assert stroke(thin, (4, 6, 5), GEOMETRY, 8.0).tolist() == [[4, j, 5] for j in range(4, 9)]
    # Longer than the mask: as far as it goes, 7 pixels along j in a mask that is 3 wide.
    mask = box(slice(2, 6), slice(3, 10), slice(4, 7))
    longest = stroke(mask, (4, 6, 5), GEOMETRY, 100.0)
    assert longest[:, 0].tolist() == [4] * len(longest)
    assert (longest[0, 1], longest[-1, 1]) == (3, 9)
    assert mask[tuple(longest.T)].all()
    alone = box(slice(1, 2), slice(1, 2), slice(1, 2))
    assert stroke(alone, (1, 1, 1), GEOMETRY, 10.0).tolist() == [[1, 1, 1]]
    user = SimulatedUser(TARGET, GEOMETRY, Habits(2, stroke_mm=8.0))
    drawn = np.array(voxels(user.next(None)))
    assert len(drawn) > 1
    assert TARGET[tuple(drawn.T)].all()
    assert [3, 6, 4] in drawn.tolist()


@pytest.mark.parametrize(
    "wrong", [{"clicks": 0}, {"seed": -1}, {"noise_mm": -1.0}, {"stroke_mm": np.inf}]
)
def test_impossible_habits_are_refused(wrong):
    with pytest.raises(InputError):
        Habits(**wrong)


# ---------------------------------------------------------------------------- runs


def test_a_run_has_the_numbers_after_each_click(a_two_part_volume):
    half = box(slice(2, 6), slice(3, 10), slice(2, 5))
    method = Scripted(np.zeros(SHAPE, dtype=bool), half, TARGET)
    run = whole_run(a_two_part_volume, TARGET, method, Habits(10, negative=True))
    # Nothing, then 84 of 168 voxels: 2 * 84 / 252; then all, and the user is content.
    assert run.dice == pytest.approx([0.0, 2 / 3, 1.0])
    # The side that was missed is 3 pixels of 2 mm away.
    assert run.hd95_mm == [np.inf, 6.0, 0.0]
    assert len(run.seconds) == 3
    assert method.asked == [2, 3, 4]
    assert [click.positive for click in run.clicks] == [False, True, True, True]
    assert (run.mask == TARGET).all()


def test_a_run_ends_after_the_most_clicks(a_two_part_volume):
    wrong = Scripted(~TARGET)
    run = whole_run(a_two_part_volume, TARGET, wrong, Habits(4))
    assert len(run.dice) == len(run.hd95_mm) == len(run.seconds) == 4
    assert [click.positive for click in run.clicks] == [True, False, False, False]
    assert wrong.started == 1


def test_a_mask_of_another_shape_is_refused(a_two_part_volume):
    with pytest.raises(InputError, match="scripted"):
        whole_run(a_two_part_volume, TARGET, Scripted(np.zeros((2, 2, 2), dtype=bool)), Habits(4))


# ---------------------------------------------------------------------------- methods


def test_seeds_are_balls_and_later_ones_paint_over_earlier_ones():
    clicks = [at(4, 5, 6, positive=False), at(4, 5, 8)]
    single = seed_labels(clicks, GEOMETRY)
    assert np.argwhere(single == 2).tolist() == [[4, 5, 6]]
    assert np.argwhere(single == 1).tolist() == [[4, 5, 8]]
    painted = seed_labels(clicks, GEOMETRY, 3.0)
    # 3 mm reach one slice, one pixel, and not the pixel's diagonal neighbour in the next slice.
    at_8 = [[3, 5, 8], [4, 4, 7], [4, 4, 8], [4, 4, 9], [4, 5, 7], [4, 5, 8], [4, 5, 9]]
    at_8 += [[4, 6, 7], [4, 6, 8], [4, 6, 9], [5, 5, 8]]
    assert np.argwhere(painted == 1).tolist() == at_8
    near = seed_labels([at(4, 5, 6, positive=False), at(4, 5, 7)], GEOMETRY, 3.0)
    assert near[4, 5, 6] == 2  # under the later brush, but clicked
    assert seed_labels([at(0, 0, 0)], GEOMETRY, 3.0).sum() == 5  # cut at the corner


def test_threshold_takes_what_is_alike_and_connected(a_two_part_volume):
    grey = a_two_part_volume.voxels.copy()
    grey[2:6, 3:10, 12:14] = 100  # as bright, but apart
    grey[4, 5, 4] = 104
    volume = Volume(grey, GEOMETRY)
    method = ThresholdRegion(width=50.0, radius_mm=3.0)
    method.start(volume)
    assert (method.segment((at(4, 6, 4),)) == TARGET).all()
    narrow = ThresholdRegion(width=0.5, radius_mm=3.0)
    narrow.start(volume)
    assert narrow.segment((at(4, 6, 4),))[TARGET].sum() == TARGET.sum() - 1
    assert not method.segment((at(4, 6, 4, positive=False),)).any()


def test_negative_clicks_cut_the_threshold_region(a_two_part_volume):
    method = ThresholdRegion(radius_mm=2.0)
    method.start(a_two_part_volume)
    mask = method.segment((at(4, 6, 3), at(4, 6, 7, positive=False)))
    # Up to the middle between the clicks, where both are as near.
    assert (mask == box(slice(2, 6), slice(3, 10), slice(2, 6))).all()


@pytest.mark.parametrize("seed_mm", [0.0, 3.0])
def test_the_random_walker_stops_at_the_edge(a_two_part_volume, seed_mm):
    method = RandomWalker(seed_mm=seed_mm)
    method.start(a_two_part_volume)
    assert (method.segment((at(4, 6, 4), at(4, 6, 12, positive=False))) == TARGET).all()


def test_the_random_walker_needs_somewhere_else_to_walk_to(a_two_part_volume):
    method = RandomWalker()
    method.start(a_two_part_volume)
    assert method.segment((at(4, 6, 4),)).all()
    assert not method.segment((at(4, 6, 4, positive=False),)).any()


def test_grow_from_seeds_stops_at_the_edge(a_two_part_volume):
    pytest.importorskip("slicer_core", reason="slicer-core is not installed")
    method = GrowFromSeeds(seed_mm=0.0, cropped=False)
    method.start(a_two_part_volume)
    clicks = (at(4, 6, 4), at(4, 6, 12, positive=False))
    assert (method.segment(clicks) == TARGET).all()
    # A further seed in the target takes its grey level away: both are as far in grey.
    more = method.segment((*clicks, at(2, 3, 2, positive=False)))
    assert not more[2, 3, 2]
    assert more[4, 6, 4]
    method.start(a_two_part_volume)
    assert (method.segment(clicks) == TARGET).all()


def test_grow_from_seeds_works_in_the_box_of_the_seeds_as_slicer_does(a_two_part_volume):
    pytest.importorskip("slicer_core", reason="slicer-core is not installed")
    method = GrowFromSeeds(seed_mm=0.0)
    method.start(a_two_part_volume)
    clicks = (at(4, 9, 7), at(4, 10, 8, positive=False))
    mask = method.segment(clicks)
    # 3 voxels around the seeds. Nothing grows along the box's own faces: the filter's border.
    assert not mask[~box(slice(1, 8), slice(6, 12), slice(4, 12))].any()
    inside = (slice(2, 7), slice(7, 11), slice(5, 11))
    assert (mask[inside] == TARGET[inside]).all()
    # One seed more, near the box's edge: the box is made anew, around all seeds.
    mask = method.segment((*clicks, at(4, 4, 3)))
    assert not mask[~box(slice(1, 8), slice(1, 12), slice(0, 12))].any()
    inside = (slice(2, 7), slice(2, 11), slice(1, 11))
    assert (mask[inside] == TARGET[inside]).all()


def test_without_slicer_core_grow_from_seeds_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer_core", None)
    with pytest.raises(InputError, match="needs the package slicer-core"):
        GrowFromSeeds()
    assert methods_named(["threshold"], Scripted)[0].name == "threshold"
    made, left_out = usual_methods(Scripted)
    assert [method.name for method in made] == ["scripted", "randomwalker", "threshold"]
    assert [sentence.split(":")[0] for sentence in left_out] == ["growcut"]


def test_a_field_that_cannot_be_read_is_not_just_left_out():
    def ours():
        raise InputError("The field cannot be read.")

    with pytest.raises(InputError, match="cannot be read"):
        usual_methods(ours)


def test_grow_from_seeds_refuses_what_the_filter_refuses():
    pytest.importorskip("slicer_core", reason="slicer-core is not installed")
    thin = Volume(np.zeros((2, 5, 5), dtype=np.int16), Geometry((2, 5, 5), np.eye(4)))
    with pytest.raises(InputError, match="three voxels"):
        GrowFromSeeds().start(thin)


def test_methods_by_name():
    ours = Scripted()
    found = methods_named(["threshold", "voxelfeat"], lambda: ours)
    assert [method.name for method in found] == ["threshold", "scripted"]
    for wrong, sentence in (
        (["magic"], "no method “magic”"),
        ([], "no method nothing"),
        (["threshold", "threshold"], "once"),
    ):
        with pytest.raises(InputError, match=sentence):
            methods_named(wrong, lambda: ours)


def test_ours_is_a_session_on_the_field_of_the_volume(a_two_part_volume, a_field_of):
    features = np.stack([TARGET, ~TARGET, np.zeros(SHAPE)], axis=-1).astype(np.float32)
    features += np.random.default_rng(0).normal(0, 0.05, features.shape).astype(np.float32)
    asked = []

    def field_of(volume):
        asked.append(volume)
        return a_field_of(GEOMETRY, features)

    method = VoxelFeat(field_of, {"preset": "p"}, seed=3)
    assert method.settings == {"preset": "p", "seed": 3}
    first = whole_run(a_two_part_volume, TARGET, method, Habits(3, negative=True))
    again = whole_run(a_two_part_volume, TARGET, method, Habits(3, negative=True))
    assert first.dice[-1] > 0.95
    assert again.dice == first.dice
    assert len(asked) == 1
    method.start(Volume(a_two_part_volume.voxels, GEOMETRY))
    assert len(asked) == 2
