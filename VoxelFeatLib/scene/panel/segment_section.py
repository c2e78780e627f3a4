"""Section "Segment"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VoxelFeatLib.scene.panel.masking_group import MaskingGroup, segment_editor_node
from VoxelFeatLib.scene.panel.wording import colored, gained_and_lost, state_line

_ICONS = {
    "clickPositiveButton": "ClickPositive",
    "clickNegativeButton": "ClickNegative",
    "scribblePositiveButton": "ScribblePositive",
    "scribbleNegativeButton": "ScribbleNegative",
    "boxButton": "Box",
    "undoButton": "Undo",
    "redoButton": "Redo",
    "clearButton": "Clear",
    "recomputeButton": "Recompute",
    "nextPlaceButton": "NextPlace",
}


class SegmentSection:
    """Chooses segmentation, segment and tool, and shows what clicks do.

    Args:
        ui: The widgets of the panel.
        segment: A SegmentController.
        suggestion: A SuggestionController.
        field: A FieldController.
        icon_path: Returns the file of an icon, by its name without ending.
    """

    def __init__(
        self,
        ui: Any,
        segment: Any,
        suggestion: Any,
        field: Any,
        icon_path: Callable[[str], str],
    ) -> None:
        self._ui = ui
        self._segment = segment
        self._suggestion = suggestion
        self._field = field
        self._message = ""
        self._selecting = False
        self.masking = MaskingGroup(ui)
        for name, icon in _ICONS.items():
            getattr(ui, name).setIcon(qt.QIcon(icon_path(icon)))
        ui.segmentsTable.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self._connect()
        segment.changed.connect(self.update)
        segment.message.connect(self._on_message)
        suggestion.changed.connect(self.update)
        field.changed.connect(self.update)
        self.update()

    def _connect(self) -> None:
        ui, segment = self._ui, self._segment
        ui.segmentsTable.connect(
            "selectionChanged(QItemSelection,QItemSelection)", self._on_selection
        )
        clicked: dict[str, Callable[..., None]] = {
            "addSegmentButton": self.add_segment,
            "removeSegmentButton": self._on_remove,
            "editInSegmentEditorButton": self._on_edit,
            "clickPositiveButton": lambda: self.toggle_place(positive=True),
            "clickNegativeButton": lambda: self.toggle_place(positive=False),
            "scribblePositiveButton": lambda: self.toggle_scribble(positive=True),
            "scribbleNegativeButton": lambda: self.toggle_scribble(positive=False),
            "boxButton": self.toggle_box,
            "undoButton": self.undo,
            "redoButton": self.redo,
            "clearButton": self._on_clear,
            "recomputeButton": self.recompute,
            "nextPlaceButton": self.next_place,
            "showChangeButton": segment.show_last_change,
            "cancelSegmentButton": segment.cancel,
            "startFromCheckBox": self._on_start_from,
        }
        for name, function in clicked.items():
            getattr(ui, name).connect("clicked(bool)", self.said(function))

    def said(self, function: Callable[..., None]) -> Callable[[], None]:
        """Return a slot that does something for the user and says what went wrong."""

        def run() -> None:
            self._message = ""
            try:
                with slicer.util.tryWithErrorDisplay(_("This did not work.")):
                    function()
            finally:
                self.update()  # a checkable button has changed by itself

        return run

    def close(self) -> None:
        """Listen to the controllers no more."""
        self.masking.observe(None)
        self._segment.changed.disconnect(self.update)
        self._segment.message.disconnect(self._on_message)
        self._suggestion.changed.disconnect(self.update)
        self._field.changed.disconnect(self.update)

    # ------------------------------------------------------------------ showing

    def update(self) -> None:
        """Show how it stands."""
        ui, segment = self._ui, self._segment
        clickable = self._field.status.usable
        chosen = bool(segment.segmentation and segment.segment_id)
        ui.segmentsTable.setSegmentationNode(segment.segmentation)
        ui.show3DButton.setSegmentationNode(segment.segmentation)
        self._select_row()
        ui.addSegmentButton.enabled = self._field.volume is not None
        for button in (ui.removeSegmentButton, ui.editInSegmentEditorButton, ui.startFromCheckBox):
            button.enabled = chosen
        for button in self._tools():
            button.enabled = clickable
        ui.clickPositiveButton.checked = segment.placing is True
        ui.clickNegativeButton.checked = segment.placing is False
        ui.scribblePositiveButton.checked = segment.scribbling is True
        ui.scribbleNegativeButton.checked = segment.scribbling is False
        ui.boxButton.checked = segment.box_node is not None
        ui.startFromCheckBox.checked = segment.starts_from_existing
        ui.undoButton.enabled = segment.can_undo
        ui.redoButton.enabled = segment.can_redo
        inside, outside = segment.click_counts(segment.segment_id) if chosen else (0, 0)
        ui.clearButton.enabled = inside + outside > 0
        ui.recomputeButton.enabled = clickable and inside + outside > 0
        ui.segmentProgressBar.visible = segment.busy
        ui.cancelSegmentButton.visible = segment.busy
        ui.showChangeButton.visible = segment.last_change is not None and not segment.busy
        ui.segmentStatusLabel.text = self._status(inside, outside)
        self._show_place(clicked=inside + outside > 0)
        self.masking.set_segmentation(segment.segmentation)

    def _tools(self) -> tuple[Any, ...]:
        ui = self._ui
        return (
            ui.clickPositiveButton,
            ui.clickNegativeButton,
            ui.scribblePositiveButton,
            ui.scribbleNegativeButton,
            ui.boxButton,
        )

    def _status(self, inside: int, outside: int) -> str:
        if self._message:
            return state_line("warning", self._message)
        if self._segment.busy:
            return state_line("busy", _("Updating…"))
        if not inside + outside:
            if not self._field.status.usable:
                return colored("idle", _("Fit a field first."))
            return colored("idle", _("Choose “Inside” and click in a slice."))
        counts = _("{inside} inside, {outside} outside").format(inside=inside, outside=outside)
        change = self._segment.last_change
        if change is None or change.segment_id != self._segment.segment_id:
            return counts
        return f"{counts} · <b>{gained_and_lost(change.added_ml, change.removed_ml)}</b>"

    def _show_place(self, *, clicked: bool) -> None:
        ui, number, count = self._ui, self._suggestion.number, self._suggestion.count
        ui.nextPlaceButton.enabled = count > 0
        if count:
            tip = _("Go to where the segment is most in doubt, and mark it; again: the next. (P)")
        elif not self._field.status.usable:
            tip = _("Fit a field first: it tells where the segment is in doubt.")
        elif self._segment.busy:
            tip = _("The segment is being updated.")
        elif not clicked:
            tip = _("Click in a slice first: places to click next follow from the clicks.")
        elif self._suggestion.known:
            tip = _("Nothing in this segment is much in doubt: there is no place to go to.")
        else:
            tip = _("Press Recompute, or click once more, to learn where the segment is in doubt.")
        ui.nextPlaceButton.toolTip = tip
        place = _("Place {number} of {count}: click inside or outside.")
        shown = state_line("busy", place.format(number=number, count=count)) if number else ""
        ui.placeLabel.text = shown

    def _select_row(self) -> None:
        wanted = self._segment.segment_id
        shown = list(self._ui.segmentsTable.selectedSegmentIDs())
        if wanted and shown != [wanted]:
            self._selecting = True
            try:
                self._ui.segmentsTable.setSelectedSegmentIDs([wanted])
            finally:
                self._selecting = False

    def _on_message(self, text: str) -> None:
        self._message = text
        self.update()

    # ------------------------------------------------------------------ the user

    def _on_selection(self) -> None:
        shown = list(self._ui.segmentsTable.selectedSegmentIDs())
        # Where rows are built anew nothing is selected for a moment.
        if self._selecting or not shown or shown[0] == self._segment.segment_id:
            return
        self._message = ""
        self._segment.select(shown[0])

    def add_segment(self) -> None:
        """Add an empty segment, and a segmentation where there is none."""
        self._segment.add_segment()

    def toggle_place(self, *, positive: bool) -> None:
        """Start or stop placing clicks of one kind."""
        if self._segment.placing is positive:
            self._segment.place(None)
        elif self._ready():
            self._segment.place(positive)

    def toggle_scribble(self, *, positive: bool) -> None:
        """Start or stop scribbling of one kind."""
        if self._segment.scribbling is positive:
            self._segment.scribble(None)
        elif self._ready():
            self._segment.scribble(positive)

    def toggle_box(self) -> None:
        """Show or remove the box."""
        if self._segment.box_node is not None:
            self._segment.set_box(False)
        elif self._ready():
            self._segment.set_box(True)

    def undo(self) -> None:
        """Undo, where there is something."""
        if self._segment.can_undo:
            self._segment.undo()

    def redo(self) -> None:
        """Redo, where there is something."""
        if self._segment.can_redo:
            self._segment.redo()

    def recompute(self) -> None:
        """Make the segment anew."""
        if self._ui.recomputeButton.enabled:
            self._segment.recompute()

    def next_place(self) -> None:
        """Go to the next place where a click is suggested, where there is one."""
        self._suggestion.next()

    def _ready(self) -> bool:
        """Return whether a tool can be used; a segment is made for it where there is none."""
        if not self._field.status.usable:
            return False
        return bool(self._segment.segment_id or self._segment.add_segment())

    def _on_remove(self) -> None:
        self._segment.remove_segment(self._segment.segment_id)

    def _on_clear(self) -> None:
        self._segment.clear()

    def _on_start_from(self) -> None:
        self._segment.start_from_existing(self._ui.startFromCheckBox.checked)

    def _on_edit(self) -> None:
        """Hand segmentation, volume and segment to the Segment Editor by its own node."""
        node = segment_editor_node()
        node.SetAndObserveSegmentationNode(self._segment.segmentation)
        node.SetAndObserveSourceVolumeNode(self._field.volume)
        node.SetSelectedSegmentID(self._segment.segment_id)
        slicer.util.selectModule("SegmentEditor")
