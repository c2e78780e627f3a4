"""One file for each target and method, so that a long evaluation goes on where it stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from VoxelFeatLib.errors import InputError, OutputError
from VoxelFeatLib.evaluation.datasets import Label
from VoxelFeatLib.evaluation.grouping import Named
from VoxelFeatLib.imaging.atomic import replacing

FORMAT = 1

# What reading a damaged file, or one that somebody else wrote, can raise.
_WRONG_VALUES = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    InputError,
)

_UNSAFE = re.compile(r"[^\w.-]+")


class MethodResult(Named, Protocol):
    """What one method got on one target: a dataclass of numbers, words, and tuples of them.

    It refuses numbers that are not sound with an InputError.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def case(self) -> str:
        """Name of the case."""
        ...


R = TypeVar("R", bound=MethodResult)


class ResultFiles(Generic[R]):
    """The files of the results, below a folder.

    Args:
        folder: Made when the first result is written.
        kind: The results' class.
    """

    def __init__(self, folder: Path, kind: type[R]) -> None:
        self._folder = folder
        self._kind = kind

    def path(self, case: str, label: Label, method: str) -> Path:
        """Return where a result belongs."""
        number = "" if label.number is None else f"{label.number}-"
        return self._folder / _safe(case) / _safe(f"{number}{label.name}") / f"{method}.json"

    def read(self, path: Path, settings: Mapping[str, Any]) -> R | None:
        """Return a result; None where it is missing, damaged or of other settings."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["format"] != FORMAT or stored["settings"] != _as_json(settings):
                return None
            values: dict[str, Any] = stored["result"]
            return self._kind(**{key: _frozen(value) for key, value in values.items()})
        except _WRONG_VALUES:
            return None

    def write(self, path: Path, settings: Mapping[str, Any], result: R) -> None:
        """Write a result, whole or not at all.

        Raises:
            OutputError: The folder cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error
        document = {"format": FORMAT, "settings": settings, "result": asdict(result)}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")


def _safe(name: str) -> str:
    """A name as one part of a path, on any system."""
    return _UNSAFE.sub("_", name).strip(".") or "_"


def _as_json(values: Any) -> Any:
    return json.loads(json.dumps(values))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
