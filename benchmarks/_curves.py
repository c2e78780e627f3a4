"""A fit's quality over time and views, measured from outside while its clock stands still."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter

from _fit_work import CountedBackbone
from _judge import Judge, Quality, mean_explained
from _subjects import Choice
from _timing import finish

from VoxelFeatLib.field.files import save_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import Preset
from VoxelFeatLib.fitting.progress import FitProgress
from VoxelFeatLib.imaging.volume import Volume

# From one measure of quality to the next the clock grows by so much.
_GROWTH = 1.3
# Steps of a trial, of which the first ones are slower.
_TRIAL = 4


@dataclass(frozen=True)
class Point:
    """Quality after some work: seconds, views encoded (preparation included), optimiser steps."""

    seconds: float
    views: int
    steps: int
    quality: Quality

    @property
    def explained(self) -> float:
        """Explained variance, the mean over levels."""
        return mean_explained(self.quality)


@dataclass(frozen=True)
class Curve:
    """One recipe's run.

    Attributes:
        title: The recipe, and which part of it was run.
        points: In the order of time, the first as soon as the field could be queried.
        parameters: Of the field.
        file_bytes: Of its file.
    """

    title: str
    points: tuple[Point, ...]
    parameters: int
    file_bytes: int

    @property
    def last(self) -> Point:
        """The end of the run."""
        return self.points[-1]

    def reached(self, explained: float) -> float | None:
        """Return the seconds of the first point that explains so much; None if none does."""
        return next((p.seconds for p in self.points if p.explained >= explained), None)

    def after(self, seconds: float) -> Point | None:
        """Return the last point within so many seconds; None if there is none."""
        return next((p for p in reversed(self.points) if p.seconds <= seconds), None)


@dataclass(frozen=True)
class Recipes:
    """What all recipes are compared on.

    Attributes:
        volume: The volume.
        choice: The backbone.
        judge: Measures them all.
        seed: Of every fit.
    """

    volume: Volume
    choice: Choice
    judge: Judge
    seed: int = 0

    def run(
        self,
        title: str,
        preset: Preset,
        tell: Callable[[FitProgress], None] = lambda _: None,
        limit: float = inf,
    ) -> Curve:
        """Fit to the end, or until a time is over and there is a field; `tell` hears of it all."""
        backbone, fitter = self._fitter(preset)
        points: list[Point] = []
        due = 0.0
        for progress, seconds in timed(fitter, self.choice):
            tell(progress)
            over = seconds > limit or progress.stage == "done"
            if progress.usable and (seconds >= due or over):
                quality = self.judge.quality(fitter.field)
                points.append(Point(seconds, backbone.views, progress.step, quality))
                due = _GROWTH * seconds
            if points and over and progress.stage != "done":
                title = f"{title}, stopped at step {progress.step} of {preset.steps}"
                break
        parameters = sum(p.numel() for p in fitter.field.parameters())
        return Curve(title, tuple(points), parameters, self._file_bytes(fitter))

    def views_in(self, preset: Preset, seconds: float) -> int:
        """Return how many of a preset's views a run of about so many seconds can have.

        A few steps are tried; what comes before training is counted in views.
        """
        few = replace(
            shortened(preset, _TRIAL),
            planes=1,
            augmentations=1,
            grid=replace(preset.grid, slices=2),
        )
        backbone, fitter = self._fitter(few)
        marks = [(0.0, 0)]
        for progress, spent in timed(fitter, self.choice):
            if not progress.usable:
                marks.append((spent, backbone.views))
            elif progress.step and progress.stage != "done":
                marks.append((spent, -progress.step))
        views = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(marks) if 0 <= a[1] < b[1]]
        starts = [next(s for s, n in marks if n == -k) for k in range(1, _TRIAL + 1)]
        step = median(b - a for a, b in pairwise(starts))
        before = preset.planes * (1 + preset.augmentations) + preset.heldout_views
        before += min(preset.grid.slices, max(self.volume.geometry.shape_kji))
        left = seconds - before * median(views)
        return max(_TRIAL, min(preset.views, int(left / step * preset.views / preset.steps)))

    def _fitter(self, preset: Preset) -> tuple[CountedBackbone, Fitter]:
        backbone = CountedBackbone(self.choice.make(self.volume))
        return backbone, Fitter(self.volume, backbone, preset, seed=self.seed)

    def _file_bytes(self, fitter: Fitter) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "field.voxelfeat"
            save_field(path, fitter.field, self.volume, fitter.record)
            return path.stat().st_size


def timed(fitter: Fitter, choice: Choice) -> Iterator[tuple[FitProgress, float]]:
    """Go through a fit with its seconds so far; the caller's own time does not count.

    Nor do the fit's own held-out measures: they are no part of any recipe, and of a short run of a
    long one they would be the better half. A step that was measured counts as long as the others.
    """
    steps: list[float] = []
    total, last, seen = 0.0, 0, None
    work = iter(fitter)
    while True:
        start = perf_counter()
        progress = next(work, None)
        if progress is None:
            return
        finish(choice.device)
        spent = perf_counter() - start
        stepped, measured = progress.step > last, progress.heldout is not seen and progress.usable
        if measured:
            spent = median(steps) if stepped and steps else spent if stepped else 0.0
        elif stepped:
            steps.append(spent)
        total, last, seen = total + spent, progress.step, progress.heldout
        yield progress, total


def shortened(preset: Preset, views: int) -> Preset:
    """Return the same schedule, warm-up and decay included, over fewer views."""
    steps = max(1, round(preset.steps * views / preset.views))
    return replace(
        preset,
        views=views,
        first_views=min(preset.first_views, views),
        pool=min(preset.pool, views),
        steps=steps,
    )
