"""One process at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What a system says while another process holds the lock.
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_PAUSE_SECONDS = 0.2


@contextmanager
def only_process(path: Path, waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold a lock file; it ends with the process, and the empty file stays.

    Args:
        path: The lock file.
        waiting: Called while another process holds the lock; may raise to give up.

    Yields:
        False where the file system, such as some network shares, has no locks.

    Raises:
        OSError: The lock file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield _wait_for(descriptor, waiting)
    finally:
        with contextlib.suppress(OSError):
            _unlock(descriptor)
        os.close(descriptor)


def _wait_for(descriptor: int, waiting: Callable[[], None]) -> bool:
    while True:
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno not in _HELD:
                return False
        else:
            return True
        waiting()
        time.sleep(_PAUSE_SECONDS)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
