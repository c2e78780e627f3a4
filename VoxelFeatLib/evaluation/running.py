"""All targets of a data set, all methods, one after the other."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

import VoxelFeatLib
from VoxelFeatLib.errors import Cancelled, InputError, OutputError, VoxelFeatError
from VoxelFeatLib.evaluation.datasets import Case, Label, OpenCase, chosen
from VoxelFeatLib.evaluation.grouping import ALL
from VoxelFeatLib.evaluation.results import MethodResult, ResultFiles
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.volume import Volume


class Method(Protocol):
    """Something that is compared.

    Attributes:
        name: For the command line and the tables.
        settings: All numbers that decide its results; results of other settings are not mixed.
    """

    name: str
    settings: dict[str, object]


def check_names(names: Sequence[str], known: Collection[str]) -> None:
    """Check the names of methods that a user typed.

    Raises:
        InputError: None, an unknown one, or one twice.
    """
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        word = f"“{unknown[0]}”" if unknown else "nothing"
        raise InputError(f"There is no method {word}; choose of: {', '.join(known)}.")
    if len(set(names)) < len(names):
        raise InputError("Name every method once.")


@dataclass(frozen=True)
class Failure:
    """What could not be done; label and method are empty where all of them failed."""

    case: str
    label: str
    method: str
    sentence: str

    def __str__(self) -> str:
        names = ", ".join(name for name in (self.case, self.label, self.method) if name)
        return f"{names}: {self.sentence}"


# Labels named where one that was asked for is missing.
_LISTED = 20


@dataclass(frozen=True)
class Progress:
    """How far an evaluation is.

    Attributes:
        fraction: 0 to 1.
        words: What is being done.
    """

    fraction: float
    words: str


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be segmented.

    Attributes:
        case: The case's name.
        label: The label's.
        volume: The image.
        mask: (K, J, I) the reference, not empty.
    """

    case: str
    label: str
    volume: Volume
    mask: Mask


M = TypeVar("M", bound=Method)
R = TypeVar("R", bound=MethodResult)


class Evaluation(ABC, Generic[M, R]):
    """An evaluation; iterate over it to run it.

    What fails is kept and does not stop the rest, but an OutputError ends it: nothing more could be
    written either. A result is a file as soon as it is there; files of the same volume, target,
    method and settings are taken instead of working again.

    Args:
        cases: The data set.
        wanted: Numbers or names of labels; all when empty.
        methods: To compare.
        files: Of the results.

    Attributes:
        results: So far.
        failures: So far.
        left_out: Sentences about what is not measured, on purpose.
        reused: How many results are from files.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        wanted: Sequence[str],
        methods: Sequence[M],
        files: ResultFiles[R],
    ) -> None:
        self.cases = cases
        self.wanted = wanted
        self.methods = methods
        self.results: list[R] = []
        self.failures: list[Failure] = []
        self.left_out: list[str] = []
        self.reused = 0
        self._files = files

    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """Return what decides the results besides target and method, as JSON."""

    @abstractmethod
    def _measured(self, target: Target, method: M) -> Generator[float, None, R]:
        """Run one method on one target; yields the part that is done."""

    def _why_not(self, target: Target) -> str:  # noqa: ARG002 - for subclasses
        """Return why a target is left out; empty for one that is measured."""
        return ""

    def __iter__(self) -> Iterator[Progress]:
        """Run; yields before each case and as methods get on."""
        found: set[Label] = set()
        there: set[Label] = set()
        for number, case in enumerate(self.cases):
            yield Progress(number / len(self.cases), case.name)
            with self._noting(case.name):
                opened = case.open()
                there.update(opened.labels)
                for step in self._case(case.name, opened, found):
                    yield Progress((number + step.fraction) / len(self.cases), step.words)
        if self.failures:  # it may be among what failed
            return
        known = sorted(there, key=lambda label: (label.number or 0, label.name))
        names = [label.name for label in known[:_LISTED]] + ["…"] * (len(known) > _LISTED)
        self.failures += [
            Failure("", word, "", f"No case has the label “{word}”; there are: {', '.join(names)}")
            for word in self.wanted
            if not any(label.answers(word) for label in found)
        ]

    def _case(self, name: str, case: OpenCase, found: set[Label]) -> Iterator[Progress]:
        if not case.labels:
            raise InputError("No voxel of this case has a label; check its label file.")
        labels = chosen(case.labels, self.wanted)
        if any(label.name == ALL for label in labels):
            raise InputError(
                f"A label is named “{ALL}”, as is the mean of all labels in the tables.",
                "Name it otherwise; one that has a number with --labels, such as 5=whole.",
            )
        if not self.methods:  # all left out: what is missing is not the label
            found.update(labels)
        # By method first: what a method keeps of the volume serves all targets.
        tasks = [(method, label) for method in self.methods for label in labels]
        for done, (method, label) in enumerate(tasks):
            words = f"{name}, {label.name}, {method.name}"
            with self._noting(name, label.name, method.name):
                target = Target(name, label.name, case.volume, case.mask(label))
                if not target.mask.any():
                    continue
                found.add(label)
                for part in self._target(target, label, method):
                    yield Progress((done + part) / len(tasks), words)

    def _target(self, target: Target, label: Label, method: M) -> Iterator[float]:
        """Run one method on one target, or take its file; yields the part that is done."""
        if reason := self._why_not(target):
            if reason not in self.left_out:
                self.left_out.append(reason)
            return
        path = self._files.path(target.case, label, method.name)
        settings = self._settings(target, method)
        result = self._files.read(path, settings)
        names = (target.case, target.label, method.name)
        if result is not None and (result.case, result.label, result.method) != names:
            result = None  # another case's, whose name has the same letters, or edited by hand
        self.reused += result is not None
        if result is None:
            result = yield from self._measured(target, method)
            self._files.write(path, settings, result)
        self.results.append(result)
        yield 1.0

    def _settings(self, target: Target, method: M) -> dict[str, Any]:
        """Return all that decides a result."""
        return {
            "program": VoxelFeatLib.__version__,
            "volume": target.volume.sha256(),
            "geometry": target.volume.geometry.ijk_to_ras.tolist(),
            "target": hashlib.sha256(np.packbits(target.mask).tobytes()).hexdigest(),
            "method": {"name": method.name, **method.settings},
            **self.protocol(),
        }

    @contextmanager
    def _noting(self, case: str, label: str = "", method: str = "") -> Iterator[None]:
        """Keep what fails in the block."""
        try:
            yield
        except (Cancelled, OutputError):
            raise
        except VoxelFeatError as error:
            self.failures.append(Failure(case, label, method, str(error)))
        except Exception as error:  # noqa: BLE001 - a defect met at night must not end the run
            sentence = f"{type(error).__name__}: {error}"
            self.failures.append(Failure(case, label, method, sentence))
