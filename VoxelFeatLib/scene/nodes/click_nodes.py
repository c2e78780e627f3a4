"""The clicks and scribbles of a segmentation's segments, kept in markups nodes of the scene.

Each segment has one node of positive and one of negative clicks, and one node for each scribble.
The scene is the only place where they are kept: what the user drags, deletes, undoes or loads
is what counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.scene.nodes import markups
from VoxelFeatLib.scene.nodes.scribbles import Scribble, thinned, voxel_positions
from VoxelFeatLib.scene.nodes.volume_nodes import (
    geometry_of,
    local_from_world,
    moved,
    world_from_local,
)
from VoxelFeatLib.scene.signal import Signal

# Two transforms and back change a position by rounding only.
_SAME_MM = 1e-5


@dataclass(frozen=True)
class ClickState:
    """All clicks and scribbles of a segment, in the volume's own space, mm.

    Attributes:
        positive: Positions of the positive clicks.
        negative: Positions of the negative clicks.
        scribbles: The strokes, oldest first.
    """

    positive: tuple[Position, ...] = ()
    negative: tuple[Position, ...] = ()
    scribbles: tuple[Scribble, ...] = ()

    def same(self, other: ClickState) -> bool:
        """Whether both differ by rounding at most."""
        return _same(self.positive, other.positive) and (
            _same(self.negative, other.negative)
            and [s.positive for s in self.scribbles] == [s.positive for s in other.scribbles]
            and all(
                _same(mine.points, others.points)
                for mine, others in zip(self.scribbles, other.scribbles, strict=True)
            )
        )


class ClickNodes:
    """The clicks of a segmentation's segments, told in a volume's own space.

    Args:
        segmentation_node: Whose segments are clicked; clicks found in its scene are taken over.
        volume_node: The volume that is segmented.

    Attributes:
        changed: Emitted with a segment's ID when its clicks are not what they were: placed, moved,
            deleted, restored by ``set_state``, loaded, or moved against the volume by transforms;
            and once more at the end of each drag.
        drag: The number of the drag, from 1 on, while the user drags a click; else 0.
    """

    def __init__(
        self,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
    ) -> None:
        self.changed = Signal()
        self.drag = 0
        self._drags = 0
        self.segmentation_node = segmentation_node
        self.volume_node = volume_node
        self._scene = segmentation_node.GetScene()
        self._told: dict[str, ClickState] = {}
        self._quiet = 0
        self._watched: dict[str, tuple[Any, list[int]]] = {}
        self._names: dict[str, str] = {}
        self._observers: list[tuple[Any, int]] = []
        scene, transformable = slicer.vtkMRMLScene, slicer.vtkMRMLTransformableNode
        for subject, event, call in (
            (self._scene, scene.NodeRemovedEvent, self._on_node_removed),
            (self._scene, scene.EndBatchProcessEvent, self._on_batch_end),
            (segmentation_node, slicer.vtkSegmentation.SegmentRemoved, self._on_segment_removed),
            (segmentation_node, slicer.vtkSegmentation.SegmentModified, self._on_segment_modified),
            (volume_node, transformable.TransformModifiedEvent, self._on_moved),
        ):
            self._observers.append((subject, subject.AddObserver(event, call)))
        self._watch_all()
        self._told = self._states()

    # ------------------------------------------------------------------ what there is

    def segment_ids(self) -> list[str]:
        """Return the IDs of the segments that have nodes, with points in them or not."""
        return list(dict.fromkeys(markups.segment_of(node) for node in self._nodes()))

    def state(self, segment_id: str) -> ClickState:
        """Return a segment's clicks and scribbles; raises InputError as ``world_from_local``."""
        return self._states().get(segment_id, ClickState())

    def clicks(self, segment_id: str) -> tuple[list[Position], list[Position]]:
        """Return the positive and the negative positions that teach a segment.

        These are its clicks and, for each scribble, one position in every voxel it goes through;
        in the volume's own space, mm. A click that lies outside the volume is among them.

        Raises:
            InputError: The volume has no image, or is under a transform that is not linear.
        """
        state, geometry = self.state(segment_id), geometry_of(self.volume_node)
        found = {True: list(state.positive), False: list(state.negative)}
        for scribble in state.scribbles:
            corners = np.array(scribble.points, dtype=np.float64).reshape(-1, 3)
            found[scribble.positive] += voxel_positions(corners, geometry)
        return found[True], found[False]

    def counts(self, segment_id: str) -> tuple[int, int]:
        """Return how many positive and negative clicks a segment has; a scribble counts as one."""
        counts = {True: 0, False: 0}
        for positive in counts:
            node = self._find(segment_id, positive=positive)
            counts[positive] = 0 if node is None else len(markups.defined_world(node))
        for node in self._nodes():
            if markups.is_scribble(node) and markups.segment_of(node) == segment_id:
                counts[markups.is_positive(node)] += 1
        return counts[True], counts[False]

    def node_for(self, segment_id: str, *, positive: bool) -> slicer.vtkMRMLMarkupsFiducialNode:
        """Return the node of a segment's clicks of one sign, made where there is none yet."""
        found = self._find(segment_id, positive=positive)
        return found if found is not None else self._make(segment_id, positive=positive)

    # ------------------------------------------------------------------ changing it

    def set_state(self, segment_id: str, state: ClickState) -> None:
        """Replace a segment's clicks and scribbles; ``changed`` is emitted once, if they differ.

        Raises:
            InputError: The volume is under a transform that is not linear.
        """
        world = world_from_local(self.volume_node)
        with self._at_once():
            for positive, points in ((True, state.positive), (False, state.negative)):
                if points or self._find(segment_id, positive=positive) is not None:
                    node = self.node_for(segment_id, positive=positive)
                    markups.set_defined_world(node, _in_world(world, points))
            if not ClickState(scribbles=self.state(segment_id).scribbles).same(
                ClickState(scribbles=state.scribbles)
            ):
                self._remove(segment_id, scribbles_only=True)
                for scribble in state.scribbles:
                    node = self._make(segment_id, positive=scribble.positive, curve=True)
                    markups.set_defined_world(node, _in_world(world, scribble.points))

    def add_scribble(
        self, segment_id: str, points_world: npt.ArrayLike, *, positive: bool
    ) -> slicer.vtkMRMLMarkupsCurveNode:
        """Add a stroke of (N, 3) world positions; corners that are too close are left out.

        Raises:
            InputError: No part of it is inside the volume.
        """
        world = np.asarray(points_world, dtype=np.float64).reshape(-1, 3)
        geometry, to_own = geometry_of(self.volume_node), local_from_world(self.volume_node)
        own = moved(to_own, world)
        if not geometry.contains(own).any():
            raise InputError("The scribble is outside the volume: draw it on the image.")
        own = thinned(own, geometry)
        with self._at_once():
            node = self._make(segment_id, positive=positive, curve=True)
            markups.set_defined_world(node, moved(world_from_local(self.volume_node), own))
        return node

    def clear(self, segment_id: str) -> None:
        """Remove all points and scribbles of a segment; the nodes for clicks stay."""
        self.set_state(segment_id, ClickState())

    def remove_segment(self, segment_id: str) -> None:
        """Remove a segment's nodes from the scene."""
        with self._at_once():
            self._remove(segment_id)

    def show_only(self, segment_id: str | None) -> None:
        """Show one segment's clicks and hide those of the others; None hides all."""
        for node in self._nodes():
            display = node.GetDisplayNode()
            if display is not None:
                display.SetVisibility(markups.segment_of(node) == segment_id)

    def close(self) -> None:
        """Stop listening; the nodes stay in the scene. Nothing is emitted any more."""
        for subject, tag in self._observers:
            subject.RemoveObserver(tag)
        self._observers.clear()
        for node_id in list(self._watched):
            self._unwatch(node_id)
        self.changed.clear()

    # ------------------------------------------------------------------ listening

    def _nodes(self) -> list[Any]:
        return [node for node, _ in self._watched.values()]

    def _find(self, segment_id: str, *, positive: bool) -> Any | None:
        for node in self._nodes():
            if (
                markups.segment_of(node) == segment_id
                and markups.is_positive(node) == positive
                and not markups.is_scribble(node)
            ):
                return node
        return None

    def _make(self, segment_id: str, *, positive: bool, curve: bool = False) -> Any:
        node = markups.make_markups(
            self.segmentation_node, segment_id, positive=positive, curve=curve
        )
        # With the volume: whoever moves the volume moves its clicks.
        node.SetAndObserveTransformNodeID(self.volume_node.GetTransformNodeID())
        self._watch(node)
        return node

    def _remove(self, segment_id: str, *, scribbles_only: bool = False) -> None:
        for node in self._nodes():
            if markups.segment_of(node) == segment_id and (
                markups.is_scribble(node) or not scribbles_only
            ):
                self._unwatch(node.GetID())
                markups.take_away(node)

    def _watch_all(self) -> None:
        for node in markups.markups_of(self.segmentation_node):
            self._watch(node)

    def _watch(self, node: Any) -> None:
        if node.GetID() in self._watched:
            return
        points_events = (
            node.PointAddedEvent,
            node.PointPositionDefinedEvent,
            node.PointPositionUndefinedEvent,
            node.PointPositionMissingEvent,
            node.PointModifiedEvent,
            node.PointRemovedEvent,
            node.TransformModifiedEvent,
        )
        tags = [node.AddObserver(event, self._on_moved) for event in points_events]
        tags.append(node.AddObserver(node.PointStartInteractionEvent, self._on_drag_start))
        tags.append(node.AddObserver(node.PointEndInteractionEvent, self._on_drag_end))
        self._watched[node.GetID()] = (node, tags)
        self._names = self._segment_names()

    def _unwatch(self, node_id: str) -> None:
        node, tags = self._watched.pop(node_id)
        for tag in tags:
            node.RemoveObserver(tag)

    def _on_moved(self, _node: Any, _event: str) -> None:
        self._tell()

    def _on_drag_start(self, _node: Any, _event: str) -> None:
        self._drags += 1
        self.drag = self._drags

    def _on_drag_end(self, node: Any, _event: str) -> None:
        self.drag = 0
        self._tell(always=markups.segment_of(node))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, _scene: Any, _event: str, node: Any) -> None:
        if node is self.segmentation_node:
            if not self._scene.IsBatchProcessing():
                for segment_id in self.segment_ids():
                    self._remove(segment_id)
            self.close()
        elif node.GetID() in self._watched:
            self._unwatch(node.GetID())
            self.drag = 0
            self._tell()

    def _on_batch_end(self, _scene: Any, _event: str) -> None:
        self._watch_all()
        self._tell()

    def _on_segment_removed(self, _node: Any, _event: str) -> None:
        if self._scene.IsBatchProcessing():
            return
        segmentation = self.segmentation_node.GetSegmentation()
        gone = [s for s in self.segment_ids() if segmentation.GetSegment(s) is None]
        with self._at_once():
            for segment_id in gone:
                self._remove(segment_id)

    def _on_segment_modified(self, _node: Any, _event: str) -> None:
        """Name the nodes after their segments, as these are named now."""
        before, self._names = self._names, self._segment_names()
        for node in self._nodes():
            segment_id = markups.segment_of(node)
            if segment_id in before and segment_id in self._names:
                markups.name_after(node, before[segment_id], self._names[segment_id])

    def _segment_names(self) -> dict[str, str]:
        segments = self.segmentation_node.GetSegmentation()
        ids = [str(segments.GetNthSegmentID(n)) for n in range(segments.GetNumberOfSegments())]
        return {segment_id: str(segments.GetSegment(segment_id).GetName()) for segment_id in ids}

    # ------------------------------------------------------------------ telling

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Tell of everything inside once, at the end."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1
            self._tell()

    def _tell(self, always: str | None = None) -> None:
        """Emit for each segment whose clicks are not what was told last.

        Slicer announces every move of the point that hangs at the mouse before it is placed: the
        positions decide, not the events.
        """
        if self._quiet or self._scene.IsBatchProcessing():
            return
        try:
            states = self._states()
        except InputError:  # the volume is under a warp just now: whoever asks for clicks is told
            return
        told, self._told = self._told, states
        for segment_id in dict.fromkeys([*told, *states]):
            before, after = (of.get(segment_id, ClickState()) for of in (told, states))
            if segment_id == always or not after.same(before):
                self.changed.emit(segment_id)

    def _states(self) -> dict[str, ClickState]:
        to_own = local_from_world(self.volume_node)
        clicks: dict[str, dict[bool, tuple[Position, ...]]] = {}
        scribbles: dict[str, list[Scribble]] = {}
        for node in self._nodes():
            segment_id, positive = markups.segment_of(node), markups.is_positive(node)
            points = _positions(moved(to_own, markups.defined_world(node)))
            if markups.is_scribble(node):
                strokes = [Scribble(points, positive)] if points else []
                scribbles.setdefault(segment_id, []).extend(strokes)
            else:
                # The first node counts: a copy that the user made of it does not.
                clicks.setdefault(segment_id, {}).setdefault(positive, points)
        return {
            segment_id: ClickState(
                clicks.get(segment_id, {}).get(True, ()),
                clicks.get(segment_id, {}).get(False, ()),
                tuple(scribbles.get(segment_id, ())),
            )
            for segment_id in dict.fromkeys([*clicks, *scribbles])
        }


def _positions(points: FloatArray) -> tuple[Position, ...]:
    return tuple((r, a, s) for r, a, s in points.tolist())


def _in_world(world: FloatArray, points: tuple[Position, ...]) -> FloatArray:
    return moved(world, np.array(points, dtype=np.float64).reshape(-1, 3))


def _same(first: tuple[Position, ...], second: tuple[Position, ...]) -> bool:
    return len(first) == len(second) and (
        not first or bool(np.abs(np.subtract(first, second)).max() < _SAME_MM)
    )
