"""One file for each target and method, so that a long evaluation goes on where it stopped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.clicks.runs import ClickRun
from VoxelFeatLib.evaluation.datasets import Label
from VoxelFeatLib.imaging.atomic import replacing
from VoxelFeatLib.imaging.geometry import Geometry

FORMAT = 1

_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Result:
    """What one method got on one target.

    Attributes:
        case, label, method: Names.
        dice: After each click.
        hd95_mm: Likewise; the volume's diagonal where nothing was segmented.
        seconds: Likewise.
        start_seconds: Before the first click.
        clicks: R, A, S in mm, and whether positive; strokes are many clicks.
    """

    case: str
    label: str
    method: str
    dice: tuple[float, ...]
    hd95_mm: tuple[float, ...]
    seconds: tuple[float, ...]
    start_seconds: float
    clicks: tuple[tuple[float, float, float, bool], ...]

    def __post_init__(self) -> None:
        curves = (self.dice, self.hd95_mm, self.seconds)
        numbers = [*self.dice, *self.hd95_mm, *self.seconds, self.start_seconds]
        sound = len({len(curve) for curve in curves}) == 1 and len(self.dice) > 0
        if not sound or not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise InputError(f"The result of {self.method} on {self.label} has no sound numbers.")

    @classmethod
    def of(cls, run: ClickRun, case: str, label: str, method: str, geometry: Geometry) -> Result:
        """Take the numbers of a run."""
        diagonal = math.hypot(*(np.array(geometry.shape_kji[::-1]) * geometry.spacing))
        return cls(
            case,
            label,
            method,
            tuple(run.dice),
            tuple(min(value, diagonal) for value in run.hd95_mm),
            tuple(run.seconds),
            run.start_seconds,
            tuple((*click.ras, click.positive) for click in run.clicks),
        )


class ResultFiles:
    """The files of the results, below a folder.

    Args:
        folder: Made when the first result is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, case: str, label: Label, method: str) -> Path:
        """Return where a result belongs."""
        number = "" if label.number is None else f"{label.number}-"
        return self._folder / _safe(case) / _safe(f"{number}{label.name}") / f"{method}.json"

    def read(self, path: Path, settings: Mapping[str, Any]) -> Result | None:
        """Return a result; None where it is missing, damaged or of other settings."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["format"] != FORMAT or stored["settings"] != _as_json(settings):
                return None
            values: dict[str, Any] = stored["result"]
            return Result(**{key: _frozen(value) for key, value in values.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
            return None

    def write(self, path: Path, settings: Mapping[str, Any], result: Result) -> None:
        """Write a result, whole or not at all.

        Raises:
            InputError: The folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"format": FORMAT, "settings": settings, "result": asdict(result)}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")


def padded(values: Sequence[float], count: int) -> list[float]:
    """Return a curve of `count` clicks; where the user was content earlier, nothing changes."""
    return [*values, *[values[-1]] * (count - len(values))][:count]


def _safe(name: str) -> str:
    """A name as one part of a path, on any system."""
    return _UNSAFE.sub("_", name).strip(".") or "_"


def _as_json(values: Any) -> Any:
    return json.loads(json.dumps(values))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
