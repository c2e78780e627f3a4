"""The panel's one worker: started when first needed, told about, asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from VoxelFeatLib.scene.signal import Signal

if TYPE_CHECKING:
    from VoxelFeatLib.scene.timers import Timers
    from VoxelFeatLib.worker.client.client import Client, Request
    from VoxelFeatLib.worker.client.transport import Transport

Message = Mapping[str, Any]


class WorkerLink:
    """Owns the client and tells its state.

    The client is made with the first request: what it imports may have to be installed first.

    Args:
        make_transport: Makes the connection to a new worker process.
        timers: For the client's delays.
        missing: Says in one sentence what has to be installed first; empty when nothing.

    Attributes:
        changed: Emitted when the state or the message has changed.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        timers: Timers,
        *,
        missing: Callable[[], str] = str,
    ) -> None:
        self.changed = Signal()
        self._make_transport = make_transport
        self._timers = timers
        self._missing = missing
        self._client: Client | None = None
        self._state, self._message = "stopped", ""

    @property
    def state(self) -> str:
        """One of "stopped", "starting", "ready" and "failed"."""
        return self._state

    @property
    def message(self) -> str:
        """What the state does not say itself, for the user; often empty."""
        return self._message

    @property
    def hello(self) -> dict[str, Any]:
        """What the worker told of itself: versions, devices, backbones, presets; or empty."""
        return {} if self._client is None else self._client.hello

    def log(self) -> str:
        """Return the latest lines that the worker wrote, oldest first."""
        return "" if self._client is None else "\n".join(self._client.log)

    def start(self) -> None:
        """Start the worker if it is not running."""
        client = self._ready_client()
        if client is not None and client.state in {"stopped", "failed"}:
            client.start()

    def restart(self) -> None:
        """End the worker, whatever it does, and start a new one that goes on."""
        client = self._ready_client()
        if client is not None:
            client.restart()

    def use_transport(self, make_transport: Callable[[], Transport]) -> None:
        """Use another connection from now on; the present worker is ended."""
        self.stop()
        self._client = None
        self._make_transport = make_transport

    def stop(self) -> None:
        """End the worker."""
        if self._client is not None:
            self._client.stop()

    def request(
        self, kind: str, arguments: Message | None = None, **options: Any
    ) -> Request | None:
        """Ask the worker for something; None, and an error of code "not_started", if it cannot be.

        Args:
            kind: The request's type.
            arguments: Its arguments.
            options: As `Client.request` takes them: payload, masks, on_event, on_reply, on_error,
                on_repeat, repeat.
        """
        client = self._ready_client()
        if client is None:
            on_error = options.get("on_error")
            if on_error is not None:
                on_error({"code": "not_started", "message": self._message, "hint": ""})
            return None
        return client.request(kind, dict(arguments or {}), **options)

    def close(self) -> None:
        """End the worker and forget who listened."""
        self.stop()
        self.changed.clear()

    def _ready_client(self) -> Client | None:
        """Return the client, made when first asked for; None where something is missing."""
        if self._client is None:
            missing = self._missing()
            if missing:
                self._set("failed", missing)
                return None
            # Not before this moment: msgpack may only just have been installed.
            from VoxelFeatLib.worker.client.client import Client  # noqa: PLC0415

            self._client = Client(self._make_transport, schedule=self._schedule)
            self._client.on_state.append(self._set)
        return self._client

    def _schedule(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.after(seconds, call)

    def _set(self, state: str, message: str = "") -> None:
        self._state, self._message = state, message
        self.changed.emit()
