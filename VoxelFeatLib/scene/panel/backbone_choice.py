"""Which backbone the next fit takes, with what it needs, sees and shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelFeatLib.backbones.weights.catalogue import CHECKPOINT_ENDINGS, is_checkpoint_path
from VoxelFeatLib.scene.panel.installing import install_missing

MIRROR_SETTING = "VoxelFeat/WeightsMirror"

# An entry of the box that is no backbone; no name has a space.
_FROM_FILE = "from file"
_SIZES = (256, 512, 768, 1024)
_ENCODINGS = {
    "gray": "the plane, in one window",
    "windows3": "the plane, in three windows",
    "fve1": "the plane and its two neighbours",
}


class BackboneChoice:
    """The boxes for backbone, view encoding and input size.

    Args:
        ui: The widgets of the panel.
        parameters: Returns the parameter node, or None while there is none.
        hello: Returns what the worker told of itself.
        local: Returns whether the worker runs on this computer.
        restart: Has the worker started anew, which then finds what was installed.
        changed: Called after the user has chosen.
    """

    def __init__(
        self,
        ui: Any,
        parameters: Callable[[], Any],
        hello: Callable[[], Mapping[str, Any]],
        *,
        local: Callable[[], bool],
        restart: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._ui = ui
        self._parameters = parameters
        self._hello = hello
        self._local = local
        self._restart = restart
        self._changed = changed
        # `activated` comes from the user only, never from our own filling of the boxes.
        ui.backboneCombo.connect("activated(int)", self._on_backbone)
        ui.encodingCombo.connect("activated(int)", self._on_encoding)
        ui.inputSizeCombo.connect("activated(int)", self._on_input_size)
        ui.backboneInstallButton.connect("clicked(bool)", self._on_install)

    @property
    def name(self) -> str:
        """The backbone's name, or the path of a checkpoint on the worker's machine."""
        return chosen(self._ui.backboneCombo)

    def options(self) -> dict[str, Any]:
        """Return what is chosen beside the name, as `FieldController.fit` takes it."""
        if not self._entry().get("options"):
            return {}
        return {
            "encoding": chosen(self._ui.encodingCombo),
            "input_size": int(chosen(self._ui.inputSizeCombo) or 0),
            "mirror": str(slicer.util.settingsValue(MIRROR_SETTING, "") or "").strip(),
        }

    def why_not(self) -> str:
        """Return why the backbone cannot be used; empty when it can."""
        entry = self._entry()
        return "" if entry.get("available", True) else self._note(entry)

    def fill(self) -> None:
        """Offer what the worker has, and choose what the parameter node says."""
        parameters, hello = self._parameters(), self._hello()
        listed = list(hello.get("backbones", []))
        wanted = parameters.backbone if parameters else ""
        entries = [(b["name"], _label(b), b["reason"]) for b in listed]
        if is_checkpoint_path(wanted):
            entries.append((wanted, PurePath(wanted).name, wanted))
        if any(b.get("options") for b in listed):
            entries.append((_FROM_FILE, _("Weights from file…"), ""))
        fill(self._ui.backboneCombo, entries, wanted)
        if not wanted:
            ready = [b["name"] for b in listed if b["available"] and not b.get("download_bytes")]
            choose(self._ui.backboneCombo, ready[0] if ready else "")
        encodings = [
            (name, name, _(_ENCODINGS.get(name, ""))) for name in hello.get("encodings", [])
        ]
        fill(
            self._ui.encodingCombo,
            [("", _("Automatic"), ""), *encodings],
            parameters and parameters.encoding,
        )
        sizes = [(str(size), _("{size} pixels").format(size=size), "") for size in _SIZES]
        fill(
            self._ui.inputSizeCombo,
            [("", _("Automatic"), _("1024 on a GPU, 512 on a processor")), *sizes],
            str(parameters.input_size) if parameters and parameters.input_size else "",
        )
        self.show()

    def show(self) -> None:
        """Show what the chosen backbone needs, and only what can be chosen of it."""
        ui, entry = self._ui, self._entry()
        note = self._note(entry)
        ui.backboneNoteLabel.text = note
        ui.backboneNoteLabel.visible = bool(note)
        ui.backboneInstallButton.visible = bool(entry.get("missing")) and self._local()
        for name in ("encoding", "inputSize"):
            getattr(ui, f"{name}Label").visible = bool(entry.get("options"))
            getattr(ui, f"{name}Combo").visible = bool(entry.get("options"))

    def _entry(self) -> Mapping[str, Any]:
        """Return what `hello` says of the chosen backbone; empty before it says anything."""
        listed, name = self._hello().get("backbones", []), self.name
        if is_checkpoint_path(name):
            missing: list[str] = next((b["missing"] for b in listed if b.get("options")), [])
            return {"missing": missing, "available": not missing, "options": True}
        return next((entry for entry in listed if entry["name"] == name), {})

    def _note(self, entry: Mapping[str, Any]) -> str:
        if entry.get("missing"):
            names = ", ".join(entry["missing"])
            if self._local():
                return _("To be installed first: {names}.").format(names=names)
            return _("To be installed on the worker's machine: {names}.").format(names=names)
        if entry.get("download_bytes"):
            size = round(entry["download_bytes"] / 1e6)
            return _("The first fit downloads {size} MB of weights.").format(size=size)
        return "" if entry.get("available", True) else str(entry["reason"])

    # ------------------------------------------------------------------ the user

    def _on_backbone(self, _index: int) -> None:
        if self.name == _FROM_FILE:
            self._choose_file()
            return
        self._remember("backbone", self.name)
        self.show()
        self._changed()

    def _choose_file(self) -> None:
        path = self._asked()
        if path:
            self._remember("backbone", path)
        self.fill()  # what was chosen before comes back where there is no path
        self._changed()

    def _asked(self) -> str:
        """Ask for a checkpoint; a worker elsewhere reads its own disk."""
        title = _("Weights of a SAM 2 model")
        if self._local():
            endings = " ".join(f"*{ending}" for ending in CHECKPOINT_ENDINGS)
            return str(
                qt.QFileDialog.getOpenFileName(
                    slicer.util.mainWindow(), title, "", _("Checkpoints") + f" ({endings})"
                )
            )
        path = qt.QInputDialog.getText(
            slicer.util.mainWindow(), title, _("Path of the file on the worker's machine:")
        )
        path = str(path or "").strip()
        if path and not is_checkpoint_path(path):
            slicer.util.errorDisplay(
                _("Enter the path of a file that ends with {endings}.").format(
                    endings=", ".join(CHECKPOINT_ENDINGS)
                )
            )
            return ""
        return path

    def _on_encoding(self, _index: int) -> None:
        self._remember("encoding", chosen(self._ui.encodingCombo))

    def _on_input_size(self, _index: int) -> None:
        self._remember("input_size", int(chosen(self._ui.inputSizeCombo) or 0))

    def _on_install(self) -> None:
        button, label = self._ui.backboneInstallButton, self._ui.backboneNoteLabel
        button.enabled = False
        try:
            if install_missing(lambda line: setattr(label, "text", line), local=True, sam2=True):
                self._restart()  # whose `hello` says that nothing is missing now
        finally:
            button.enabled = True
            self.show()

    def _remember(self, name: str, value: Any) -> None:
        parameters = self._parameters()
        if parameters:
            setattr(parameters, name, value)


def _label(entry: Mapping[str, Any]) -> str:
    if entry.get("missing"):
        return _("{name} (not installed)").format(name=entry["label"])
    if not entry["available"]:
        return _("{name} (not here)").format(name=entry["label"])
    if entry.get("download_bytes"):
        size = round(entry["download_bytes"] / 1e6)
        return _("{name} ({size} MB to download)").format(name=entry["label"], size=size)
    return str(entry["label"])


def fill(combo: Any, choices: list[tuple[str, str, str]], wanted: str | None) -> None:
    """Offer choices (name, label, hint), and choose one if it is among them."""
    combo.clear()
    for index, (name, label, hint) in enumerate(choices):
        combo.addItem(label, name)
        if hint:
            combo.setItemData(index, hint, qt.Qt.ToolTipRole)
    combo.enabled = bool(choices)
    if wanted:
        choose(combo, wanted)


def choose(combo: Any, name: str) -> None:
    """Choose by name; what is not offered changes nothing."""
    index = combo.findData(name) if name else -1
    if index >= 0:
        combo.currentIndex = index


def chosen(combo: Any) -> str:
    """Return the name of what is chosen; empty when nothing is."""
    return str(combo.itemData(combo.currentIndex) or "")
