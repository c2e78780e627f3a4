"""Official weights: the catalogue, the folder, downloads that go wrong in every known way."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import re
import shutil
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from library.weights_server import WeightsServer, listening, proxied

from VoxelFeatLib.backbones.weights import availability as availability_module
from VoxelFeatLib.backbones.weights import download, locking, transfer
from VoxelFeatLib.backbones.weights.availability import availability
from VoxelFeatLib.backbones.weights.catalogue import (
    CATALOGUE,
    OfficialWeights,
    find_weights,
    is_checkpoint_path,
    sha256_of,
    weights_folder,
)
from VoxelFeatLib.backbones.weights.download import DownloadSettings, obtain_weights
from VoxelFeatLib.backbones.weights.transfer import SecureRedirects, TransferError
from VoxelFeatLib.errors import Cancelled, WeightsError

CONTENT = np.random.default_rng(0).bytes(300_000)
WEIGHTS = OfficialWeights(
    "a-model", "a_model.pt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
)
PART = "a_model.pt.part"


@pytest.fixture
def a_server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "_PAUSES", (0.01, 0.01, 0.01))
    server = WeightsServer(CONTENT)
    with listening(server.answer) as url:
        server.url = url
        yield server


def obtain(server, folder, **settings):
    settings = {"mirror": server.url + "/weights", "timeout": 10.0, **settings}
    return obtain_weights(WEIGHTS, DownloadSettings(**settings), folder)


def left(folder):
    """What a download leaves but its lock file."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_the_catalogue_names_the_official_files():
    assert [weights.file for weights in CATALOGUE.values()] == [
        "sam2.1_hiera_tiny.pt",
        "sam2.1_hiera_small.pt",
        "sam2.1_hiera_base_plus.pt",
        "sam2.1_hiera_large.pt",
    ]
    for name, weights in CATALOGUE.items():
        assert weights.name == name
        assert re.fullmatch("[0-9a-f]{64}", weights.sha256)
        assert weights.url.startswith("https://")
        assert weights.url.endswith("/" + weights.file)
    assert len({weights.sha256 for weights in CATALOGUE.values()}) == 4
    assert [weights.megabytes for weights in CATALOGUE.values()] == [156, 184, 324, 898]


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path))
    assert weights_folder() == tmp_path / "weights"


def test_paths_of_checkpoints_are_told_from_names():
    assert is_checkpoint_path("C:/models/MedSAM2.PT")
    assert is_checkpoint_path("a.safetensors")
    assert not is_checkpoint_path("sam2.1-tiny")
    assert not is_checkpoint_path("filters")


def test_a_file_in_the_folder_is_found_without_a_server(tmp_path):
    assert find_weights(WEIGHTS, tmp_path) is None
    (tmp_path / WEIGHTS.file).write_bytes(CONTENT)
    settings = DownloadSettings(mirror="https://nowhere.invalid")
    assert obtain_weights(WEIGHTS, settings, tmp_path) == tmp_path / WEIGHTS.file
    assert left(tmp_path) == [WEIGHTS.file]


def test_a_file_of_another_size_is_not_taken_for_it(tmp_path):
    path = tmp_path / WEIGHTS.file
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="299999 bytes instead of 300000") as caught:
        obtain_weights(WEIGHTS, None, tmp_path)
    assert str(path) in caught.value.message
    assert path.exists()  # a user may have put it there


def test_a_download_is_complete_verified_and_reported(a_server, tmp_path):
    reports = []
    folder = tmp_path / "not" / "there yet"

    path = obtain(a_server, folder, progress=reports.append)

    assert path == folder / WEIGHTS.file
    assert path.read_bytes() == CONTENT
    assert left(folder) == [WEIGHTS.file]
    assert a_server.requests == [("/weights/a_model.pt", "")]
    assert [r.bytes for r in reports] == sorted(r.bytes for r in reports)
    assert reports[-1].fraction == 1
    assert reports[-1].seconds_left == 0
    assert {r.total for r in reports} == {len(CONTENT)}


def test_progress_estimates_the_time_left(a_server, tmp_path):
    a_server.pause, a_server.block = 0.05, 30_000
    reports = []
    obtain(a_server, tmp_path, progress=reports.append)
    assert reports[0].seconds_left is None
    half = next(r for r in reports if r.fraction >= 0.5)
    assert 0.1 < half.seconds_left < 1.5  # ten blocks, one in 50 ms


def test_the_mirror_may_come_from_the_environment(a_server, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELFEAT_WEIGHTS_URL", a_server.url + "/from/environment/")
    assert obtain(a_server, tmp_path, mirror="").read_bytes() == CONTENT
    assert a_server.requests[0][0] == "/from/environment/a_model.pt"


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


def test_a_download_goes_on_where_the_last_one_ended(a_server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT[:100_000])
    reports = []
    path = obtain(a_server, tmp_path, progress=reports.append)
    assert path.read_bytes() == CONTENT
    assert a_server.requests == [("/weights/a_model.pt", "bytes=100000-")]
    assert reports[0].bytes > 100_000


def test_a_server_that_ignores_ranges_sends_it_all_again(a_server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT[:100_000])
    a_server.ranges = False
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert len(a_server.requests) == 1


def test_a_cut_connection_is_taken_up_again(a_server, tmp_path):
    a_server.cuts = [100_000, 50_000]
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_server.requests] == ["", "bytes=100000-", "bytes=150000-"]


