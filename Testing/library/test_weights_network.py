"""Networks that get in the way of a download: proxies, redirects, silence, refusals."""

from __future__ import annotations

import io
import socket

import pytest
from library.downloads import CONTENT, WEIGHTS, left, obtain
from library.weights_server import WeightsServer, listening, proxied

from VoxelFeatLib.backbones.weights import transfer
from VoxelFeatLib.backbones.weights.transfer import SecureRedirects, TransferError
from VoxelFeatLib.errors import WeightsError


@pytest.mark.parametrize("status", [403, 404])
def test_a_weights_server_without_the_file_is_not_asked_again(status, a_weights_server, tmp_path):
    a_weights_server.statuses = [status]
    with pytest.raises(WeightsError, match=f"the server answered {status}"):
        obtain(a_weights_server, tmp_path)
    assert len(a_weights_server.requests) == 1


def test_a_page_instead_of_the_file_is_told_before_it_is_loaded(tmp_path):
    server = WeightsServer(b"<html>Log in to the hospital's network</html>")
    told = pytest.raises(WeightsError, match="the answer has 45 bytes instead of 300000")
    with listening(server.answer) as server.url, told:
        obtain(server, tmp_path)
    assert left(tmp_path) == []


def test_without_a_network_the_sentence_says_which_file_to_put_where(a_weights_server, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(WeightsError) as caught:
            obtain(a_weights_server, tmp_path, mirror=mirror)
    assert f"put a_model.pt (0 MB, from {WEIGHTS.url}) into {tmp_path}" in caught.value.message
    assert "HTTPS_PROXY" in caught.value.hint
    assert "VOXELFEAT_WEIGHTS_URL" in caught.value.hint


def test_a_silent_server_is_given_up(a_weights_server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(WeightsError, match="did not answer in time"):
            obtain(a_weights_server, tmp_path, mirror=mirror, timeout=0.1)


def test_proxies_of_the_environment_are_used(a_weights_server, tmp_path, monkeypatch):
    with proxied(a_weights_server) as (url, seen):
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "")
        path = obtain(a_weights_server, tmp_path, mirror="http://mirror.invalid/sam2")
    assert path.read_bytes() == CONTENT
    assert seen == ["http://mirror.invalid/sam2/a_model.pt"]


def test_a_redirect_is_followed_unless_it_leaves_https(a_weights_server, tmp_path):
    with listening(WeightsServer(CONTENT).answer) as other:
        a_weights_server.redirect = other + "/elsewhere"
        assert obtain(a_weights_server, tmp_path).read_bytes() == CONTENT
    request = transfer.urllib.request.Request("https://a.invalid/x")
    with pytest.raises(TransferError, match="without https"):
        SecureRedirects().redirect_request(request, io.BytesIO(), 302, "", {}, "http://a.invalid/x")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ftp://127.0.0.1/a", "leads out of the web"),
        ("http://[bad", "an address that cannot be"),
        ("file:///etc/hostname", "the server answered 302"),
    ],
)
def test_a_redirect_to_elsewhere_is_not_followed(address, sentence, a_weights_server, tmp_path):
    a_weights_server.redirect = address
    with pytest.raises(WeightsError, match=sentence):
        obtain(a_weights_server, tmp_path)
    assert len(a_weights_server.requests) == 1


def test_what_a_weights_server_says_is_cut_to_printable_words(a_weights_server, tmp_path):
    a_weights_server.says = "\x1b[31mgo \x07away" + " now" * 1000
    a_weights_server.statuses = [403]
    with pytest.raises(WeightsError, match=r"the server answered 403 \[31mgo away now") as told:
        obtain(a_weights_server, tmp_path)
    assert told.value.message.isprintable()
    assert len(told.value.message) < 700


def test_endless_redirects_are_told_in_one_line(a_weights_server, tmp_path):
    a_weights_server.redirect = a_weights_server.url + "/weights/a_model.pt"
    with pytest.raises(WeightsError, match="the server answered 302") as told:
        obtain(a_weights_server, tmp_path)
    assert "\n" not in told.value.message


def test_an_address_with_other_letters_is_escaped(a_weights_server, tmp_path):
    mirror = a_weights_server.url + "/gewichte für alle"
    assert obtain(a_weights_server, tmp_path, mirror=mirror).read_bytes() == CONTENT
    assert a_weights_server.requests[0][0] == "/gewichte%20f%C3%BCr%20alle/a_model.pt"
