"""All targets of a data set, all methods, one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import VoxelFeatLib
from VoxelFeatLib.errors import Cancelled, VoxelFeatError
from VoxelFeatLib.evaluation.clicks.results import Result, ResultFiles
from VoxelFeatLib.evaluation.clicks.runs import ClickRun, Method, clicking
from VoxelFeatLib.evaluation.clicks.user import Habits
from VoxelFeatLib.evaluation.datasets import Case, Label, OpenCase, chosen
from VoxelFeatLib.imaging.aliases import Mask


@dataclass(frozen=True)
class Failure:
    """What could not be done; label and method are empty where all of them failed."""

    case: str
    label: str
    method: str
    sentence: str


@dataclass(frozen=True)
class Progress:
    """How far an evaluation is.

    Attributes:
        fraction: 0 to 1.
        words: What is being done.
    """

    fraction: float
    words: str


@dataclass(eq=False)
class Evaluation:
    """An evaluation; iterate over it to run it.

    What fails is kept and does not stop the rest. A result is a file as soon as it is there; files
    of the same volume, target, method and settings are taken instead of working again.

    Attributes:
        cases: The data set.
        wanted: Numbers or names of labels; all when empty.
        methods: To compare.
        habits: How the simulated user clicks.
        folder: Of the result files.
        results: So far.
        failures: So far.
        reused: How many results are from files.
    """

    cases: Sequence[Case]
    wanted: Sequence[str]
    methods: Sequence[Method]
    habits: Habits
    folder: Path
    results: list[Result] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    reused: int = 0

    def __iter__(self) -> Iterator[Progress]:
        """Run; yields before each case and after each click."""
        found: set[Label] = set()
        for number, case in enumerate(self.cases):
            yield Progress(number / len(self.cases), case.name)
            with self._noting(case.name):
                for step in self._case(case.name, case.open(), found):
                    yield Progress((number + step.fraction) / len(self.cases), step.words)
        if self.failures:  # it may be among what failed
            return
        self.failures += [
            Failure("", word, "", f"No case has the label “{word}”.")
            for word in self.wanted
            if not any(label.answers(word) for label in found)
        ]

    def _case(self, name: str, case: OpenCase, found: set[Label]) -> Iterator[Progress]:
        labels = chosen(case.labels, self.wanted)
        # By method first: what a method keeps of the volume serves all targets.
        tasks = [(method, label) for method in self.methods for label in labels]
        for done, (method, label) in enumerate(tasks):
            words = f"{name}, {label.name}, {method.name}"
            with self._noting(name, label.name, method.name):
                target = case.mask(label)
                if not target.any():
                    continue
                found.add(label)
                for part in self._target(name, case, label, target, method):
                    yield Progress((done + part) / len(tasks), words)

    def _target(
        self, name: str, case: OpenCase, label: Label, target: Mask, method: Method
    ) -> Iterator[float]:
        """Run one method on one target, or take its file; yields the part that is done."""
        files = ResultFiles(self.folder)
        path = files.path(name, label, method.name)
        settings = self._settings(case, target, method)
        result = files.read(path, settings)
        self.reused += result is not None
        if result is None:
            run = ClickRun()
            for run in clicking(case.volume, target, method, self.habits):
                yield len(run.dice) / self.habits.clicks
            result = Result.of(run, name, label.name, method.name, case.volume.geometry)
            files.write(path, settings, result)
        self.results.append(result)
        yield 1.0

    def _settings(self, case: OpenCase, target: Mask, method: Method) -> dict[str, Any]:
        """Return all that decides a result."""
        geometry = case.volume.geometry
        return {
            "program": VoxelFeatLib.__version__,
            "volume": case.volume.sha256(),
            "geometry": geometry.ijk_to_ras.tolist(),
            "target": hashlib.sha256(np.packbits(target).tobytes()).hexdigest(),
            "method": {"name": method.name, **method.settings},
            "user": asdict(self.habits),
        }

    @contextmanager
    def _noting(self, case: str, label: str = "", method: str = "") -> Iterator[None]:
        """Keep what fails in the block."""
        try:
            yield
        except Cancelled:
            raise
        except VoxelFeatError as error:
            self.failures.append(Failure(case, label, method, str(error)))
        except Exception as error:  # noqa: BLE001 - a defect met at night must not end the run
            sentence = f"{type(error).__name__}: {error}"
            self.failures.append(Failure(case, label, method, sentence))
