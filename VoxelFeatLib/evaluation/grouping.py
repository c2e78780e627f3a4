"""Results by method and label, in the order in which they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

# The label of what is about all labels together.
ALL = "all"


class Named(Protocol):
    """A result, or what is said of several."""

    @property
    def label(self) -> str:
        """Name of the target."""
        ...

    @property
    def method(self) -> str:
        """Name of the method."""
        ...


N = TypeVar("N", bound=Named)
Group = tuple[str, str, list[N]]


def methods_of(entries: Iterable[Named]) -> list[str]:
    """Return each method once."""
    return list(dict.fromkeys(entry.method for entry in entries))


def labels_of(entries: Iterable[Named]) -> list[str]:
    """Return each label once, `ALL` among them where there are entries of it."""
    return list(dict.fromkeys(entry.label for entry in entries))


def by_method(results: Sequence[N]) -> list[Group[N]]:
    """Return each method, `ALL`, and its results."""
    return [(name, ALL, [r for r in results if r.method == name]) for name in methods_of(results)]


def by_label(results: Sequence[N]) -> list[Group[N]]:
    """Return each method, label, and their results; label by label, without empty groups."""
    groups = [
        (method, label, [r for r in results if (r.method, r.label) == (method, label)])
        for label in labels_of(results)
        for method in methods_of(results)
    ]
    return [group for group in groups if group[2]]
