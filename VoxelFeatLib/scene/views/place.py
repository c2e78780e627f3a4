"""Placing markups points with the mouse, by Slicer's own interaction mode."""

from __future__ import annotations

from typing import Any

import vtk

from VoxelFeatLib.scene.nodes import markups
from VoxelFeatLib.scene.signal import Signal


class Placing:
    """Turns Slicer's persistent place mode on for one markups node at a time.

    Args:
        scene: The vtkMRMLScene.

    Attributes:
        stopped: Emitted when somebody else ended it: Escape, another tool, another node to place
            points into, or the node was deleted.
    """

    def __init__(self, scene: Any) -> None:
        self.stopped = Signal()
        self._scene = scene
        self._node: Any = None
        self._tags: list[tuple[Any, int]] = []

    @property
    def node(self) -> Any:
        """The node that gets the points; None while nothing is placed."""
        return self._node

    def start(self, node: Any) -> None:
        """Have clicks in any view add points to a node, until stopped."""
        interaction, selection = self._singletons()
        if interaction is None or selection is None:
            return
        self._unwatch()
        self._node = node
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SwitchToPersistentPlaceMode()
        for subject, event, call in (
            (interaction, interaction.InteractionModeChangedEvent, self._on_mode),
            (selection, selection.ActivePlaceNodeIDChangedEvent, self._on_place_node),
            (self._scene, self._scene.NodeRemovedEvent, self._on_node_removed),
        ):
            self._tags.append((subject, subject.AddObserver(event, call)))

    def stop(self) -> None:
        """Have the mouse do again what it does without."""
        if self._node is None:
            return
        self._unwatch()
        self._node = None
        interaction, _ = self._singletons()
        if interaction is not None:
            interaction.SwitchToViewTransformMode()

    def close(self) -> None:
        """Stop, and tell nobody any more."""
        self.stop()
        self.stopped.clear()

    def _singletons(self) -> tuple[Any, Any]:
        return (
            self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton"),
            self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton"),
        )

    def _on_mode(self, interaction: Any, _event: str) -> None:
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            self._ended()

    def _on_place_node(self, selection: Any, _event: str) -> None:
        active = selection.GetActivePlaceNodeID()
        if self._node is None or active == self._node.GetID():
            return
        if markups.is_own(self._scene.GetNodeByID(active or "")):
            # Slicer gives the mouse to every markups node that comes into the scene: not to these.
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetReferenceActivePlaceNodeID(self._node.GetID())
        else:
            self._ended()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, _scene: Any, _event: str, node: Any) -> None:
        if node is self._node:
            # Still placing, Slicer would make a node of its own for the next click.
            self.stop()
            self.stopped.emit()

    def _ended(self) -> None:
        self._unwatch()
        self._node = None
        self.stopped.emit()

    def _unwatch(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()
