"""Downloads of weights: whole, resumed, verified, given up."""

from __future__ import annotations

import pytest
from library.downloads import CONTENT, PART, WEIGHTS, left, obtain
from library.weights_server import WeightsServer, listening

from VoxelFeatLib.backbones.weights import transfer
from VoxelFeatLib.backbones.weights.download import DownloadSettings, obtain_weights
from VoxelFeatLib.errors import Cancelled, WeightsError


def test_a_download_is_complete_verified_and_reported(a_weights_server, tmp_path):
    reports = []
    folder = tmp_path / "not" / "there yet"

    path = obtain(a_weights_server, folder, progress=reports.append)

    assert path == folder / WEIGHTS.file
    assert path.read_bytes() == CONTENT
    assert left(folder) == [WEIGHTS.file]
    assert a_weights_server.requests == [("/weights/a_model.pt", "")]
    assert [r.bytes for r in reports] == sorted(r.bytes for r in reports)
    assert reports[-1].fraction == 1
    assert reports[-1].seconds_left == 0
    assert {r.total for r in reports} == {len(CONTENT)}


def test_progress_estimates_the_time_left(a_weights_server, tmp_path):
    a_weights_server.pause, a_weights_server.block = 0.05, 30_000
    reports = []
    obtain(a_weights_server, tmp_path, progress=reports.append)
    assert reports[0].seconds_left is None
    half = next(r for r in reports if r.fraction >= 0.5)
    assert 0.1 < half.seconds_left < 1.5  # ten blocks, one in 50 ms


def test_the_mirror_may_come_from_the_environment(a_weights_server, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELFEAT_WEIGHTS_URL", a_weights_server.url + "/from/environment/")
    assert obtain(a_weights_server, tmp_path, mirror="").read_bytes() == CONTENT
    assert a_weights_server.requests[0][0] == "/from/environment/a_model.pt"


@pytest.mark.parametrize(
    "mirror",
    [
        "file:///etc",
        "/srv/weights",
        "ftp://host/x",
        "https://",
        "http://[::1",
        "http://host:99999/",
        "http://host:port/",
    ],
)
def test_a_mirror_is_an_address_of_the_web(mirror, tmp_path):
    with pytest.raises(WeightsError, match="begins with https:// or http://"):
        obtain_weights(WEIGHTS, DownloadSettings(mirror=mirror), tmp_path)


def test_a_download_goes_on_where_the_last_one_ended(a_weights_server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT[:100_000])
    reports = []
    path = obtain(a_weights_server, tmp_path, progress=reports.append)
    assert path.read_bytes() == CONTENT
    assert a_weights_server.requests == [("/weights/a_model.pt", "bytes=100000-")]
    assert reports[0].bytes > 100_000


def test_a_weights_server_that_ignores_ranges_sends_it_all_again(a_weights_server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT[:100_000])
    a_weights_server.ranges = False
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert len(a_weights_server.requests) == 1


def test_a_cut_connection_is_taken_up_again(a_weights_server, tmp_path):
    a_weights_server.cuts = [100_000, 50_000]
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_weights_server.requests] == ["", "bytes=100000-", "bytes=150000-"]


def test_a_weights_server_that_never_sends_more_than_crumbs_is_given_up(a_weights_server, tmp_path):
    a_weights_server.cuts = [200] * 10
    with pytest.raises(WeightsError, match="could not be downloaded"):
        obtain(a_weights_server, tmp_path)
    assert len(a_weights_server.requests) == 4


def test_another_part_than_was_asked_for_is_not_taken(a_weights_server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT[:100_000])
    a_weights_server.shift = -100_000
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_weights_server.requests] == ["bytes=100000-", ""]


def test_beginning_anew_without_end_is_given_up(a_weights_server, tmp_path):
    a_weights_server.shift, a_weights_server.cuts = -1, [50_000] * 20
    with pytest.raises(WeightsError, match="could not be downloaded"):
        obtain(a_weights_server, tmp_path)
    assert len(a_weights_server.requests) < 10


def test_a_cut_is_noticed_where_the_server_says_no_length(a_weights_server, tmp_path):
    a_weights_server.length, a_weights_server.cuts = False, [70_000]
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_weights_server.requests] == ["", "bytes=70000-"]


def test_after_cuts_without_end_what_arrived_is_kept(a_weights_server, tmp_path):
    a_weights_server.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(WeightsError, match=r"could not be downloaded from 127\.0\.0\.1"):
        obtain(a_weights_server, tmp_path)
    assert (tmp_path / PART).read_bytes() == CONTENT[:100_000]
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(a_weights_server, tmp_path):
    a_weights_server.statuses = [503, 429]
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert len(a_weights_server.requests) == 3


@pytest.mark.parametrize("length", [True, False])
def test_a_file_with_another_hash_is_removed(length, tmp_path):
    extra = b"" if length else b"and more"
    server = WeightsServer(bytes(len(CONTENT)) + extra)
    server.length = length
    told = pytest.raises(WeightsError, match=r"not the official a_model\.pt")
    with listening(server.answer) as server.url, told as caught:
        obtain(server, tmp_path)
    assert f"put a_model.pt (0 MB, from {WEIGHTS.url}) into {tmp_path}" in caught.value.message
    assert left(tmp_path) == []


@pytest.mark.parametrize("have", [len(CONTENT) + 5, len(CONTENT)])
def test_a_part_that_is_too_long_or_whole(have, a_weights_server, tmp_path):
    (tmp_path / PART).write_bytes((CONTENT + b"extra")[:have])
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert len(a_weights_server.requests) == (0 if have == len(CONTENT) else 1)


def test_a_part_that_a_weights_server_has_no_rest_of_is_dropped(a_weights_server, tmp_path):
    (tmp_path / PART).write_bytes(bytes(200_000))
    a_weights_server.statuses = [416]
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_weights_server.requests] == ["bytes=200000-", ""]


def test_cancelling_keeps_the_part(a_weights_server, tmp_path):
    reports = []
    with pytest.raises(Cancelled):
        obtain(
            a_weights_server, tmp_path, progress=reports.append, cancelled=lambda: len(reports) >= 3
        )
    assert 0 < (tmp_path / PART).stat().st_size < len(CONTENT)
    assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    assert a_weights_server.requests[1][1].startswith("bytes=")


def test_cancelling_ends_the_wait_for_a_weights_server(a_weights_server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSES", (60.0,))
    a_weights_server.statuses = [503] * 3
    with pytest.raises(Cancelled):
        obtain(a_weights_server, tmp_path, cancelled=lambda: len(a_weights_server.requests) > 0)
