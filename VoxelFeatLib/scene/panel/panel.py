"""The panel as a whole: its sections, bound to the controllers and to the parameter node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import vtk

from VoxelFeatLib.scene.panel.features_section import FeaturesSection
from VoxelFeatLib.scene.panel.field_section import FieldSection
from VoxelFeatLib.scene.panel.masking_group import segment_editor_node
from VoxelFeatLib.scene.panel.refine_section import RefineSection
from VoxelFeatLib.scene.panel.segment_section import SegmentSection
from VoxelFeatLib.scene.panel.shortcuts import Shortcuts, segment_actions
from VoxelFeatLib.scene.panel.worker_section import WorkerSection, remote_command

# What the user has chosen among the scene's nodes.
_CHOSEN = ("volume", "segmentation", "refine_source")


@dataclass(frozen=True)
class Controllers:
    """What the panel drives; see `VoxelFeatLib.scene` for each."""

    link: Any
    field: Any
    segment: Any
    suggestion: Any
    refine: Any
    overlay: Any

    def close(self) -> None:
        """Stop the worker and listen to nothing any more, those that need the others first."""
        on_link = (self.overlay, self.refine, self.suggestion, self.segment, self.field)
        for controller in (*on_link, self.link):
            controller.close()


class Panel:
    """Binds widgets, controllers and parameter node.

    The user's choices go from the widgets to the parameter node and from there to the controllers,
    which is the way they take when a scene is opened, too.

    Args:
        ui: The widgets of the panel.
        controllers: What they drive.
        check_command: Raises VoxelFeatError where a remote command cannot be used.
        reconnect: Has the worker started by the command that is set now.
        icon_path: Returns the file of an icon, by its name without ending.
    """

    def __init__(
        self,
        ui: Any,
        controllers: Controllers,
        *,
        check_command: Callable[[str], object],
        reconnect: Callable[[], None],
        icon_path: Callable[[str], str],
    ) -> None:
        self._ui = ui
        self._controllers = controllers
        self._parameters: Any = None
        self._gui_tag: int | None = None
        self._observed: list[tuple[Any, int]] = []
        self._following = False
        field, segment = controllers.field, controllers.segment
        current = lambda: self._parameters  # noqa: E731
        self._field_section = FieldSection(
            ui,
            field,
            controllers.link,
            current,
            local=lambda: not remote_command(),
        )
        self._segment_section = SegmentSection(
            ui, segment, controllers.suggestion, field, icon_path
        )
        self._refine_section = RefineSection(ui, controllers.refine, field, segment, current)
        self._features_section = FeaturesSection(ui, controllers.overlay, field, current)
        self._worker_section = WorkerSection(ui, controllers.link, check_command, reconnect)
        self._shortcuts = Shortcuts(ui.shortcutsLabel, segment_actions(self._segment_section))
        field.changed.connect(self._remember_field)
        segment.changed.connect(self._remember_segment)

    @property
    def parameters(self) -> Any:
        """The parameter node in use, or None."""
        return self._parameters

    def enter(self) -> None:
        """The module is shown."""
        self._shortcuts.install()
        self._worker_section.check()
        self._features_section.enter()

    def exit(self) -> None:
        """Another module is shown: leave mouse, keys and slices to it."""
        self._shortcuts.remove()
        self._controllers.segment.place(None)
        self._controllers.segment.scribble(None)
        self._controllers.suggestion.clear()
        self._features_section.exit()

    def close(self) -> None:
        """Let go of everything."""
        self._shortcuts.remove()
        self.set_parameters(None)
        self._controllers.field.changed.disconnect(self._remember_field)
        self._controllers.segment.changed.disconnect(self._remember_segment)
        for section in (
            self._field_section,
            self._segment_section,
            self._refine_section,
            self._features_section,
            self._worker_section,
        ):
            section.close()

    # ------------------------------------------------------------------ the parameter node

    def set_parameters(self, parameters: Any | None) -> None:
        """Bind another parameter node, or none."""
        self.suspend()
        self._parameters = parameters
        if parameters is None:
            self._segment_section.masking.observe(None)
            self._controllers.overlay.set_mode("none")
            self._controllers.segment.set_segmentation(None)
            self._controllers.segment.set_editor_node(None)
            self._controllers.field.set_volume(None)
            return
        self._gui_tag = parameters.connectGui(self._ui)
        scene = parameters.parameterNode.GetScene()
        for subject, event, call, priority in (
            (parameters, vtk.vtkCommand.ModifiedEvent, self._on_modified, 0.0),
            (scene, scene.NodeAboutToBeRemovedEvent, self._on_leaving, 0.0),
            # After those that clean up behind a node of theirs.
            (scene, scene.NodeRemovedEvent, self._on_modified, -1.0),
        ):
            self._observed.append((subject, subject.AddObserver(event, call, priority)))
        self._apply()

    def suspend(self) -> None:
        """Bind no parameter node for a while; what runs goes on."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._gui_tag)
            for subject, tag in self._observed:
                subject.RemoveObserver(tag)
            self._observed.clear()
            self._parameters = None

    def _apply(self) -> None:
        """Bring the controllers to what the parameter node says, and show it."""
        editor = segment_editor_node()
        self._controllers.segment.set_editor_node(editor)
        self._segment_section.masking.observe(editor)
        self._follow()
        self._field_section.load_parameters()
        self._refine_section.load_parameters()
        self._features_section.load_parameters()

    def _on_modified(self, _caller: Any, _event: str) -> None:
        self._follow()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_leaving(self, _scene: Any, _event: str, node: Any) -> None:
        """Have nothing chosen where a node is deleted: Slicer's selectors would choose another.

        The controllers follow when it is gone.
        """
        self._following = True
        try:
            for name in _CHOSEN:
                if getattr(self._parameters, name) is node:
                    setattr(self._parameters, name, None)
        finally:
            self._following = False

    def _follow(self) -> None:
        """Hand volume, segmentation and switches on; what they have already changes nothing."""
        if self._following:
            return
        self._following = True
        try:
            self._hand_on()
        finally:
            self._following = False

    def _hand_on(self) -> None:
        parameters, field = self._parameters, self._controllers.field
        segment = self._controllers.segment
        if parameters.volume is not field.volume:
            if field.volume is not None:
                parameters.field_path = ""  # that of the volume before
            field.set_volume(parameters.volume, parameters.field_path)
        if parameters.segmentation is not segment.segmentation:
            segment.set_segmentation(parameters.segmentation)
        chosen = parameters.segment_id
        if chosen and chosen != segment.segment_id and self._has_segment(chosen):
            segment.select(chosen)
        if segment.locality != parameters.locality:
            segment.locality = parameters.locality

    def _has_segment(self, segment_id: str) -> bool:
        node = self._parameters.segmentation
        return node is not None and node.GetSegmentation().GetSegment(segment_id) is not None

    def _remember_field(self) -> None:
        parameters, field = self._parameters, self._controllers.field
        if parameters is None or field.volume is not parameters.volume:
            return
        if field.field_path and parameters.field_path != field.field_path:
            parameters.field_path = field.field_path

    def _remember_segment(self) -> None:
        parameters, segment = self._parameters, self._controllers.segment
        if parameters is None or segment.segmentation is None or self._following:
            return
        if segment.segmentation.GetScene() is None:
            return  # just deleted: the parameter node has let go of it already
        if parameters.segmentation is not segment.segmentation:
            parameters.segmentation = segment.segmentation  # a tool has made one
        if segment.segment_id and parameters.segment_id != segment.segment_id:
            parameters.segment_id = segment.segment_id