def test_a_server_that_never_sends_more_than_crumbs_is_given_up(a_server, tmp_path):
    a_server.cuts = [200] * 10
    with pytest.raises(WeightsError, match="could not be downloaded"):
        obtain(a_server, tmp_path)
    assert len(a_server.requests) == 4


def test_another_part_than_was_asked_for_is_not_taken(a_server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT[:100_000])
    a_server.shift = -100_000
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_server.requests] == ["bytes=100000-", ""]


def test_beginning_anew_without_end_is_given_up(a_server, tmp_path):
    a_server.shift, a_server.cuts = -1, [50_000] * 20
    with pytest.raises(WeightsError, match="could not be downloaded"):
        obtain(a_server, tmp_path)
    assert len(a_server.requests) < 10


def test_a_cut_is_noticed_where_the_server_says_no_length(a_server, tmp_path):
    a_server.length, a_server.cuts = False, [70_000]
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_server.requests] == ["", "bytes=70000-"]


def test_after_cuts_without_end_what_arrived_is_kept(a_server, tmp_path):
    a_server.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(WeightsError, match=r"could not be downloaded from 127\.0\.0\.1"):
        obtain(a_server, tmp_path)
    assert (tmp_path / PART).read_bytes() == CONTENT[:100_000]
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(a_server, tmp_path):
    a_server.statuses = [503, 429]
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert len(a_server.requests) == 3


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_without_the_file_is_not_asked_again(status, a_server, tmp_path):
    a_server.statuses = [status]
    with pytest.raises(WeightsError, match=f"the server answered {status}"):
        obtain(a_server, tmp_path)
    assert len(a_server.requests) == 1


def test_a_page_instead_of_the_file_is_told_before_it_is_loaded(tmp_path):
    server = WeightsServer(b"<html>Log in to the hospital's network</html>")
    told = pytest.raises(WeightsError, match="the answer has 45 bytes instead of 300000")
    with listening(server.answer) as server.url, told:
        obtain(server, tmp_path)
    assert left(tmp_path) == []


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
def test_a_part_that_is_too_long_or_whole(have, a_server, tmp_path):
    (tmp_path / PART).write_bytes((CONTENT + b"extra")[:have])
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert len(a_server.requests) == (0 if have == len(CONTENT) else 1)


def test_a_part_that_a_server_has_no_rest_of_is_dropped(a_server, tmp_path):
    (tmp_path / PART).write_bytes(bytes(200_000))
    a_server.statuses = [416]
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert [span for _, span in a_server.requests] == ["bytes=200000-", ""]


def test_without_a_network_the_sentence_says_which_file_to_put_where(a_server, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(WeightsError) as caught:
            obtain(a_server, tmp_path, mirror=mirror)
    assert f"put a_model.pt (0 MB, from {WEIGHTS.url}) into {tmp_path}" in caught.value.message
    assert "HTTPS_PROXY" in caught.value.hint
    assert "VOXELFEAT_WEIGHTS_URL" in caught.value.hint


def test_a_silent_server_is_given_up(a_server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(WeightsError, match="did not answer in time"):
            obtain(a_server, tmp_path, mirror=mirror, timeout=0.1)


def test_proxies_of_the_environment_are_used(a_server, tmp_path, monkeypatch):
    with proxied(a_server) as (url, seen):
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "")
        path = obtain(a_server, tmp_path, mirror="http://mirror.invalid/sam2")
    assert path.read_bytes() == CONTENT
    assert seen == ["http://mirror.invalid/sam2/a_model.pt"]


def test_a_redirect_is_followed_unless_it_leaves_https(a_server, tmp_path):
    with listening(WeightsServer(CONTENT).answer) as other:
        a_server.redirect = other + "/elsewhere"
        assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    request = transfer.urllib.request.Request("https://a.invalid/x")
    with pytest.raises(TransferError, match="without https"):
        SecureRedirects().redirect_request(request, None, 302, "", {}, "http://a.invalid/x")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ftp://127.0.0.1/a", "leads out of the web"),
        ("http://[bad", "an address that cannot be"),
        ("file:///etc/hostname", "the server answered 302"),
    ],
)
def test_a_redirect_to_elsewhere_is_not_followed(address, sentence, a_server, tmp_path):
    a_server.redirect = address
    with pytest.raises(WeightsError, match=sentence):
        obtain(a_server, tmp_path)
    assert len(a_server.requests) == 1


def test_what_a_server_says_is_cut_to_printable_words(a_server, tmp_path):
    a_server.says = "\x1b[31mgo \x07away" + " now" * 1000
    a_server.statuses = [403]
    with pytest.raises(WeightsError, match=r"the server answered 403 \[31mgo away now") as told:
        obtain(a_server, tmp_path)
    assert told.value.message.isprintable()
    assert len(told.value.message) < 700


