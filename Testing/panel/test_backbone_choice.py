"""Backbone, view encoding and input size, chosen as a person would."""

from __future__ import annotations

import pytest
from panel.fakes import EQUIPPED, HELLO


@pytest.fixture
def an_owner(a_person, a_volume):
    """Somebody with a volume, whose worker has everything, and who has opened Advanced."""
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.ui.fieldAdvancedGroup.collapsed = False
    a_person.link.show(state="ready", hello=EQUIPPED)
    return a_person


def _offered(combo):
    return [combo.itemText(row) for row in range(combo.count)]


def _last_fit(person):
    person.click("fitButton")
    return person.field.calls[-1]


def test_what_each_backbone_needs_is_told(an_owner):
    ui = an_owner.ui
    assert _offered(ui.backboneCombo) == [
        "Filters",
        "SAM 2.1 tiny (156 MB to download)",
        "SAM 2.1 large",
        "Weights from file…",
    ]
    assert not ui.backboneNoteLabel.visible
    an_owner.choose("backboneCombo", "SAM 2.1 tiny (156 MB to download)")
    assert ui.backboneNoteLabel.text == "The first fit downloads 156 MB of weights."
    assert not ui.backboneInstallButton.visible
    an_owner.open_section("field")
    an_owner.photograph("advanced")
    an_owner.choose("backboneCombo", "SAM 2.1 large")
    assert not ui.backboneNoteLabel.visible


def test_filters_have_nothing_more_to_choose(an_owner):
    ui = an_owner.ui
    assert not ui.encodingCombo.visible
    assert not ui.inputSizeLabel.visible
    assert _last_fit(an_owner) == ("fit", "filters", "balanced", "cuda:0", 0)


def test_encoding_and_size_are_chosen_and_kept(an_owner):
    import qt

    qt.QSettings().setValue("VoxelFeat/WeightsMirror", " https://mirror.example/sam2 ")
    an_owner.choose("backboneCombo", "SAM 2.1 large")
    defaults = {"encoding": "", "input_size": 0, "mirror": "https://mirror.example/sam2"}
    assert _last_fit(an_owner) == ("fit", "sam2.1-large", "balanced", "cuda:0", 0, defaults)
    an_owner.choose("encodingCombo", "fve1")
    an_owner.choose("inputSizeCombo", "512 pixels")
    assert _last_fit(an_owner)[-1] == defaults | {"encoding": "fve1", "input_size": 512}
    parameters = an_owner.parameters
    assert (parameters.backbone, parameters.encoding) == ("sam2.1-large", "fve1")
    assert parameters.input_size == 512
    # A worker that starts anew offers the same, and what was chosen stays.
    an_owner.link.show(hello={})
    an_owner.link.show(hello=EQUIPPED | {"pid": 2})
    assert _last_fit(an_owner)[1] == "sam2.1-large"
    assert _last_fit(an_owner)[-1] == defaults | {"encoding": "fve1", "input_size": 512}
    an_owner.choose("encodingCombo", "Automatic")
    an_owner.choose("inputSizeCombo", "Automatic")
    assert _last_fit(an_owner)[-1] == defaults


def test_weights_of_ones_own(an_owner, monkeypatch):
    import qt

    file = "/data/medical sam.pt"
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: file)
    an_owner.choose("backboneCombo", "Weights from file…")
    assert an_owner.ui.backboneCombo.currentText == "medical sam.pt"
    assert an_owner.parameters.backbone == file
    assert an_owner.ui.encodingCombo.visible
    assert _last_fit(an_owner)[1] == file
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "")
    an_owner.choose("backboneCombo", "Weights from file…")
    assert an_owner.ui.backboneCombo.currentText == "medical sam.pt"


def test_a_remote_worker_reads_weights_from_its_own_disk(an_owner, monkeypatch, the_messages):
    import qt

    qt.QSettings().setValue("VoxelFeat/RemoteCommand", "ssh gpu-box voxelfeat worker")
    answers = ["/data/readme.txt", "/data/mine.pt"]
    monkeypatch.setattr(qt.QInputDialog, "getText", lambda *_: answers.pop(0))
    an_owner.choose("backboneCombo", "Weights from file…")
    assert the_messages == ["Enter the path of a file that ends with .pt, .pth, .safetensors."]
    assert an_owner.ui.backboneCombo.currentText == "Filters"
    an_owner.choose("backboneCombo", "Weights from file…")
    assert _last_fit(an_owner)[1] == "/data/mine.pt"


@pytest.fixture
def somebody_without(an_owner):
    """The same without sam2, who has chosen it."""
    an_owner.link.show(hello=HELLO)
    an_owner.choose("backboneCombo", "SAM 2.1 tiny (not installed)")
    return an_owner


def test_what_is_not_installed_is_told(somebody_without):
    ui = somebody_without.ui
    assert ui.backboneNoteLabel.text == "To be installed first: sam2, hydra-core."
    assert ui.backboneInstallButton.visible
    assert not ui.fitButton.enabled
    assert ui.fitButton.toolTip == "To be installed first: sam2, hydra-core."
    somebody_without.photograph("backbone-install")


def test_it_is_installed_after_asking(somebody_without, monkeypatch, the_messages):
    from VoxelFeatLib.scene.application import install, pip

    asked = []
    monkeypatch.setattr(install, "plan", lambda **wanted: [asked.append(wanted)])

    def fail(_steps, _progress):
        raise pip.InstallError("pip could not install sam2.", "Look at the network.", "log")

    monkeypatch.setattr(install, "install", fail)
    somebody_without.click("backboneInstallButton")
    assert asked == [{"local": True, "sam2": True}]
    assert the_messages == ["pip could not install sam2. Look at the network."]
    assert "To be installed first" in somebody_without.ui.backboneNoteLabel.text
    told = []

    def succeed(_steps, progress):
        progress("Installing sam2 …")
        told.append(somebody_without.ui.backboneNoteLabel.text)

    monkeypatch.setattr(install, "install", succeed)
    somebody_without.click("backboneInstallButton")
    assert told == ["Installing sam2 …"]
    assert somebody_without.link.calls[-1] == ("restart",)
    somebody_without.link.show(hello=EQUIPPED)
    assert not somebody_without.ui.backboneInstallButton.visible
    assert somebody_without.ui.fitButton.enabled


def test_what_was_installed_since_the_worker_started_needs_only_another_start(
    somebody_without, monkeypatch
):
    from VoxelFeatLib.scene.application import install

    monkeypatch.setattr(install, "plan", lambda **_: [])
    somebody_without.click("backboneInstallButton")
    assert somebody_without.link.calls[-1] == ("restart",)


def test_on_a_remote_worker_its_owner_installs(somebody_without):
    import qt

    qt.QSettings().setValue("VoxelFeat/RemoteCommand", "ssh gpu-box voxelfeat worker")
    somebody_without.link.show(hello=HELLO | {"pid": 2})
    ui = somebody_without.ui
    assert not ui.backboneInstallButton.visible
    assert ui.fitButton.toolTip == "To be installed on the worker's machine: sam2, hydra-core."


def test_weights_that_are_damaged_are_told(an_owner):
    broken = EQUIPPED["backbones"][2] | {"available": False, "reason": "It has 3 bytes: remove it."}
    an_owner.link.show(hello=EQUIPPED | {"backbones": [EQUIPPED["backbones"][0], broken]})
    an_owner.choose("backboneCombo", "SAM 2.1 large (not here)")
    assert an_owner.ui.backboneNoteLabel.text == "It has 3 bytes: remove it."
    assert not an_owner.ui.fitButton.enabled
