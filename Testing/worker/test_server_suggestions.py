"""Suggestions in the worker's replies: those of the mask, whoever asks again."""

from __future__ import annotations

from Testing.worker.server_fixtures import CENTRES, InProcess, at, ball, clicks
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.segment import Wish
from VoxelFeatLib.segmenting.suggestion import Suggestion
from VoxelFeatLib.segmenting.updating import Known, Result
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.server.masks import MaskStore


def segmented(server: InProcess, volume: Volume, **arguments) -> dict:
    reply = server.call(
        "segment",
        segment="a",
        segments=[clicks("a", at(volume, CENTRES[0]))],
        **{"result": "1", **arguments},
    )
    assert reply["ok"], reply
    return reply


def test_a_result_that_is_asked_for_again_has_the_same_suggestions(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    first = segmented(an_open_server, a_scan)["suggestions"]
    assert first
    doubts = [one["doubt"] for one in first]
    assert doubts == sorted(doubts, reverse=True)
    assert segmented(an_open_server, a_scan, current="1", result="2")["suggestions"] == first


def test_they_are_kept_with_a_mask_that_is_packed() -> None:
    found = (Suggestion((1.0, 2.0, 3.0), 0.4), Suggestion((4.0, 5.0, 6.0), 0.2))
    masks = MaskStore()
    masks.put_result("1", Result(ball(CENTRES[0]), Known(Wish(((1.0, 2.0, 3.0),)), (), found)))
    masks.drop_arrays()
    assert masks.result("1").known.suggestions == found


def test_those_of_a_mask_of_the_clients_own_are_not_known(
    an_open_server: InProcess, a_scan: Volume
) -> None:
    mask = ball(CENTRES[0])
    whole = Extent.whole(mask.shape)
    wire = protocol.pack_mask(mask, whole, mask.shape)
    assert an_open_server.call("put_mask", key="mine", mask=wire)["ok"]
    answered = {"positive": at(a_scan, CENTRES[0]), "negative": []}
    reply = segmented(an_open_server, a_scan, current="mine", answered=answered)
    assert reply["voxels"] == mask.sum()  # it is the answer already
    assert reply["suggestions"] is None


def test_suggestions_stay_in_the_segments_box(an_open_server: InProcess, a_scan: Volume) -> None:
    k, j, i = CENTRES[0]
    box = [k - 4, j - 6, i - 6, k + 5, j + 7, i + 7]
    asked = clicks("a", at(a_scan, CENTRES[0]), box=box)
    reply = an_open_server.call("segment", segment="a", segments=[asked], result="1")
    places = [one["ras"] for one in reply["suggestions"]]
    assert places
    voxels = a_scan.geometry.voxels_of(places)
    assert (voxels >= box[:3]).all()
    assert (voxels < box[3:]).all()