def test_endless_redirects_are_told_in_one_line(a_server, tmp_path):
    a_server.redirect = a_server.url + "/weights/a_model.pt"
    with pytest.raises(WeightsError, match="the server answered 302") as told:
        obtain(a_server, tmp_path)
    assert "\n" not in told.value.message


def test_an_address_with_other_letters_is_escaped(a_server, tmp_path):
    mirror = a_server.url + "/gewichte für alle"
    assert obtain(a_server, tmp_path, mirror=mirror).read_bytes() == CONTENT
    assert a_server.requests[0][0] == "/gewichte%20f%C3%BCr%20alle/a_model.pt"


def test_cancelling_keeps_the_part(a_server, tmp_path):
    reports = []
    with pytest.raises(Cancelled):
        obtain(a_server, tmp_path, progress=reports.append, cancelled=lambda: len(reports) >= 3)
    assert 0 < (tmp_path / PART).stat().st_size < len(CONTENT)
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert a_server.requests[1][1].startswith("bytes=")


def test_cancelling_ends_the_wait_for_a_server(a_server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSES", (60.0,))
    a_server.statuses = [503] * 3
    with pytest.raises(Cancelled):
        obtain(a_server, tmp_path, cancelled=lambda: len(a_server.requests) > 0)


def test_too_little_space_is_told_before_loading(a_server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WeightsError, match="too little space"):
        obtain(a_server, tmp_path)
    assert a_server.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_disk_that_fills_up_is_told(a_server, tmp_path, monkeypatch):
    def opened(path, mode="r", *arguments, **keywords):
        target = "/dev/full" if path.name == PART else path
        return open(target, mode, *arguments, **keywords)  # noqa: PTH123

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(WeightsError, match=r"cannot be written to .*No space left"):
        obtain(a_server, tmp_path)


def test_a_folder_that_cannot_be_made_is_told(a_server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="cannot be written") as caught:
        obtain(a_server, tmp_path / "file")
    assert "VOXELFEAT_CACHE" in caught.value.hint


def test_a_read_only_folder_is_told(a_server, tmp_path, monkeypatch):
    def refused(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(locking.os, "open", refused)
    with pytest.raises(WeightsError, match=r"cannot be written.*Permission denied"):
        obtain(a_server, tmp_path)


def _obtain_in_process(url, folder, queue):
    weights = OfficialWeights("a-model", WEIGHTS.file, WEIGHTS.bytes, WEIGHTS.sha256)
    settings = DownloadSettings(mirror=url)
    queue.put(str(obtain_weights(weights, settings, folder)))


def test_two_processes_load_it_once(a_server, tmp_path):
    a_server.pause = 0.02
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=_obtain_in_process, args=(a_server.url, tmp_path, queue))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    paths = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert paths == [str(tmp_path / WEIGHTS.file)] * 2
    assert (tmp_path / WEIGHTS.file).read_bytes() == CONTENT
    assert left(tmp_path) == [WEIGHTS.file]
    assert len(a_server.requests) == 1


def test_who_waits_sees_the_other_s_progress_and_can_leave(a_server, tmp_path):
    first_block, go_on = threading.Event(), threading.Event()

    def on_block():
        first_block.set()
        assert go_on.wait(30)

    a_server.on_block = on_block
    loader = threading.Thread(target=obtain, args=(a_server, tmp_path))
    loader.start()
    try:
        assert first_block.wait(30)
        reports = []
        with pytest.raises(Cancelled):
            obtain(a_server, tmp_path, progress=reports.append, cancelled=lambda: bool(reports))
        assert reports[0].bytes < len(CONTENT)
    finally:
        go_on.set()
        loader.join()
    assert (tmp_path / WEIGHTS.file).read_bytes() == CONTENT
    assert len(a_server.requests) == 1


def test_without_locks_every_process_loads_its_own(a_server, tmp_path, monkeypatch):
    def refused(_descriptor):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking, "_lock", refused)
    (tmp_path / PART).write_bytes(b"of somebody else")
    assert obtain(a_server, tmp_path).read_bytes() == CONTENT
    assert left(tmp_path) == [WEIGHTS.file, PART]
    assert (tmp_path / PART).read_bytes() == b"of somebody else"


def test_hashes_are_those_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(Cancelled):
        sha256_of(path, lambda: True)


def test_availability_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path))
    monkeypatch.setattr(availability_module, "find_spec", lambda name: name)
    assert availability("filters") == (True, "")
    assert availability("sam2.1-tiny") == (True, "156 MB are downloaded at the first use")
    assert availability("/models/own.pt") == (True, "")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "sam2.1_hiera_tiny.pt").write_bytes(b"half")
    available, reason = availability("sam2.1-tiny")
    assert not available
    assert "4 bytes instead of 156008466" in reason


def test_availability_names_missing_packages(monkeypatch):
    monkeypatch.setattr(
        availability_module, "find_spec", lambda name: None if name in {"sam2", "tqdm"} else name
    )
    assert availability("sam2.1-large") == (False, "not installed: sam2, tqdm")
    assert availability("own.pth") == (False, "not installed: sam2, tqdm")
    assert availability("filters") == (True, "")
