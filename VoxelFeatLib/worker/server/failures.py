"""From an exception to an error reply; and trying again with less after memory ran out."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from VoxelFeatLib.errors import (
    Cancelled,
    FieldFileError,
    GeometryError,
    InputError,
    NotEnoughMemoryError,
    VoxelFeatError,
    is_out_of_memory,
)
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.protocol import BadMessageError, Message, ProtocolError

_log = logging.getLogger(__name__)

# The first that fits decides.
_CODES: tuple[tuple[type[VoxelFeatError], str], ...] = (
    (BadMessageError, protocol.BAD_REQUEST),
    (ProtocolError, protocol.PROTOCOL),
    (GeometryError, protocol.GEOMETRY),
    (InputError, protocol.INPUT),
    (FieldFileError, protocol.FIELD_FILE),
    (NotEnoughMemoryError, protocol.OUT_OF_MEMORY),
    (Cancelled, protocol.CANCELLED),
)

ResultT = TypeVar("ResultT")


class Refused(VoxelFeatError):  # noqa: N818 - an answer, not a defect
    """A request that cannot be answered now.

    Args:
        code: As in the protocol.
        message: One sentence.
        hint: What to try next.
        details: Further values of the error reply.
    """

    def __init__(self, code: str, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint)
        self.code = code
        self.details = details


def error_of(error: BaseException) -> Message:
    """Return the "error" of a reply; a defect's traceback goes to stderr."""
    if isinstance(error, Refused):
        return {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            **error.details,
        }
    if isinstance(error, VoxelFeatError):
        code = next((code for kind, code in _CODES if isinstance(error, kind)), protocol.INTERNAL)
        return {"code": code, "message": error.message, "hint": error.hint}
    if is_out_of_memory(error):
        _log.warning("Out of memory: %s", error)
        return error_of(NotEnoughMemoryError())
    _log.error("A request failed.", exc_info=error)
    if isinstance(error, ModuleNotFoundError):
        return {
            "code": protocol.INTERNAL,
            "message": f"The worker lacks a package: {error}.",
            "hint": "Install what is missing for the Python that runs the worker.",
        }
    return {
        "code": protocol.INTERNAL,
        "message": f"The worker failed unexpectedly ({type(error).__name__}).",
        "hint": "The log tells more; the worker goes on.",
    }


def free_caches() -> None:
    """Give back what is only kept for speed."""
    gc.collect()
    if "torch" in sys.modules:
        # Not before something has loaded torch: it takes seconds.
        from VoxelFeatLib.devices.memory import release_memory  # noqa: PLC0415

        release_memory()


def with_less(
    work: Callable[[int], Generator[None, None, ResultT]], tries: int = 3
) -> Generator[None, None, ResultT]:
    """Run work(0), and where memory runs out work(1), then work(2): each asks for less.

    Raises:
        Exception: Whatever ``work`` raises, or the last attempt's lack of memory.
    """
    for attempt in range(tries - 1):
        try:
            return (yield from work(attempt))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _log.warning("Out of memory, trying with less: %s", error)
        # Here, not above: the exception's traceback holds what the failed attempt had made.
        free_caches()
    return (yield from work(tries - 1))
