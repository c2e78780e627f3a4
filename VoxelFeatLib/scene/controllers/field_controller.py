"""A volume and its field: brought to the worker, fitted, found again, opened and saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vtk

from VoxelFeatLib.errors import InputError, VoxelFeatError
from VoxelFeatLib.imaging.atomic import replacing
from VoxelFeatLib.scene.controllers import field_status
from VoxelFeatLib.scene.controllers.field_status import FieldStatus
from VoxelFeatLib.scene.nodes import volume_nodes
from VoxelFeatLib.scene.signal import Signal
from VoxelFeatLib.scene.timers import Latest, Timers

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink

# Bytes of a field file that travel in one message.
_PART = 4 << 20
# Seconds in which many changes of a volume count as one.
_SETTLED = 0.2


class FieldController:
    """Brings one volume to the worker and looks after its field.

    Args:
        link: The worker.
        timers: For what is done a moment later.

    Attributes:
        changed: Emitted when anything that the panel shows has changed.
        reset: Emitted when the worker holds another volume than before, or none.
        volume: The volume's node; None when none is chosen.
        cached: Fields of this volume that were found again, newest first.
        field_path: File of the field in use on the worker's machine; "" when it has none.
    """

    def __init__(self, link: WorkerLink, timers: Timers) -> None:
        self.changed = Signal()
        self.reset = Signal()
        self.volume: Any = None
        self.cached: list[dict[str, Any]] = []
        self.field_path = ""
        self._link = link
        self._status = field_status.NO_VOLUME
        self._stamp: object = None
        self._wanted_path = ""
        self._request: Any = None
        self._token: object = None
        self._observed: list[tuple[Any, int]] = []
        self._look = Latest(timers, _SETTLED, self._compare)

    @property
    def status(self) -> FieldStatus:
        """How it stands."""
        return self._status

    @property
    def usable(self) -> bool:
        """Whether clicks can be answered."""
        return self._status.usable

    # ------------------------------------------------------------------ the volume

    def set_volume(self, node: Any, field_path: str = "") -> None:
        """Choose the volume and bring it to the worker.

        Args:
            node: A scalar volume node, or None.
            field_path: The field to use with it, where a saved scene remembers one.
        """
        if node is self.volume and not field_path:
            return
        self._forget()
        self.volume = node
        self._wanted_path = field_path
        self.reset.emit()
        if node is None:
            self._set(field_status.NO_VOLUME)
            return
        for event in (vtk.vtkCommand.ModifiedEvent, node.ImageDataModifiedEvent):
            self._observed.append((node, node.AddObserver(event, self._on_modified)))
        self._open()

    def _open(self, then: Callable[[], None] | None = None) -> None:
        """Send the volume; then find its field again, or do what is asked for."""
        try:
            volume_nodes.check_volume(self.volume)
            source = volume_nodes.VolumeSource(self.volume)
        except InputError as error:
            self._set(FieldStatus("unsuitable", str(error)))
            return
        self._stamp = volume_nodes.stamp(self.volume)
        self._set(FieldStatus("uploading", "Handing the volume to the worker…", fraction=0.0))
        geometry = source.geometry
        self._ask(
            "open_volume",
            {
                "name": source.name,
                "modality": source.modality,
                "dtype": source.dtype,
                "shape_kji": list(geometry.shape_kji),
                "ijk_to_ras": geometry.ijk_to_ras.tolist(),
                "parts": True,
            },
            payload=source.parts,
            on_reply=lambda reply: self._opened(reply, then),
        )

    def _opened(self, reply: dict[str, Any], then: Callable[[], None] | None) -> None:
        self.cached = list(reply.get("cached", []))
        self._set(field_status.NO_FIELD)
        known = [found["path"] for found in self.cached]
        if then is not None:
            then()
        elif self._wanted_path in known:
            self.use_cached(self._wanted_path)
        elif self._wanted_path and Path(self._wanted_path).is_file():
            self.load(self._wanted_path)
        elif known:
            self.use_cached(known[0])

    def _on_modified(self, _caller: Any, _event: str) -> None:
        self._look.request()

    def _compare(self) -> None:
        """See whether the volume is still what the worker has."""
        node = self.volume
        if node is None or node.GetScene() is None or self._status.kind == "stale":
            return
        if volume_nodes.stamp(node) == self._stamp:
            return
        if self._status.kind in {"unsuitable", "no_field", "error"}:
            self._open()  # nothing is lost by looking again
            return
        self._drop_request()
        self._set(
            FieldStatus("stale", "The volume has changed since its field was fitted: press Fit.")
        )

    # ------------------------------------------------------------------ the field

    def fit(
        self, backbone: str, preset: str, device: str, seed: int = 0, **options: str | int
    ) -> None:
        """Fit a field to the volume, handing it over anew where it has changed.

        Args:
            backbone: Its name, or the path of a checkpoint on the worker's machine.
            preset: Its name.
            device: Its name.
            seed: Decides every random choice.
            options: Of the backbone, as the request takes them: encoding, input_size, mirror.
        """
        if self.volume is None:
            self._set(field_status.NO_VOLUME)
            return

        def start() -> None:
            self._set(FieldStatus("fitting", "Starting…", fraction=0.0))
            self._ask(
                "fit",
                {
                    "backbone": backbone,
                    "preset": preset,
                    "device": device,
                    "seed": seed,
                    "cache": True,
                    **options,
                },
                on_event=lambda event: self._set(field_status.fitting(event)),
                on_reply=self._fitted,
            )

        if self._status.kind in {"stale", "error", "unsuitable"}:
            self.reset.emit()
            self._open(then=start)
        elif self._status.kind in {"no_field", "ready"}:
            start()

    def cancel(self) -> None:
        """Stop what is running; a field that could be used already stays."""
        if self._request is not None:
            self._request.cancel()

    def use_cached(self, path: str) -> None:
        """Use a field that lies on the worker's machine, such as one found again."""
        self._load({"path": path}, "Ready: the field fitted before was found again.")

    def load(self, path: str) -> None:
        """Open a field file of this machine."""
        file = Path(path)
        if not file.is_file():
            self._set(FieldStatus("error", f"There is no file {path}; choose another field."))
            return
        self._load({"parts": True, "name": file.name}, "Ready.", lambda: _parts_of(file))

    def _load(
        self,
        source: dict[str, Any],
        text: str,
        payload: Callable[[], Iterator[bytes]] | None = None,
    ) -> None:
        self._set(FieldStatus("uploading", "Opening the field…", fraction=None))
        self._ask(
            "load_field",
            source | {"device": "auto"},
            payload=payload,
            on_reply=lambda reply: self._have(reply, text),
        )

    def save(self, path: str, done: Callable[[str], None]) -> None:
        """Write the field to a file of this machine.

        Args:
            path: The file; what was there stays until the new one is whole.
            done: Called with "", or with a sentence that says what went wrong.
        """
        parts: list[bytes] = []

        def finish(_reply: dict[str, Any]) -> None:
            try:
                with replacing(Path(path)) as temporary, temporary.open("wb") as file:
                    file.writelines(parts)
            except VoxelFeatError as error:
                done(str(error))
            else:
                done("")

        self._link.request(
            "save_field",
            {"to_client": True},
            on_event=lambda event: parts.append(event["data"]),
            on_reply=finish,
            on_error=lambda error: done(field_status.sentence(error)),
            on_repeat=parts.clear,
        )

    def _fitted(self, reply: dict[str, Any]) -> None:
        self._have(reply, "Ready: click in a slice.")
        found = {key: reply.get(key) for key in ("path", "backbone", "preset", "mean_cosine")}
        if reply.get("path"):
            others = [entry for entry in self.cached if entry["path"] != reply["path"]]
            self.cached = [found, *others]
            self.changed.emit()

    def _have(self, reply: dict[str, Any], text: str) -> None:
        self.field_path = str(reply.get("path") or "")
        self._set(field_status.ready(reply, text))

    # ------------------------------------------------------------------ inside

    def _ask(self, kind: str, arguments: dict[str, Any], **more: Any) -> None:
        """Ask the worker; there is one such request at a time, a later one replaces it."""
        self._drop_request()
        on_reply = more.pop("on_reply")
        token = object()
        self._token = token

        def current(call: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
            return lambda message: call(message) if self._token is token else None

        def replied(reply: dict[str, Any]) -> None:
            self._request = None
            on_reply(reply)

        on_event = more.pop("on_event", self._progress)
        self._request = self._link.request(
            kind,
            arguments,
            on_event=current(on_event),
            on_reply=current(replied),
            on_error=current(self._failed),
            **more,
        )

    def _progress(self, event: dict[str, Any]) -> None:
        if event.get("fraction") is not None:
            self._set(replace(self._status, fraction=event["fraction"]))

    def _failed(self, error: dict[str, Any]) -> None:
        self._request = None
        before = self._status
        if error.get("code") != "cancelled":
            self._set(field_status.failed(error))
        elif before.kind == "fitting" and before.usable:
            text = "Cancelled: the field as far as it was fitted can be used, but is not kept."
            self._set(replace(before, kind="ready", text=text, fraction=None, seconds_left=None))
        elif before.kind == "fitting":
            self._set(field_status.NO_FIELD)
        else:
            self._set(FieldStatus("error", "Cancelled: press Fit to go on."))

    def _drop_request(self) -> None:
        self._token = None
        if self._request is not None:
            self._request.cancel()
            self._request = None

    def _forget(self) -> None:
        self._drop_request()
        self._look.cancel()
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()
        self.cached = []
        self.field_path = ""
        self._stamp = None

    def _set(self, status: FieldStatus) -> None:
        self._status = status
        self.changed.emit()

    def close(self) -> None:
        """Stop what is running and listen no more."""
        self._forget()
        self.volume = None
        self._status = field_status.NO_VOLUME
        self.changed.clear()
        self.reset.clear()


def _parts_of(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while part := stream.read(_PART):
            yield part
