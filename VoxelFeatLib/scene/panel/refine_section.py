"""Section "Refine"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from VoxelFeatLib.scene.nodes import segmentations
from VoxelFeatLib.scene.panel.wording import milliliters, progress_format, state_line


class RefineSection:
    """Chooses a coarse mask and refines it.

    Args:
        ui: The widgets of the panel.
        refine: A RefineController.
        field: A FieldController.
        segment: A SegmentController, whose segmentation receives what has no other.
        parameters: Returns the parameter node, or None while there is none.
    """

    def __init__(
        self, ui: Any, refine: Any, field: Any, segment: Any, parameters: Callable[[], Any]
    ) -> None:
        self._ui = ui
        self._refine = refine
        self._field = field
        self._segment = segment
        self._parameters = parameters
        self._looking_for: str | None = None
        ui.refineModeCombo.addItem(_("Stay close to the source"), "prior")
        ui.refineModeCombo.addItem(_("Features only"), "paper")
        ui.refineSourceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_source)
        ui.refineSegmentCombo.connect("activated(int)", self._remember)
        ui.refineModeCombo.connect("activated(int)", self._remember)
        ui.coarseSpinBox.connect("valueChanged(double)", self._remember)
        ui.refineButton.connect("clicked(bool)", self._on_refine)
        refine.changed.connect(self.update)
        field.changed.connect(self.update)
        self.update()

    def close(self) -> None:
        """Listen to the controllers no more."""
        self._looking_for = None
        self._refine.changed.disconnect(self.update)
        self._field.changed.disconnect(self.update)

    def load_parameters(self) -> None:
        """Show the choices of another parameter node."""
        parameters = self._parameters()
        if parameters is None:
            return
        ui, chosen = self._ui, parameters.refine_segment
        mode, coarse_mm = parameters.refine_mode, parameters.coarse_mm
        ui.refineSourceSelector.setCurrentNode(parameters.refine_source)
        self._fill_segments(chosen)
        ui.refineModeCombo.currentIndex = max(0, ui.refineModeCombo.findData(mode))
        ui.coarseSpinBox.value = coarse_mm
        self.update()

    def update(self) -> None:
        """Show how it stands."""
        ui = self._ui
        status = self._refine.status
        busy = status.busy
        ui.refineProgressBar.visible = busy
        ui.refineProgressBar.value = round(100 * (status.fraction or 0.0))
        ui.refineProgressBar.format = progress_format(status.seconds_left)
        reason = "" if busy else self._why_not()
        ui.refineButton.text = _("Cancel") if busy else _("Refine")
        ui.refineButton.enabled = not reason
        ui.refineButton.toolTip = reason or (
            _("Stop the refinement.")
            if busy
            else _("Refine the chosen segment; the result becomes a new segment beside it.")
        )
        ui.refineStatusLabel.text = self._line(status)

    def _why_not(self) -> str:
        if not self._field.status.usable:
            return _("Fit a field first.")
        if self._ui.refineSegmentCombo.count == 0:
            return _("Choose a coarse segmentation or labelmap that contains something.")
        return ""

    def _line(self, status: Any) -> str:
        if status.busy or status.failed:
            return state_line("busy" if status.busy else "bad", status.text)
        result = self._refine.result
        if result is None:
            return state_line("idle", status.text) if status.text else ""
        change = milliliters(result.refined_ml - result.coarse_ml, signed=True)
        before_after = f"{milliliters(result.coarse_ml)} → {milliliters(result.refined_ml)}"
        return state_line("good", f"{before_after} ({change})")

    def _fill_segments(self, chosen: str = "") -> None:
        combo, source = self._ui.refineSegmentCombo, self._ui.refineSourceSelector.currentNode()
        combo.clear()
        combo.enabled = False
        self._looking_for = None
        if source is None:
            return
        if source.IsA("vtkMRMLSegmentationNode"):
            segments = source.GetSegmentation()
            for name in segmentations.segment_ids(source):
                combo.addItem(segments.GetSegment(name).GetName(), name)
            self._select(chosen)
        else:
            self._looking_for = chosen
            self._refine.find_labels(source, lambda labels: self._add_labels(source, labels))

    def _add_labels(self, source: Any, labels: list[int]) -> None:
        """Show the labels of the source, which are told a moment after it was chosen."""
        ui, chosen = self._ui, self._looking_for
        if chosen is None or source is not ui.refineSourceSelector.currentNode():
            return
        self._looking_for = None
        for label in labels:
            ui.refineSegmentCombo.addItem(_label_text(source, label), str(label))
        self._select(chosen)
        self._remember()
        self.update()

    def _select(self, chosen: str) -> None:
        combo = self._ui.refineSegmentCombo
        combo.enabled = combo.count > 0
        if chosen and combo.findData(chosen) >= 0:
            combo.currentIndex = combo.findData(chosen)

    # ------------------------------------------------------------------ the user

    def _on_source(self) -> None:
        self._fill_segments()
        self._remember()
        self.update()

    def _remember(self) -> None:
        parameters, ui = self._parameters(), self._ui
        if parameters is None:
            return
        with slicer.util.NodeModify(parameters):
            parameters.refine_source = ui.refineSourceSelector.currentNode()
            chosen = self._looking_for or self._chosen(ui.refineSegmentCombo)
            parameters.refine_segment = chosen
            parameters.refine_mode = self._chosen(ui.refineModeCombo)
            parameters.coarse_mm = float(ui.coarseSpinBox.value)

    def _chosen(self, combo: Any) -> str:
        return str(combo.itemData(combo.currentIndex) or "")

    def _on_refine(self) -> None:
        if self._refine.status.busy:
            self._refine.cancel()
            return
        ui = self._ui
        source = ui.refineSourceSelector.currentNode()
        is_segmentation = source.IsA("vtkMRMLSegmentationNode")
        chosen = self._chosen(ui.refineSegmentCombo)
        with slicer.util.tryWithErrorDisplay(_("The refinement could not be started.")):
            self._refine.refine(
                source,
                chosen if is_segmentation else int(chosen),
                source if is_segmentation else self._target(),
                self._chosen(ui.refineModeCombo),
                float(ui.coarseSpinBox.value) or None,
            )

    def _target(self) -> Any:
        """Return the segmentation that receives what comes from a labelmap."""
        if self._segment.segmentation is None:
            node = segmentations.new_segmentation(slicer.mrmlScene, self._field.volume)
            self._segment.set_segmentation(node)
        return self._segment.segmentation


def _label_text(labelmap: Any, label: int) -> str:
    """Return a label's name in its colour table, or the number."""
    display = labelmap.GetDisplayNode()
    colors = display.GetColorNode() if display is not None else None
    name = colors.GetColorName(label) if colors is not None else ""
    return f"{label} · {name}" if name and name != "(none)" else str(label)
