"""Section "See features"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from VoxelFeatLib.scene.panel.wording import state_line


class FeaturesSection:
    """Chooses what is laid over the slices.

    Args:
        ui: The widgets of the panel.
        overlay: An OverlayController.
        field: A FieldController.
        parameters: Returns the parameter node, or None while there is none.
    """

    def __init__(self, ui: Any, overlay: Any, field: Any, parameters: Callable[[], Any]) -> None:
        self._ui = ui
        self._overlay = overlay
        self._field = field
        self._parameters = parameters
        self._crosshair: tuple[Any, int] | None = None
        self._radios = {
            "none": ui.overlayNoneRadio,
            "features": ui.overlayFeaturesRadio,
            "similarity": ui.overlaySimilarityRadio,
        }
        for mode, radio in self._radios.items():
            radio.connect("clicked(bool)", self._chooser(mode))
        ui.opacitySlider.connect("valueChanged(double)", self._on_opacity)
        overlay.changed.connect(self.update)
        overlay.message.connect(self._on_message)
        field.changed.connect(self.update)
        self.update()

    def close(self) -> None:
        """Remove the overlay and listen no more."""
        self._watch_cursor(False)
        self._overlay.changed.disconnect(self.update)
        self._overlay.message.disconnect(self._on_message)
        self._field.changed.disconnect(self.update)

    def enter(self) -> None:
        """Show again what was shown when the module was left."""
        self.load_parameters()

    def exit(self) -> None:
        """Leave the slices as they were for other modules."""
        self._overlay.set_mode("none")
        self._watch_cursor(False)

    def load_parameters(self) -> None:
        """Show the choices of another parameter node."""
        parameters = self._parameters()
        if parameters is None:
            return
        self._overlay.set_opacity(float(parameters.overlay_opacity))
        if self._field.status.usable:
            self._set_mode(parameters.overlay)

    def update(self) -> None:
        """Show how it stands."""
        usable = self._field.status.usable
        for mode, radio in self._radios.items():
            radio.enabled = usable or mode == "none"
        self._radios[self._overlay.mode].checked = True
        self._ui.opacitySlider.enabled = self._overlay.mode != "none"

    def _chooser(self, mode: str) -> Callable[[], None]:
        def choose() -> None:
            parameters = self._parameters()
            if parameters is not None:
                parameters.overlay = mode
            self._set_mode(mode)

        return choose

    def _set_mode(self, mode: str) -> None:
        self._ui.overlayStatusLabel.text = ""
        if mode != self._overlay.mode:
            self._overlay.set_mode(mode)
        self._watch_cursor(mode == "similarity")
        self.update()

    def _on_message(self, text: str) -> None:
        self._ui.overlayStatusLabel.text = state_line("warning", text)

    def _on_opacity(self, value: float) -> None:
        self._overlay.set_opacity(float(value))

    def _watch_cursor(self, on: bool) -> None:
        if not on and self._crosshair is not None:
            node, tag = self._crosshair
            node.RemoveObserver(tag)
            self._crosshair = None
        elif on and self._crosshair is None:
            node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
            if node is not None:
                tag = node.AddObserver(node.CursorPositionModifiedEvent, self._on_cursor)
                self._crosshair = (node, tag)

    def _on_cursor(self, node: Any, _event: str) -> None:
        ras = [0.0, 0.0, 0.0]
        if node.GetCursorPositionRAS(ras):
            self._overlay.cursor_moved(tuple(ras))
