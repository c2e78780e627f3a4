"""Files that are either the old one or the complete new one, never half of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from VoxelFeatLib.errors import InputError, OutputError

# No process writes so long without touching its file.
_ABANDONED_SECONDS = 3600.0


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which replaces ``path`` when the block succeeds.

    The temporary name keeps the whole ending of ``path`` in lower case (writers choose the format
    by it). On any error the temporary file is removed and an older ``path`` stays as it was. What
    a killed process left of earlier attempts at ``path`` is removed once it is an hour old.

    Raises:
        InputError: The path has bytes that are no text.
        OutputError: The folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(path)
    try:
        str(target).encode()
    except UnicodeEncodeError as error:  # writers in C++ would end the whole process
        raise InputError(
            f"Cannot write {target}: the path has bytes that are no text.", "Choose another name."
        ) from error
    part = f".part.{target.name.lower()}"
    temporary = target.with_name(f".{secrets.token_hex(4)}{part}")
    try:
        # Created here, so that an unwritable folder is reported before the long work starts.
        # The new file gets the permissions that an ordinary open() would give it.
        temporary.touch(exist_ok=False)
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _as_output_error(error, target) from error
        raise
    _flush_folder(target.parent)
    _remove_leftovers(target.parent, part)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # The rename itself survives a power cut only when the folder is flushed too; Windows and some
    # network disks cannot do that, and there the file's own flush has to do.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_leftovers(folder: Path, part: str) -> None:
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(".") and path.name[9:] == part and _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    # Another process may be writing the same file right now: its temporary file is young.
    return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS


def _as_output_error(error: OSError, target: Path) -> OutputError:
    reason = error.strerror or str(error)
    if not target.parent.is_dir():
        return OutputError(
            f"Cannot write {target}: the folder {target.parent} does not exist.",
            "Create it or choose another.",
        )
    return OutputError(
        f"Cannot write {target}: {reason}.", "An older file of that name was left as it was."
    )
