"""Section "Worker"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.scene.application import install
from VoxelFeatLib.scene.panel.installing import install_missing
from VoxelFeatLib.scene.panel.wording import Tone, state_line

SETTING = "VoxelFeat/RemoteCommand"

_TONES: dict[str, Tone] = {
    "stopped": "idle",
    "starting": "busy",
    "ready": "good",
    "failed": "bad",
}


def remote_command() -> str:
    """Return the command that the user has entered; empty for this computer."""
    return str(slicer.util.settingsValue(SETTING, "") or "")


def missing() -> str:
    """Say in one sentence what has to be installed first; empty when nothing."""
    return install.missing_sentence(local=not remote_command())


class WorkerSection:
    """Shows the worker, and where it runs.

    Args:
        ui: The widgets of the panel.
        link: A WorkerLink.
        check_command: Raises VoxelFeatError where a command cannot be used.
        reconnect: Has the worker started by the command that is set now.
    """

    def __init__(
        self,
        ui: Any,
        link: Any,
        check_command: Callable[[str], object],
        reconnect: Callable[[], None],
    ) -> None:
        self._ui = ui
        self._link = link
        self._check_command = check_command
        self._reconnect = reconnect
        self._missing = ""
        self._refused = ""
        ui.remoteCommandEdit.text = remote_command()
        ui.restartWorkerButton.connect("clicked(bool)", self._on_restart)
        ui.showLogButton.connect("toggled(bool)", self._on_show_log)
        ui.installButton.connect("clicked(bool)", self._on_install)
        ui.remoteCommandEdit.connect("editingFinished()", self._on_command)
        link.changed.connect(self.update)
        self.check()

    def close(self) -> None:
        """Listen to the worker no more."""
        self._link.changed.disconnect(self.update)

    def check(self) -> None:
        """Look for what is missing; a worker elsewhere needs nothing here but the protocol."""
        self._missing = missing()
        if self._missing:
            self._ui.workerSection.collapsed = False
        self.update()

    def update(self) -> None:
        """Show how it stands."""
        ui = self._ui
        ui.workerStatusLabel.text = self._status()
        ui.installButton.visible = bool(self._missing)
        ui.restartWorkerButton.text = _("Start") if self._link.state == "stopped" else _("Restart")
        if ui.showLogButton.checked:
            self._show_log()

    def _status(self) -> str:
        if self._missing:
            return state_line("warning", self._missing)
        if self._refused:
            return state_line("bad", self._refused)
        state, message = self._link.state, self._link.message
        if state == "ready":
            text = message or self._describe()
        else:
            words = {
                "stopped": _("Not running."),
                "starting": message or _("Starting…"),
                "failed": message or _("The worker could not be started."),
            }
            text = words[state]
        return state_line(_TONES[state], text)

    def _describe(self) -> str:
        """Return what runs where, for example "Running on gpu-box: torch 2.7, NVIDIA …"."""
        hello = self._link.hello
        devices = ", ".join(device["label"] for device in hello.get("devices", []))
        where = _("on {host}").format(host=hello["host"]) if remote_command() else ""
        parts = [
            _("Running {where}").format(where=where).strip(),
            f"torch {hello['torch']}" if hello.get("torch") else "",
            devices,
        ]
        return " · ".join(part for part in parts if part)

    def _show_log(self) -> None:
        self._ui.logView.setPlainText(self._link.log())
        bar = self._ui.logView.verticalScrollBar()
        bar.value = bar.maximum

    # ------------------------------------------------------------------ the user

    def _on_restart(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The worker could not be started.")):
            if self._link.state == "stopped":
                self._link.start()
            else:
                self._link.restart()

    def _on_show_log(self, checked: bool) -> None:
        self._ui.logView.visible = checked
        if checked:
            self._show_log()

    def _on_command(self) -> None:
        command = str(self._ui.remoteCommandEdit.text).strip()
        self._refused = self._why_not(command)
        if self._refused or command == remote_command():
            self.update()
            return
        qt.QSettings().setValue(SETTING, command)
        self._reconnect()
        self.update()

    def _why_not(self, command: str) -> str:
        """Return why a command cannot be used; empty when it can."""
        # Not in a dialog: it takes the focus, with which the editing is finished once more.
        try:
            if command:
                self._check_command(command)
        except VoxelFeatError as error:
            return str(error)
        return ""

    def _on_install(self) -> None:
        self._ui.installButton.enabled = False
        self._ui.installProgressBar.visible = True
        try:
            if install_missing(self._tell, local=not remote_command()):
                self._missing = ""
                self._reconnect()
        finally:
            self._ui.installButton.enabled = True
            self._ui.installProgressBar.visible = False
            self.check()

    def _tell(self, line: str) -> None:
        self._ui.workerStatusLabel.text = state_line("busy", line)
