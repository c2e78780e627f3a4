"""A fit as a user sees it: ready for a click, first mask, end, memory, quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from time import perf_counter
from types import MappingProxyType

from _fit_work import CountedBackbone, step_work, view_work
from _roofline import Roofline, Work
from _subjects import Choice
from _tables import Row
from _timing import PeakMemory, finish

from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import Preset
from VoxelFeatLib.fitting.progress import FitProgress
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.session import Session


@dataclass(frozen=True)
class Targets:
    """What a fit should not exceed: seconds until a click is possible and until the end, GB."""

    ready: float | None = None
    done: float | None = None
    memory: float | None = None


# By type of device, backbone and preset; each for the volume and input that its sizes name.
_TARGETS: Mapping[tuple[str, str, str], tuple[tuple[int, int, int], int | None, Targets]] = (
    MappingProxyType(
        {
            ("cpu", "filters", "fast"): ((100, 512, 512), None, Targets(60, 240, 6)),
            ("cpu", "sam2.1-tiny", "fast"): ((100, 512, 512), 512, Targets(180, 720)),
            ("cuda", "sam2.1-large", "balanced"): ((300, 512, 512), 1024, Targets(10, 90, 12)),
            ("cuda", "sam2.1-large", "small-gpu"): ((300, 512, 512), 1024, Targets(memory=6)),
        }
    )
)


def targets_of(
    shape_kji: tuple[int, ...], choice: Choice, preset: Preset, input_size: int
) -> Targets:
    """Return the targets of a case; none where the case has none or the sizes are others."""
    case = _TARGETS.get((choice.device.type, choice.backbone, preset.name))
    if case is None:
        return Targets()
    shape, size, targets = case
    same = shape_kji == shape and size in (None, input_size)
    return targets if same else Targets()


class MeasuredFit:
    """Fits once, clicks as soon as that is possible, and keeps what was seen.

    Args:
        volume: The volume.
        choice: The backbone; making it counts as part of the fit.
        preset: Numbers of the fit.
        seconds: The fit is left unfinished after so long.

    Attributes:
        fitter: After `run`, with its field.
    """

    def __init__(
        self, volume: Volume, choice: Choice, preset: Preset, seconds: float = inf
    ) -> None:
        self.volume, self.choice, self.preset = volume, choice, preset
        self._seconds = seconds
        self._memory = PeakMemory(choice.device)
        self._start = perf_counter()
        self.backbone = CountedBackbone(choice.make(volume))
        self.fitter = Fitter(volume, self.backbone, preset)
        self._ready = self._mask = self._done = 0.0
        self._gigabytes = 0.0
        self._views_when_ready = 0
        self._last: FitProgress | None = None

    def run(self) -> None:
        """Fit to the end, or for as long as was given."""
        for progress in self.fitter:
            self._memory.look()
            self._last = progress
            if progress.usable and not self._mask:
                self._ready, self._views_when_ready = self._clock(), self.backbone.views
                click_once(self.volume, self.fitter)
                self._mask = self._clock()
            if perf_counter() - self._start > self._seconds:
                break
        self._done = self._clock()
        self._gigabytes = self._memory.gigabytes  # before a roofline is measured

    def rows(self, roofline: Roofline | None = None) -> list[Row]:
        """Return times, memory and quality; with a roofline also how close the times are to it."""
        assert self._last is not None  # noqa: S101 - run() came first
        shape = self.volume.geometry.shape_kji
        targets = targets_of(shape, self.choice, self.preset, self.backbone.input_size)
        ready, done = self._shares(roofline) if roofline else (None, None)
        finished = self._last.step == self._last.steps
        what = "fit done" if finished else f"fit stopped at {self._last.step} steps"
        memory = f"largest {self._memory.where}"
        rows = [
            Row("ready for the first click", self._ready or None, "s", targets.ready, ready),
            Row("mask of the first click, whole volume", self._mask or None, "s"),
            Row(what, self._done, "s", targets.done if finished else None, done),
            Row(memory, self._gigabytes, "GB", targets.memory),
            Row("views encoded", self.backbone.views, ""),
            Row("steps", self._last.step, ""),
            Row("parameters", self._parameters / 1e6, "million"),
        ]
        return rows + self._quality()

    @property
    def _parameters(self) -> int:
        return sum(p.numel() for p in self.fitter.field.parameters())

    def _clock(self) -> float:
        finish(self.choice.device)
        return perf_counter() - self._start

    def _shares(self, roofline: Roofline) -> tuple[float | None, float]:
        work = view_work(self.backbone.backbone, self.preset.batch)
        step = step_work(self.fitter.field.network, self.preset, self.backbone.input_size)
        steps = self._last.step if self._last else 0
        ready = None
        if self._ready:
            ready = roofline.share(self._ready, work.times(self._views_when_ready))
        parts: list[Work] = [work.times(self.backbone.views), step.times(steps)]
        return ready, roofline.share(self._done, *parts)

    def _quality(self) -> list[Row]:
        rows = []
        for level, values in self.fitter.record["heldout"].items():
            for name in ("cosine", "explained_variance"):
                for source in ("field", "upsampling"):
                    value = values[source].get(name)
                    rows.append(Row(f"held-out {name}, {level}, {source}", value, ""))
        return rows


def click_once(volume: Volume, fitter: Fitter) -> None:
    """A positive click in the middle of the volume, answered everywhere."""
    session = Session(volume, fitter.field)
    session.add_segment("first")
    right, anterior, superior = volume.geometry.centre_ras.tolist()
    session.add_click("first", Click((right, anterior, superior), positive=True))
    for _ in session.update("first"):
        continue
