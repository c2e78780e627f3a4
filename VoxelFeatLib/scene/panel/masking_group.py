"""Group "Masking": the Segment Editor's settings, which clicks respect."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

_TAG = "SegmentEditor"


def segment_editor_node() -> Any:
    """Return the Segment Editor's own parameter node, made when it has never been opened."""
    node = slicer.mrmlScene.GetSingletonNode(_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        node.UnRegister(None)
        node.SetSingletonTag(_TAG)
        node = slicer.mrmlScene.AddNode(node)
    return node


class MaskingGroup:
    """Binds two boxes to the Segment Editor's node, in both directions.

    Args:
        ui: The widgets of the panel.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._node: Any = None
        self._tag = 0
        self._segmentation: Any = None
        modes = slicer.vtkMRMLSegmentationNode
        self._fixed = (
            (_("Everywhere"), modes.EditAllowedEverywhere),
            (_("Inside all segments"), modes.EditAllowedInsideAllSegments),
            (_("Inside all visible segments"), modes.EditAllowedInsideVisibleSegments),
            (_("Outside all segments"), modes.EditAllowedOutsideAllSegments),
            (_("Outside all visible segments"), modes.EditAllowedOutsideVisibleSegments),
        )
        self._shown: list[tuple[str, object]] = []
        editor = slicer.vtkMRMLSegmentEditorNode
        for text, mode in (
            (_("Overwrite all"), editor.OverwriteAllSegments),
            (_("Overwrite visible"), editor.OverwriteVisibleSegments),
            (_("Allow overlap"), editor.OverwriteNone),
        ):
            ui.overwriteCombo.addItem(text, mode)
        ui.maskModeCombo.connect("activated(int)", self._on_mask_mode)
        ui.overwriteCombo.connect("activated(int)", self._on_overwrite)

    def observe(self, node: Any | None) -> None:
        """Bind another Segment Editor node, or none."""
        if node is self._node:
            return
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_modified)
        self.update()

    def set_segmentation(self, segmentation: Any | None) -> None:
        """Offer the segments of a segmentation as areas."""
        self._segmentation = segmentation
        self.update()

    def update(self) -> None:
        """Show what the node says."""
        self._fill()
        if self._node is None:
            return
        mode: object = self._node.GetMaskMode()
        if mode == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment:
            mode = self._node.GetMaskSegmentID() or ""
        values = [value for _text, value in self._shown]
        index = values.index(mode) if mode in values else -1
        self._ui.maskModeCombo.currentIndex = index
        self._ui.overwriteCombo.currentIndex = self._ui.overwriteCombo.findData(
            self._node.GetOverwriteMode()
        )

    def _fill(self) -> None:
        wanted: list[tuple[str, object]] = [*self._fixed]
        if self._segmentation is not None:
            segments = self._segmentation.GetSegmentation()
            for number in range(segments.GetNumberOfSegments()):
                segment = segments.GetNthSegment(number)
                text = _("Inside {segment}").format(segment=segment.GetName())
                wanted.append((text, segments.GetNthSegmentID(number)))
        if wanted != self._shown:
            self._shown = wanted
            self._ui.maskModeCombo.clear()
            self._ui.maskModeCombo.addItems([text for text, _value in wanted])

    def _on_modified(self, _caller: Any, _event: str) -> None:
        self.update()

    def _on_mask_mode(self, index: int) -> None:
        value = self._shown[index][1]
        if isinstance(value, str):
            self._node.SetMaskSegmentID(value)
            value = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
        self._node.SetMaskMode(value)

    def _on_overwrite(self, index: int) -> None:
        self._node.SetOverwriteMode(int(self._ui.overwriteCombo.itemData(index)))
