"""Section "Volume and field"."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelFeatLib.scene.panel.backbone_choice import BackboneChoice, choose, chosen, fill
from VoxelFeatLib.scene.panel.wording import Tone, progress_format, state_line

_TONES: dict[str, Tone] = {
    "no_volume": "idle",
    "unsuitable": "bad",
    "uploading": "busy",
    "no_field": "idle",
    "fitting": "busy",
    "ready": "good",
    "stale": "warning",
    "error": "bad",
}
_BUSY = frozenset({"uploading", "fitting"})


class FieldSection:
    """Chooses how a volume's field is fitted, and shows how it stands.

    Args:
        ui: The widgets of the panel.
        field: A FieldController.
        link: A WorkerLink, which knows what can be chosen.
        parameters: Returns the parameter node, or None while there is none.
        local: Returns whether the worker runs on this computer.
    """

    def __init__(
        self,
        ui: Any,
        field: Any,
        link: Any,
        parameters: Callable[[], Any],
        *,
        local: Callable[[], bool],
    ) -> None:
        self._ui = ui
        self._field = field
        self._link = link
        self._parameters = parameters
        self._hello: dict[str, Any] | None = None
        self._cached: list[dict[str, Any]] | None = None
        self._cached_menu = qt.QMenu(ui.cachedFieldsButton)
        ui.cachedFieldsButton.setMenu(self._cached_menu)
        ui.fitButton.connect("clicked(bool)", self._on_fit)
        ui.openFieldButton.connect("clicked(bool)", self._on_open)
        ui.saveFieldButton.connect("clicked(bool)", self._on_save)
        self._backbone = BackboneChoice(
            ui,
            parameters,
            lambda: link.hello,
            local=local,
            restart=link.restart,
            changed=self._show_status,
        )
        # `activated` comes from the user only, never from our own filling of the boxes.
        ui.presetCombo.connect("activated(int)", self._on_preset)
        ui.deviceCombo.connect("activated(int)", self._on_device)
        field.changed.connect(self.update)
        link.changed.connect(self.update)
        self.update()

    def close(self) -> None:
        """Listen to the controllers no more."""
        self._field.changed.disconnect(self.update)
        self._link.changed.disconnect(self.update)

    def update(self) -> None:
        """Show how it stands."""
        self._fill_choices()
        self._show_status()
        self._fill_cached()

    def load_parameters(self) -> None:
        """Show the choices of another parameter node."""
        self._hello = None
        self._fill_choices()
        self._show_status()

    # ------------------------------------------------------------------ showing

    def _show_status(self) -> None:
        ui, status = self._ui, self._field.status
        busy = status.kind in _BUSY
        ui.fieldStatusLabel.text = state_line(_TONES[status.kind], status.text)
        ui.agreementLabel.visible = status.agreement is not None
        if status.agreement is not None:
            ui.agreementLabel.text = _("agreement {value}").format(value=f"{status.agreement:.2f}")
        ui.fieldProgressBar.visible = busy
        # Without a fraction the bar runs to and fro.
        ui.fieldProgressBar.maximum = 0 if status.fraction is None else 100
        ui.fieldProgressBar.value = round(100 * (status.fraction or 0.0))
        ui.fieldProgressBar.format = progress_format(status.seconds_left)
        self._show_fit_button(status)
        ui.openFieldButton.enabled = not busy and status.kind not in {"no_volume", "unsuitable"}
        ui.saveFieldButton.enabled = status.kind == "ready"

    def _show_fit_button(self, status: Any) -> None:
        button = self._ui.fitButton
        if status.kind in _BUSY:
            button.text = _("Cancel")
            button.toolTip = _("Stop. What can be used already stays usable.")
            button.enabled = True
            return
        button.text = _("Fit again") if status.kind in {"ready", "stale"} else _("Fit")
        reason = self._why_not(status)
        button.enabled = not reason
        button.toolTip = reason or _(
            "Fit the feature field of this volume. You can click before it has finished."
        )

    def _why_not(self, status: Any) -> str:
        """Return why no fit can be started; empty when it can."""
        if status.kind == "no_volume":
            return _("Choose a volume first.")
        if status.kind == "unsuitable":
            return str(status.text)
        return self._backbone.why_not()

    def _fill_cached(self) -> None:
        if self._cached == self._field.cached:
            return
        self._cached = list(self._field.cached)
        self._cached_menu.clear()
        for entry in self._cached:
            action = self._cached_menu.addAction(_describe(entry))
            action.toolTip = str(entry["path"])
            action.connect("triggered(bool)", self._user_of(str(entry["path"])))
        self._ui.cachedFieldsButton.enabled = bool(self._cached)

    def _user_of(self, path: str) -> Callable[[], None]:
        return lambda: self._field.use_cached(path)

    # ------------------------------------------------------------------ the choices

    def _fill_choices(self) -> None:
        hello = self._link.hello
        if hello == self._hello:
            return
        self._hello = dict(hello)
        parameters = self._parameters()
        devices = [(d["name"], d["label"], "") for d in hello.get("devices", [])]
        fill(self._ui.deviceCombo, devices, parameters and parameters.device)
        if not (parameters and parameters.device):
            choose(self._ui.deviceCombo, hello.get("default_device", ""))
        self._backbone.fill()
        presets = [(p["name"], p["name"], p["summary"]) for p in hello.get("presets", [])]
        fill(self._ui.presetCombo, presets, parameters and parameters.preset)
        self._follow_device()

    def _follow_device(self) -> None:
        """Choose the preset that fits the device, unless the user has chosen one."""
        parameters = self._parameters()
        if parameters and parameters.preset:
            return
        defaults = self._link.hello.get("default_preset", {})
        choose(self._ui.presetCombo, defaults.get(chosen(self._ui.deviceCombo), ""))

    # ------------------------------------------------------------------ the user

    def _on_preset(self, _index: int) -> None:
        self._remember("preset", self._ui.presetCombo)

    def _on_device(self, _index: int) -> None:
        self._remember("device", self._ui.deviceCombo)
        self._follow_device()

    def _remember(self, name: str, combo: Any) -> None:
        parameters = self._parameters()
        if parameters:
            setattr(parameters, name, chosen(combo))

    def _on_fit(self) -> None:
        if self._field.status.kind in _BUSY:
            self._field.cancel()
            return
        with slicer.util.tryWithErrorDisplay(_("The fit could not be started.")):
            self._field.fit(
                self._backbone.name,
                chosen(self._ui.presetCombo),
                chosen(self._ui.deviceCombo),
                **self._backbone.options(),
            )

    def _on_open(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Open field"), "", _("VoxelFeat fields (*.voxelfeat)")
        )
        if path:
            with slicer.util.tryWithErrorDisplay(_("The field could not be opened.")):
                self._field.load(str(path))

    def _on_save(self) -> None:
        name = f"{self._field.volume.GetName()}.voxelfeat" if self._field.volume else ""
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save field"), name, _("VoxelFeat fields (*.voxelfeat)")
        )
        if not path:
            return
        target = Path(str(path))
        if not target.suffix:
            target = target.with_suffix(".voxelfeat")
        with slicer.util.tryWithErrorDisplay(_("The field could not be saved.")):
            self._field.save(str(target), self._saved)

    def _saved(self, problem: str) -> None:
        if problem:
            slicer.util.errorDisplay(problem)
        else:
            slicer.util.showStatusMessage(_("The field was saved."), 3000)


def _describe(entry: dict[str, Any]) -> str:
    words = [str(entry.get(key) or "") for key in ("backbone", "encoding", "preset")]
    if entry.get("mean_cosine") is not None:
        words.append(_("agreement {value}").format(value=f"{entry['mean_cosine']:.2f}"))
    if entry.get("finished"):
        words.append(time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["finished"])))
    return " · ".join(word for word in words if word)
