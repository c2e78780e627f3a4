"""Section "Worker", used as a person would."""

from __future__ import annotations

import pytest
from panel.fakes import HELLO
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest


@pytest.fixture
def an_owner(a_person):
    """Somebody who has the section open."""
    a_person.open_section("worker")
    return a_person


def _enter(person, text):
    edit = person.ui.remoteCommandEdit
    edit.clear()
    QTest.keyClicks(edit, text)
    QTest.keyClick(edit, Qt.Key.Key_Return)


def _reconnected(person):
    return any(call[0] == "use_transport" for call in person.link.calls)


def test_states(an_owner):
    ui = an_owner.ui
    assert "Not running." in ui.workerStatusLabel.text
    an_owner.click("restartWorkerButton")
    assert an_owner.link.calls[-1] == ("start",)
    an_owner.link.show(state="starting", message="The worker ended unexpectedly; restarting.")
    assert "restarting" in ui.workerStatusLabel.text
    an_owner.link.show(state="ready", message="", hello=HELLO)
    assert "Running · torch 2.7.1 · Processor (16 threads), NVIDIA" in ui.workerStatusLabel.text
    an_owner.photograph("worker")
    an_owner.click("restartWorkerButton")
    assert an_owner.link.calls[-1] == ("restart",)
    an_owner.link.show(state="failed", message="It died four times.")
    assert "It died four times." in ui.workerStatusLabel.text


def test_log(an_owner):
    assert not an_owner.ui.logView.visible
    an_owner.click("showLogButton")
    assert an_owner.ui.logView.visible
    assert an_owner.ui.logView.plainText == "first line\nlast line"
    an_owner.photograph("log")
    an_owner.click("showLogButton")
    assert not an_owner.ui.logView.visible


def test_remote_command_is_kept_and_used(an_owner, a_volume):
    import qt

    volume = a_volume()
    an_owner.ui.volumeSelector.setCurrentNode(volume)
    _enter(an_owner, "ssh gpu-box voxelfeat worker")
    assert qt.QSettings().value("VoxelFeat/RemoteCommand") == "ssh gpu-box voxelfeat worker"
    assert _reconnected(an_owner)
    assert an_owner.field.calls[-2:] == [("set_volume", None, ""), ("set_volume", volume, "")]
    an_owner.link.show(state="ready", hello=HELLO)
    assert "Running on gpu-box" in an_owner.ui.workerStatusLabel.text


def test_a_remote_worker_that_has_not_spoken_yet(an_owner):
    _enter(an_owner, "ssh gpu-box voxelfeat worker")
    for state, text in (
        ("starting", "Starting…"),
        ("stopped", "Not running."),
        ("failed", "could not be started"),
    ):
        an_owner.link.show(state=state, hello={})
        assert text in an_owner.ui.workerStatusLabel.text


def test_a_command_that_cannot_be_used_is_refused(an_owner, the_messages):
    import qt

    _enter(an_owner, 'ssh "gpu-box')
    assert "quotation mark" in an_owner.ui.workerStatusLabel.text
    assert the_messages == []  # a dialog would finish the editing a second time
    assert not qt.QSettings().contains("VoxelFeat/RemoteCommand")
    assert not _reconnected(an_owner)
    _enter(an_owner, "")
    assert "quotation mark" not in an_owner.ui.workerStatusLabel.text


def test_what_is_missing_is_told_and_installed_after_asking(an_owner, monkeypatch, the_messages):
    from VoxelFeatLib.errors import Cancelled
    from VoxelFeatLib.scene.application import install

    missing = ["Install what VoxelFeat needs first: msgpack."]
    monkeypatch.setattr(install, "missing_sentence", lambda **_: missing[0])
    monkeypatch.setattr(install, "plan", lambda **_: ["step"])
    an_owner.widget.exit()
    an_owner.ui.workerSection.collapsed = True
    an_owner.widget.enter()
    assert not an_owner.ui.workerSection.collapsed  # it draws attention
    assert missing[0] in an_owner.ui.workerStatusLabel.text
    an_owner.photograph("missing")

    def decline(_steps, _progress):
        raise Cancelled

    monkeypatch.setattr(install, "install", decline)
    an_owner.click("installButton")
    assert the_messages == []
    assert an_owner.ui.installButton.visible

    def fail(_steps, _progress):
        raise install.InstallError("pip could not install msgpack.", "Look at the network.", "log")

    monkeypatch.setattr(install, "install", fail)
    an_owner.click("installButton")
    assert the_messages == ["pip could not install msgpack. Look at the network."]
    told = []

    def succeed(_steps, progress):
        progress("Installing msgpack …")
        told.append(an_owner.ui.workerStatusLabel.text)
        missing[0] = ""

    monkeypatch.setattr(install, "install", succeed)
    an_owner.click("installButton")
    assert "Installing msgpack …" in told[0]
    assert _reconnected(an_owner)
    assert not an_owner.ui.installButton.visible
