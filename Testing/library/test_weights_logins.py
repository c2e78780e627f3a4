"""Mirrors and proxies that want a user and password: told to them alone, and never shown."""

from __future__ import annotations

import base64
import traceback

import pytest
from library.downloads import CONTENT, obtain
from library.weights_server import WeightsServer, listening, proxied

from VoxelFeatLib.backbones.weights import download
from VoxelFeatLib.backbones.weights.address import address_of
from VoxelFeatLib.errors import WeightsError

PASSWORD = "s3cret"  # noqa: S105 - of nobody


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def with_login(url: str, login: str) -> str:
    return url.replace("://", f"://{login}@")


def refused(server, folder, **settings) -> WeightsError:
    """The error of a download that fails, which says the password nowhere, not even in a log."""
    with pytest.raises(WeightsError) as caught:
        obtain(server, folder, **settings)
    told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    # The lines of these tests are part of a traceback.
    assert PASSWORD not in told.replace(f'PASSWORD = "{PASSWORD}"', "")
    assert base64.b64encode(PASSWORD.encode()).decode().rstrip("=") not in told
    return caught.value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ann:s3cret", "ann:s3cret"),
        ("ann%40home:a%3Ab%2Fc%25", "ann@home:a:b/c%"),
        ("ann:p@ss:word", "ann:p@ss:word"),
        ("jörg:größe", "jörg:größe"),
        ("token", "token:"),
    ],
)
def test_a_mirror_is_told_user_and_password(written, meant, a_weights_server, tmp_path):
    mirror = with_login(a_weights_server.url, written) + "/weights"
    assert obtain(a_weights_server, tmp_path, mirror=mirror).read_bytes() == CONTENT
    assert a_weights_server.logins == [basic(meant)]
    assert a_weights_server.requests == [("/weights/a_model.pt", "")]


def test_so_it_is_from_the_environment_and_after_a_cut(a_weights_server, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELFEAT_WEIGHTS_URL", with_login(a_weights_server.url, "ann:s3cret"))
    a_weights_server.cuts = [100_000]
    assert obtain(a_weights_server, tmp_path, mirror="").read_bytes() == CONTENT
    assert a_weights_server.logins == [basic("ann:s3cret")] * 2


def test_without_user_and_password_nobody_is_told_any(a_weights_server, tmp_path):
    obtain(a_weights_server, tmp_path)
    assert a_weights_server.logins == [""]


def test_they_stay_out_of_addresses_and_reprs():
    address = address_of("https://ann:s3cret@Mirror.example:8443/sam2/").file("a.pt")
    assert address.url == "https://Mirror.example:8443/sam2/a.pt"
    assert address.host == "mirror.example"
    assert address.authorization == basic("ann:s3cret")
    assert repr(address) == "Address(url='https://Mirror.example:8443/sam2/a.pt')"


def test_a_redirect_to_another_server_takes_no_password_along(a_weights_server, tmp_path):
    other = WeightsServer(CONTENT)
    mirror = with_login(a_weights_server.url, "ann:s3cret")
    with listening(other.answer) as url:
        a_weights_server.redirect = url + "/elsewhere"
        assert obtain(a_weights_server, tmp_path, mirror=mirror).read_bytes() == CONTENT
    assert a_weights_server.logins == [basic("ann:s3cret")]
    assert other.logins == [""]


def test_a_redirect_on_the_same_server_does(a_weights_server, tmp_path):
    mirror = with_login(a_weights_server.url, "ann:s3cret")
    a_weights_server.redirect = a_weights_server.url + "/elsewhere"
    refused(a_weights_server, tmp_path, mirror=mirror)  # it leads to itself, again and again
    assert len(a_weights_server.logins) > 1
    assert set(a_weights_server.logins) == {basic("ann:s3cret")}


def test_a_redirect_to_another_login_is_not_followed(a_weights_server, tmp_path):
    a_weights_server.redirect = with_login(a_weights_server.url, f"bob:{PASSWORD}")
    error = refused(a_weights_server, tmp_path)
    assert "leads to an address with a user or password" in error.message
    assert len(a_weights_server.requests) == 1


def test_a_wrong_password_is_told_without_it(a_weights_server, tmp_path):
    a_weights_server.statuses = [401]
    mirror = with_login(a_weights_server.url, f"ann:{PASSWORD}")
    error = refused(a_weights_server, tmp_path, mirror=mirror)
    assert "the server answered 401 Unauthorized" in error.message
    assert "user:password@" in error.hint
    assert len(a_weights_server.requests) == 1


def test_another_file_is_told_without_the_password(tmp_path):
    server = WeightsServer(bytes(len(CONTENT)))
    with listening(server.answer) as url:
        error = refused(server, tmp_path, mirror=with_login(url, f"ann:{PASSWORD}"))
    assert f"What came from {url}/a_model.pt is not" in error.message


@pytest.mark.parametrize(
    "mirror",
    [
        f"ann:{PASSWORD}@mirror.example/sam2",
        f"ftp://ann:{PASSWORD}@mirror.example/sam2",
        f"https://ann:{PASSWORD}/x@mirror.example/sam2",
        f"https://ann:1#{PASSWORD}@mirror.example/sam2",
        f"https://ann:1?{PASSWORD}@mirror.example/sam2",
        f"https://ann:{PASSWORD}@mirror.example:port/sam2",
        f"https://ann:{PASSWORD}@",
        f"https://ann:{PASSWORD}\n@[::1/sam2",
        f"https://ann:{PASSWORD}@mirror.example/\udcff",
        f"https://ann:{PASSWORD}\udcff@mirror.example/sam2",
    ],
)
def test_an_address_that_is_none_is_shown_without_its_password(mirror, a_weights_server, tmp_path):
    error = refused(a_weights_server, tmp_path, mirror=mirror)
    assert "begins with https:// or http://" in error.message
    assert "…@" in error.message
    assert "%2F for /" in error.hint


def test_a_proxy_is_told_user_and_password(a_weights_server, tmp_path, monkeypatch):
    with proxied(a_weights_server, basic("ann:p@ss word")) as (url, seen):
        monkeypatch.setenv("http_proxy", with_login(url, "ann:p%40ss%20word"))
        monkeypatch.setenv("no_proxy", "")
        mirror = "http://bob:other@mirror.invalid/sam2"
        path = obtain(a_weights_server, tmp_path, mirror=mirror)
    assert path.read_bytes() == CONTENT
    assert seen == ["http://mirror.invalid/sam2/a_model.pt"]
    assert a_weights_server.logins == [basic("bob:other")]


def test_a_proxy_that_wants_another_password(a_weights_server, tmp_path, monkeypatch):
    with proxied(a_weights_server, basic("ann:right")) as (url, _):
        monkeypatch.setenv("http_proxy", with_login(url, f"ann:{PASSWORD}"))
        monkeypatch.setenv("no_proxy", "")
        error = refused(a_weights_server, tmp_path, mirror="http://mirror.invalid/sam2")
    assert "407 Proxy Authentication Required" in error.message
    assert a_weights_server.requests == []


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://ann:{PASSWORD}/x@proxy.invalid:3128",
        f"http://ann:{PASSWORD}@proxy.invalid:port",
        f"http:/ann:{PASSWORD}@proxy.invalid",
    ],
)
def test_a_proxys_address_that_cannot_be(proxy, a_weights_server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    error = refused(a_weights_server, tmp_path, mirror="http://mirror.invalid/sam2")
    assert "could not be downloaded from mirror.invalid" in error.message
    assert download._MIRROR in error.hint
