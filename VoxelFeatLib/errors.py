"""Errors a user can act on: every one carries one sentence and, where it helps, a hint."""

from __future__ import annotations

import sys

# What torch says where it has no exception class of its own: of main memory, of Apple's GPUs, of
# the driver, and of the library for matrix products.
_NO_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class VoxelFeatError(Exception):
    """Base of all errors shown to users.

    Args:
        message: One sentence saying what is wrong, or what to do.
        hint: What to try next; empty where the message says it all.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class InputError(VoxelFeatError):
    """A file, volume, click or setting that cannot be used as given."""


class GeometryError(InputError):
    """A shape, spacing or orientation that does not describe a 3D volume."""


class OutputError(InputError):
    """A file or folder that cannot be written: a full disk, a missing or unwritable folder."""


class WeightsError(InputError):
    """Weights of a backbone that are missing, damaged, foreign, or could not be loaded."""


class FieldFileError(VoxelFeatError):
    """A field file that is damaged, foreign, newer, or belongs to another volume."""


class NotEnoughMemoryError(VoxelFeatError):
    """The work does not fit into memory, or was refused because it would not."""

    def __init__(
        self,
        message: str = (
            "There is too little free memory for this: close other programs, crop or resample the "
            "volume, or use another device."
        ),
        hint: str = "",
    ) -> None:
        super().__init__(message, hint)


class Cancelled(VoxelFeatError):  # noqa: N818 - not an error of anybody's: the user asked for it
    """The user cancelled the work; no file was left half-written."""

    def __init__(self, message: str = "Cancelled.", hint: str = "") -> None:
        super().__init__(message, hint)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on whatever device."""
    if isinstance(error, MemoryError | NotEnoughMemoryError):
        return True
    torch = sys.modules.get("torch")  # an error of torch's comes from a torch that is loaded
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
