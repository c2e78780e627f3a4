"""Features as colours, and likeness to the voxel under the cursor, over the slices, live."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import slicer
import vtk

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Position
from VoxelFeatLib.scene.controllers.field_status import sentence
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of, local_from_world, moved
from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.timers import Latest, Timers
from VoxelFeatLib.scene.views.overlays import Picture, SliceOverlays
from VoxelFeatLib.scene.views.slices import mapped_slice_nodes, plane_of

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.field_controller import FieldController
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink

Mode = Literal["none", "features", "similarity"]

# Pixels of one view's picture; the view interpolates between them.
_PIXELS = 256 * 256
# Seconds in which moves of the mouse or of slices count as one.
_MOMENT = 0.03


class OverlayController:
    """Keeps pictures of the field over the slice views.

    There is one request at a time; what happens meanwhile is asked for when it is answered, so the
    pictures never lag behind by more than one.

    Args:
        link: The worker.
        field: The volume and its field.
        timers: For what is done a moment later.
        scene: The vtkMRMLScene.

    Attributes:
        changed: Emitted when mode or opacity have changed.
        message: Emitted with one sentence for the user.
        mode: What is shown.
        opacity: How much the pictures cover, 0 to 1.
    """

    def __init__(
        self, link: WorkerLink, field: FieldController, timers: Timers, scene: Any
    ) -> None:
        self.changed = Signal()
        self.message = Signal()
        self.mode: Mode = "none"
        self.opacity = 0.5
        self._link = link
        self._field = field
        self._scene = scene
        self._overlays: SliceOverlays | None = None
        self._observed: list[tuple[Any, int]] = []
        self._cursor: Position | None = None
        self._request: Any = None
        self._again = False
        self._soon = Latest(timers, _MOMENT, self._ask)
        field.reset.connect(self._on_reset)
        field.changed.connect(self._on_field)
        self._generation: object = None

    def set_mode(self, mode: Mode) -> None:
        """Show nothing, features as colours, or likeness to the voxel under the cursor."""
        if mode == self.mode:
            return
        self._end()
        self.mode = mode
        if mode != "none":
            self._begin()
        self.changed.emit()

    def set_opacity(self, opacity: float) -> None:
        """Set how much the pictures cover, 0 to 1."""
        self.opacity = opacity
        if self._overlays is not None:
            self._overlays.set_opacity(opacity)
        self.changed.emit()

    def cursor_moved(self, ras_world: Position) -> None:
        """Compare with this position, world RAS mm, from now on."""
        self._cursor = ras_world
        if self.mode == "similarity":
            self._soon.request()

    # ------------------------------------------------------------------ asking

    def _ask(self) -> None:
        if self._overlays is None or self._field.volume is None or not self._field.usable:
            return
        if self._request is not None:
            self._again = True
            return
        try:
            planes = self._planes()
            arguments = self._arguments()
        except InputError as error:
            self.message.emit(str(error))
            return
        if not planes or arguments is None:
            return
        arguments["planes"] = [plane.to_wire() for _, plane in planes]
        self._request = self._link.request(
            "project" if self.mode == "features" else "similarity",
            arguments,
            on_reply=lambda reply: self._show(planes, reply),
            on_error=self._on_error,
            repeat=False,
        )

    def _planes(self) -> list[tuple[Any, Any]]:
        found = (
            (node, plane_of(node, self._field.volume, _PIXELS))
            for node in mapped_slice_nodes(self._scene)
        )
        return [(node, plane) for node, plane in found if plane is not None]

    def _arguments(self) -> dict[str, Any] | None:
        if self.mode == "features":
            return {}
        volume = self._field.volume
        if self._cursor is None:
            return None
        ras = moved(local_from_world(volume), np.array([self._cursor]))[0]
        return {"ras": ras.tolist()} if geometry_of(volume).contains(ras) else None

    def _show(self, planes: list[tuple[Any, Any]], reply: dict[str, Any]) -> None:
        self._request = None
        if self._overlays is not None:
            pictures = reply["images"] if self.mode == "features" else reply["maps"]
            for (node, plane), data in zip(planes, pictures, strict=True):
                if node.GetScene() is not None:
                    shape = (plane.rows, plane.columns) + ((3,) if "images" in reply else ())
                    picture: Picture = np.frombuffer(zlib.decompress(data), dtype=np.uint8)
                    self._overlays.show(node, plane, picture.reshape(shape), self.opacity)
        self._go_on()

    def _on_error(self, error: dict[str, Any]) -> None:
        self._request = None
        if error.get("code") not in {"cancelled", "superseded", "no_field", "no_volume"}:
            self.message.emit(sentence(error))
        self._go_on()

    def _go_on(self) -> None:
        again, self._again = self._again, False
        if again:
            self._soon.request()

    # ------------------------------------------------------------------ hearing

    def _begin(self) -> None:
        if self._field.volume is None or self._field.volume.GetScene() is None:
            return
        self._overlays = SliceOverlays(self._field.volume)
        for node in mapped_slice_nodes(self._scene):
            self._observe(node, vtk.vtkCommand.ModifiedEvent, lambda *_: self._soon.request())
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None and self.mode == "similarity":
            event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
            self._observe(crosshair, event, self._on_cursor)
        self._soon.request()

    def _observe(self, node: Any, event: Any, call: Any) -> None:
        self._observed.append((node, node.AddObserver(event, call)))

    def _on_cursor(self, crosshair: Any, _event: str) -> None:
        ras = [0.0, 0.0, 0.0]
        if crosshair.GetCursorPositionRAS(ras):
            self.cursor_moved((ras[0], ras[1], ras[2]))

    def _on_reset(self) -> None:
        """The worker has another volume: its pictures begin anew."""
        mode = self.mode
        self._end()
        self._cursor = None
        if mode != "none":
            self._begin()

    def _on_field(self) -> None:
        """Draw again when the field has become usable or another one."""
        status = self._field.status
        generation = (status.usable, status.kind, status.agreement)
        if generation != self._generation and status.usable:
            self._soon.request()
        self._generation = generation

    def _end(self) -> None:
        self._soon.cancel()
        if self._request is not None:
            self._request.cancel()
            self._request = None
        self._again = False
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()
        if self._overlays is not None:
            self._overlays.close()
            self._overlays = None

    def close(self) -> None:
        """Take the pictures away and listen no more."""
        self._end()
        self._field.reset.disconnect(self._on_reset)
        self._field.changed.disconnect(self._on_field)
        self.changed.clear()
        self.message.clear()
