"""The rule on one row of voxels, where every result can be read off.

A is the segment so far, P the new prediction.
"""

from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.segmenting.correction import correct, keep_touched


def row(text):
    return np.array([[[letter == "#" for letter in text]]])


def text(mask):
    return "".join("#" if voxel else "." for voxel in mask[0, 0])


def at(*columns):
    return [(0, 0, column) for column in columns]


@pytest.mark.parametrize(
    ("case", "so_far", "prediction", "positive", "negative", "expected"),
    [
        (
            "a positive click outside adds its component of what is new, and nothing else",
            "##..........",
            "##....##..##",
            at(6),
            [],
            "##....##....",
        ),
        (
            "what is new beside the segment is its own component when all clicks are outside",
            "##..........",
            "####........",
            at(3),
            [],
            "####........",
        ),
        (
            "a positive click inside adds the whole component of the prediction",
            ".####.......",
            "...#####..##",
            at(3),
            [],
            ".#######....",
        ),
        (
            "a negative click takes its component of what is gone",
            "####....####",
            ".........##.",
            [],
            at(1),
            "........####",
        ),
        (
            "a negative click where the prediction insists changes nothing",
            "####........",
            "####........",
            [],
            at(1),
            "####........",
        ),
        (
            "a negative click inside lets the positive one add all of its component",
            "..##......##",
            "..####......",
            at(2),
            at(10),
            "..####......",
        ),
        ("no click, no change", "##....", "....##", [], [], "##...."),
        (
            "two voxels beside is near enough",
            "............",
            "####....####",
            at(5),
            [],
            "####........",
        ),
        (
            "three voxels beside is not",
            "............",
            "####......##",
            at(6),
            [],
            "............",
        ),
        (
            "the nearer of two components",
            "............",
            "####...#####",
            at(6),
            [],
            ".......#####",
        ),
    ],
)
def test_rule(case, so_far, prediction, positive, negative, expected):
    result = correct(row(so_far), row(prediction), positive, negative)
    assert text(result) == expected, case


def test_inputs_stay_as_they_were():
    so_far, prediction = row("##..#"), row("..###")
    correct(so_far, prediction, at(4), at(0))
    assert text(so_far) == "##..#"
    assert text(prediction) == "..###"


def test_voxels_never_predicted_before_take_the_prediction():
    result = correct(row("##........"), row("....##..##"), [], at(9), predicted=row("########.."))
    assert text(result) == "##......##"


def test_the_first_prediction_is_taken_whole():
    result = correct(row("......"), row("##..##"), at(0), [], predicted=row("......"))
    assert text(result) == "##..##"


def test_clicks_beside_the_volume_only_reach_in():
    assert text(correct(row("...."), row("##.."), at(-1), [])) == "##.."
    assert text(correct(row("...."), row("##.."), at(-5), at(40))) == "...."


def test_locality_keeps_what_a_positive_click_touches():
    assert text(keep_touched(row("##...###...#"), at(6))) == ".....###...."
    assert text(keep_touched(row("##...###...#"), [])) == "............"


def test_locality_keeps_what_the_segment_was_started_from():
    kept = keep_touched(row("##...###...#"), at(6), anchor=row("#..........."))
    assert text(kept) == "##...###...."
