"""The requests `load_field` and `save_field`."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO

from VoxelFeatLib.devices.choice import device_named
from VoxelFeatLib.errors import InputError, is_out_of_memory
from VoxelFeatLib.field.files import load_field, save_field
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.protocol import PART_BYTES, Message, in_parts
from VoxelFeatLib.worker.server.cache import described
from VoxelFeatLib.worker.server.failures import Refused, free_caches
from VoxelFeatLib.worker.server.requests import Request, Steps
from VoxelFeatLib.worker.server.workspace import Workspace

# No field is larger; what is sent as one is refused beyond.
_MOST_BYTES = 16 << 30


def load(workspace: Workspace, request: Request) -> Message:
    """Open a field file on this machine."""
    path = Path(request.arguments.text("path")).expanduser()
    _refuse_while_fitting(workspace)
    return {**_opened(workspace, request, path), "path": str(path)}


class FieldSink:
    """Takes a field file part by part."""

    def __init__(self, workspace: Workspace, request: Request) -> None:
        _refuse_while_fitting(workspace)
        workspace.need_volume()
        self._workspace = workspace
        self._request = request
        self._folder = tempfile.TemporaryDirectory(prefix="voxelfeat-")
        self._path = Path(self._folder.name) / "received.voxelfeat"
        self._file: IO[bytes] = self._path.open("wb")

    def add(self, data: bytes) -> None:
        """Take the next part."""
        if self._file.tell() + len(data) > _MOST_BYTES:
            raise Refused(protocol.TOO_LARGE, "The field file is too large.")
        try:
            self._file.write(data)
        except OSError as error:
            raise InputError(f"The field file cannot be received: {error.strerror}.") from error

    def finish(self) -> Message:
        """Open the field; all parts are there."""
        self._file.close()
        _refuse_while_fitting(self._workspace)
        return {**_opened(self._workspace, self._request, self._path), "path": ""}

    def close(self) -> None:
        """Remove what was received."""
        self._file.close()
        self._folder.cleanup()


def save(workspace: Workspace, request: Request) -> Steps:
    """Write the field to a file on this machine, or send it to the client."""
    to_client = request.arguments.flag("to_client", default=False)
    path = Path() if to_client else Path(request.arguments.text("path")).expanduser()
    if not to_client:
        size = _write(workspace, path)
        return {"bytes": size}
    with tempfile.TemporaryDirectory(prefix="voxelfeat-") as folder:
        path = Path(folder) / "sent.voxelfeat"
        size = _write(workspace, path)
        yield
        with path.open("rb") as file:
            for number, (data, last) in enumerate(in_parts(_blocks(file))):
                request.event("part", part=number, data=data, last=last)
                yield
    return {"bytes": size}


def _blocks(file: IO[bytes]) -> Generator[bytes, None, None]:
    while block := file.read(PART_BYTES):
        yield block


def _write(workspace: Workspace, path: Path) -> int:
    field, volume = workspace.need_field(), workspace.need_volume()
    if workspace.record is None:
        raise Refused(protocol.NO_FIELD, "The field is not finished; wait for the fit to end.")
    save_field(path, field, volume, workspace.record)
    return path.stat().st_size


def _opened(workspace: Workspace, request: Request, path: Path) -> Message:
    volume = workspace.need_volume()
    device = device_named(request.arguments.text("device", "auto"))
    try:
        field, header = load_field(path, volume, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # The old field is in the way.
        workspace.use(None, finished=True)
        failed = True
    else:
        failed = False
    if failed:
        free_caches()
        field, header = load_field(path, volume, device)
    workspace.use(field, finished=True)
    workspace.record, workspace.path = header.record, str(path)
    return described(header, path)


def _refuse_while_fitting(workspace: Workspace) -> None:
    if workspace.fitting:
        raise Refused(protocol.BUSY, "A fit is running.", "Cancel it first.")
