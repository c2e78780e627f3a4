"""What a request carries, read with a clear error for everything that is missing or wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from VoxelFeatLib.errors import GeometryError
from VoxelFeatLib.imaging.aliases import Position, Triple
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker.protocol import (
    MAX_PLANE_PIXELS,
    BadMessageError,
    Message,
    Plane,
    extent_from_wire,
    numbers_from_wire,
    position_from_wire,
)


class Arguments:
    """The values of one request, or of a map inside it.

    Args:
        values: As they came.

    Every method raises BadMessageError where the value is missing (and has no default) or of
    another kind.
    """

    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise BadMessageError("A request is a map of names to values.")
        self._values: Message = values

    def has(self, name: str) -> bool:
        """Tell whether there is a value, and not None."""
        return self._values.get(name) is not None

    def raw(self, name: str) -> Any:
        """Return a value as it came; None where there is none."""
        return self._values.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text."""
        value = self._given(name, default)
        if not isinstance(value, str):
            raise BadMessageError(f"“{name}” must be a text.")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number that is not negative."""
        value = self._given(name, default)
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise BadMessageError(f"“{name}” must be a whole number, not negative.")
        return value

    def number(self, name: str) -> float:
        """Return a finite number."""
        return numbers_from_wire([self._given(name)], 1, name)[0]

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a truth value."""
        value = self._given(name, default)
        if not isinstance(value, bool):
            raise BadMessageError(f"“{name}” must be true or false.")
        return value

    def inner(self, name: str) -> Arguments:
        """Return a map inside; an empty one where there is none."""
        return Arguments(self._values.get(name) or {})

    def each(self, name: str) -> list[Any]:
        """Return a list, empty where there is none."""
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadMessageError(f"“{name}” must be a list.")
        return value

    def position(self, name: str) -> Position:
        """Return RAS mm."""
        return position_from_wire(self._given(name), name)

    def positions(self, name: str) -> tuple[Position, ...]:
        """Return a list of RAS mm, empty where there is none."""
        return tuple(position_from_wire(value, f"each of {name}") for value in self.each(name))

    def extent(self, name: str) -> Extent | None:
        """Return an extent; None where there is none."""
        return extent_from_wire(self.raw(name)) if self.has(name) else None

    def planes(self) -> list[Plane]:
        """Return the planes of a request that draws pictures."""
        planes = [Plane.from_wire(wire) for wire in self.each("planes")]
        if sum(plane.size for plane in planes) > MAX_PLANE_PIXELS:
            raise BadMessageError(f"All planes together have at most {MAX_PLANE_PIXELS} pixels.")
        return planes

    def geometry(self, shape_kji: Triple) -> Geometry:
        """Return the geometry of ``ijk_to_ras``; GeometryError where it describes no volume."""
        rows = [numbers_from_wire(row, 4, "each row") for row in self.each("ijk_to_ras")]
        if len(rows) != 4:
            raise GeometryError("A volume's IJK-to-RAS matrix has four rows of four numbers.")
        return Geometry(shape_kji, np.array(rows, dtype=np.float64))

    def _given(self, name: str, default: Any = None) -> Any:
        value = self._values.get(name)
        value = default if value is None else value
        if value is None:
            raise BadMessageError(f"“{name}” is missing.")
        return value
