"""Placing markups points with the mouse, by Slicer's own interaction mode."""

from __future__ import annotations

from typing import Any

import slicer

from VoxelFeatLib.scene.signal import Signal


class Placing:
    """Turns Slicer's persistent place mode on for one markups node at a time.

    Args:
        scene: The vtkMRMLScene.

    Attributes:
        stopped: Emitted when the mode ended by somebody else: Escape, another tool, another node.
    """

    def __init__(self, scene: Any) -> None:
        self.stopped = Signal()
        self._scene = scene
        self._node: Any = None
        self._tag: tuple[Any, int] | None = None

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
        event = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
        self._tag = (interaction, interaction.AddObserver(event, self._on_mode))

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
            self._unwatch()
            self._node = None
            self.stopped.emit()

    def _unwatch(self) -> None:
        if self._tag is not None:
            node, tag = self._tag
            node.RemoveObserver(tag)
            self._tag = None
