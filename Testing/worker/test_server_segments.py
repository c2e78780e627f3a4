"""The server in this process: segments, and the scene that shows their chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Testing.worker.server_fixtures import (
    LEFT,
    RIGHT,
    SHAPE,
    SLICE,
    InProcess,
    at,
    ball,
    clicks,
    code,
    shown,
)
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.worker.protocol import pack_mask


def test_a_click_gives_the_librarys_own_answer(
    an_open_server: InProcess, a_scan: Volume, a_field
) -> None:
    session = Session(a_scan, a_field)
    session.set_segment("a", [Click(tuple(at(a_scan, LEFT)[0]), positive=True)])
    session.set_segment("b", [Click(tuple(at(a_scan, RIGHT)[0]), positive=True)])
    *_, expected = session.update("a")
    events: list[dict] = []
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", at(a_scan, LEFT)), clicks("b", at(a_scan, RIGHT))],
        result="first",
        visible=[SLICE],
    )
    assert reply["ok"], reply
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    np.testing.assert_array_equal(scene, expected.mask)
    assert scene[LEFT]
    assert not scene[RIGHT]
    assert reply["voxels"] == reply["change"]["added"] == scene.sum()
    chunks = [event for event in events if event["event"] == "chunk"]
    assert [chunk["preview"] for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert chunks[0]["mask"]["extent"] == SLICE


def test_what_previews_told_already_is_told_again_at_the_end(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    events: list[dict] = []
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", at(a_scan, LEFT))],
        result="first",
        visible=[[0, 0, 0, *SHAPE]],
    )
    final = [event for event in events if event.get("preview") is False]
    accepted = shown(np.zeros(SHAPE, dtype=bool), final)
    assert accepted[LEFT]
    assert accepted.sum() == reply["voxels"] == reply["change"]["added"]


def test_the_next_click_corrects_what_is_shown(
    an_open_server: InProcess, a_scan: Volume, a_field
) -> None:
    session = Session(a_scan, a_field)
    one, two = at(a_scan, LEFT, RIGHT)
    session.set_segment("a", [Click(tuple(one), positive=True)])
    *_, first = session.update("a")
    session.add_click("a", Click(tuple(two), positive=True))
    *_, second = session.update("a")
    events: list[dict] = []
    an_open_server.call(
        "segment", events=events, segment="a", segments=[clicks("a", [one])], result="m1"
    )
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    np.testing.assert_array_equal(scene, first.mask)
    events.clear()
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", [one, two])],
        current="m1",
        answered={"positive": [one], "negative": []},
        result="m2",
        visible=[SLICE],
    )
    np.testing.assert_array_equal(shown(scene, events), second.mask)
    assert reply["change"]["added"] == (second.mask & ~first.mask).sum()
    assert reply["change"]["removed"] == (first.mask & ~second.mask).sum()


def test_a_worker_that_has_forgotten_everything_asks_for_the_mask_and_answers_the_same(
    an_open_server: InProcess, a_scan: Volume, a_field_file: Path
) -> None:
    one, two = at(a_scan, LEFT, RIGHT)
    events: list[dict] = []
    an_open_server.call(
        "segment", events=events, segment="a", segments=[clicks("a", [one])], result="m1"
    )
    first = shown(np.zeros(SHAPE, dtype=bool), events)
    asked = {
        "segment": "a",
        "segments": [clicks("a", [one, two])],
        "current": "m1",
        "answered": {"positive": [one], "negative": []},
        "result": "m2",
    }
    events.clear()
    an_open_server.call("segment", events=events, **asked)
    expected = shown(first, events)
    assert (expected != first).any()

    another = InProcess()
    another.open(a_scan, a_field_file)
    reply = another.call("segment", **asked)
    assert code(reply) == "unknown_mask"
    assert reply["error"]["keys"] == ["m1"]
    wire = pack_mask(first, Extent.whole(SHAPE), SHAPE)
    assert another.call("put_mask", key="m1", mask=wire)["ok"]
    events.clear()
    another.call("segment", events=events, **asked)
    np.testing.assert_array_equal(shown(first, events), expected)


def test_a_newer_request_replaces_the_one_of_its_segment_alone(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    one, two = at(a_scan, LEFT, RIGHT)
    states = [clicks("a", [one]), clicks("b", [two])]
    first = an_open_server.ask("segment", segment="a", segments=states, result="1", visible=[SLICE])
    other = an_open_server.ask("segment", segment="b", segments=states, result="2")
    an_open_server.server.step()
    newer = an_open_server.ask("segment", segment="a", segments=states, result="3")
    assert code(an_open_server.wait(first)) == "superseded"
    assert an_open_server.wait(newer)["ok"]
    assert an_open_server.wait(other)["ok"]


def test_what_a_superseded_request_had_shown_is_put_right(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    one, two = at(a_scan, LEFT, RIGHT)
    events: list[dict] = []
    first = an_open_server.ask(
        "segment", segment="a", segments=[clicks("a", [one])], result="1", visible=[SLICE]
    )
    while not any(message.get("preview") for message in an_open_server.sent):
        an_open_server.server.step()
    second = an_open_server.ask("segment", segment="a", segments=[clicks("a", [two])], result="2")
    assert code(an_open_server.wait(first, events)) == "superseded"
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    assert scene[LEFT]
    events.clear()
    reply = an_open_server.wait(second, events)
    scene = shown(scene, events)
    assert not scene[LEFT]
    assert scene[RIGHT]
    assert scene.sum() == reply["voxels"]


def test_a_cancelled_request_says_so(an_open_server: InProcess, a_scan: Volume) -> None:
    number = an_open_server.ask(
        "segment", segment="a", segments=[clicks("a", at(a_scan, LEFT))], result="1"
    )
    assert an_open_server.call("cancel", target=number)["found"] is True
    assert code(an_open_server.wait(number)) == "cancelled"
    assert an_open_server.call("cancel", target=number)["found"] is False


def test_outside_its_box_nothing_changes(an_open_server: InProcess, a_scan: Volume) -> None:
    state = clicks("a", at(a_scan, LEFT), box=[0, 0, 0, 12, 28, 8])
    events: list[dict] = []
    an_open_server.call("segment", events=events, segment="a", segments=[state], result="1")
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    assert scene[6, 14, 7]
    assert not scene[:, :, 8:].any()


def test_a_segment_starts_from_an_existing_mask(an_open_server: InProcess, a_scan: Volume) -> None:
    base = ball(RIGHT, 3.0)
    part = Extent((3, 10, 20), (10, 19, 29))
    an_open_server.call("put_mask", key="base", mask=pack_mask(base[part.slices], part, SHAPE))
    events: list[dict] = []
    reply = an_open_server.call(
        "segment",
        events=events,
        segment="a",
        segments=[clicks("a", [], base="base", locality=False)],
        result="1",
    )
    scene = shown(np.zeros(SHAPE, dtype=bool), events)
    assert reply["voxels"] == scene.sum()
    assert scene[RIGHT]
    assert not scene[LEFT]
