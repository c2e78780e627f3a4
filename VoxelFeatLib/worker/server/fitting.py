"""The request `fit`: short pieces of work between which everything else is answered."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.backbones.weights.download import DownloadProgress
from VoxelFeatLib.devices.choice import device_named
from VoxelFeatLib.errors import FieldFileError, VoxelFeatError
from VoxelFeatLib.field.files import save_field
from VoxelFeatLib.fitting.default_preset import default_preset
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.kept import CHECKPOINT, FitKey
from VoxelFeatLib.fitting.presets import Preset, preset_named
from VoxelFeatLib.fitting.progress import FitProgress
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.protocol import Message
from VoxelFeatLib.worker.server.backbones import BackboneOrder
from VoxelFeatLib.worker.server.cache import (
    agreement_of,
    fields_folder,
    made_folder,
    mean_cosine,
    plain,
    remove_abandoned,
)
from VoxelFeatLib.worker.server.failures import Refused, free_caches, with_less
from VoxelFeatLib.worker.server.requests import Reporter, Request, Steps
from VoxelFeatLib.worker.server.workspace import Workspace

_log = logging.getLogger(__name__)

# A killed fit loses about so many seconds, unless writing takes more than this share of the time.
_CHECKPOINT_SECONDS = 30.0
_CHECKPOINT_SHARE = 0.05
# The preset of large GPUs, and what it becomes on one that turns out to be too small.
_ROOMY, _FRUGAL = "balanced", "small-gpu"


@dataclass(frozen=True)
class Order:
    """What is to be fitted.

    Attributes:
        volume: The volume.
        backbone: The backbone, set up for it.
        preset: Numbers of the fit.
        seed: Decides every random choice.
        kept: Whether the result is kept on disk.
    """

    volume: Volume
    backbone: Backbone
    preset: Preset
    seed: int
    kept: bool

    @classmethod
    def read(
        cls, workspace: Workspace, request: Request, report: Reporter
    ) -> Generator[None, None, Order]:
        """Read a request, and make the backbone, whose weights may have to be downloaded.

        Raises:
            VoxelFeatError: It asks for what there is not.
        """
        values = request.arguments
        volume = workspace.need_volume()
        device = device_named(values.text("device", "auto"))
        name = values.text("preset", "auto")
        preset = preset_named(default_preset(device) if name == "auto" else name)
        seed, kept = values.whole("seed", 0), values.flag("cache", default=True)

        def tell(progress: DownloadProgress) -> None:
            report(**_downloading(progress))

        backbone = yield from BackboneOrder.read(values, device).made(volume, tell)
        return cls(volume, backbone, preset, seed, kept)

    def smaller(self, attempt: int) -> Order:
        """Return the same for less memory, attempt by attempt.

        What does not fit on a GPU is tried as `small-gpu`, then with smaller batches, a smaller
        pool and coarser grids.
        """
        preset = self.preset
        for _ in range(attempt):
            if preset.name == _ROOMY and self.backbone.device.type != "cpu":
                preset = preset_named(_FRUGAL)
            else:
                preset = _halved(preset)
        return replace(self, preset=preset)

    @property
    def checkpoint(self) -> Path:
        """Where the unfinished fit is kept."""
        key = FitKey(self.volume, self.backbone, self.preset, self.seed)
        return key.path(fields_folder(), CHECKPOINT)


def _halved(preset: Preset) -> Preset:
    most = max(1 << 20, preset.grid.most_values // 2)
    return replace(
        preset,
        batch=max(1, preset.batch // 2),
        windows=max(1, preset.windows // 2),
        pool=max(1, preset.pool // 2),
        grid=replace(preset.grid, most_values=most),
    )


def fit(workspace: Workspace, request: Request) -> Steps:
    """Fit a field; clicks are answered by it from `usable` on."""
    if workspace.fitting:
        raise Refused(protocol.BUSY, "A fit is running already.", "Cancel it first.")
    try:
        return (yield from _answered(workspace, request))
    finally:
        # Views and backbone are gone now: others can have their memory.
        free_caches()


def _answered(workspace: Workspace, request: Request) -> Steps:
    """Fit, use the field, and return the reply."""
    report = Reporter(request)
    workspace.fitting = True
    try:
        report(**_waiting("preparing"))
        order = yield from Order.read(workspace, request, report)
        yield

        def work(attempt: int) -> Generator[None, None, Fitter]:
            if attempt:
                report(always=True, **_waiting("less memory, starting again"))
                workspace.abandon()
                workspace.drop_caches()
            return (yield from _fitted(workspace, order.smaller(attempt), report))

        fitter = yield from with_less(work)
    finally:
        workspace.fitting = False
        workspace.settle()
    workspace.use(fitter.field, finished=True)
    workspace.record = fitter.record
    workspace.path = _kept(fitter) if order.kept else ""
    path = workspace.path
    return {
        "seconds": fitter.record["seconds"],
        **agreement_of(fitter.record),
        "path": path,
        "bytes": Path(path).stat().st_size if path else 0,
        "backbone": fitter.backbone.name,
        "preset": fitter.preset.name,
    }


def _fitted(workspace: Workspace, order: Order, report: Reporter) -> Generator[None, None, Fitter]:
    """Fit to the end."""
    fitter = _fitter(order)
    checkpoints = _Checkpoints(order) if order.kept else None
    usable = False
    for progress in fitter:
        if progress.usable and not usable:
            workspace.record, workspace.path = None, ""
            workspace.use(fitter.field, finished=False)
            report(always=True, **_told(progress))
        usable = progress.usable
        report(**_told(progress))
        if checkpoints is not None and usable and progress.step < progress.steps:
            checkpoints.write(fitter)
        yield
    if checkpoints is not None:
        checkpoints.remove()
    return fitter


def _fitter(order: Order) -> Fitter:
    """Make a fitter; it goes on with what an earlier worker left of the very same fit."""
    arguments = (order.volume, order.backbone, order.preset)
    if order.kept and order.checkpoint.is_file():
        try:
            return Fitter.resume(order.checkpoint, *arguments, seed=order.seed)
        except FieldFileError as error:
            _log.warning("The fit starts anew: %s", error)
    return Fitter(*arguments, seed=order.seed)


class _Checkpoints:
    """Saves an unfinished fit now and then, so that a killed worker loses little."""

    def __init__(self, order: Order) -> None:
        self._path = order.checkpoint
        self._next = time.monotonic() + _CHECKPOINT_SECONDS
        remove_abandoned()

    def write(self, fitter: Fitter) -> None:
        """Write if it is time; a full disk is no reason to stop."""
        began = time.monotonic()
        if began < self._next or not made_folder(self._path):
            return
        try:
            fitter.checkpoint(self._path)
        except VoxelFeatError as error:
            _log.warning("The unfinished fit is not kept: %s", error)
        now = time.monotonic()
        self._next = now + max(_CHECKPOINT_SECONDS, (now - began) / _CHECKPOINT_SHARE)

    def remove(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _kept(fitter: Fitter) -> str:
    """Keep a finished field in the cache; empty where that cannot be."""
    path = fitter.key.path(fields_folder())
    if not made_folder(path):
        return ""
    try:
        save_field(path, fitter.field, fitter.volume, fitter.record)
    except VoxelFeatError as error:
        _log.warning("The field is not kept: %s", error)
        return ""
    return str(path)


def _told(progress: FitProgress) -> Message:
    heldout = {name: plain(level) for name, level in progress.heldout.items()}
    return {
        "stage": progress.stage,
        "fraction": float(progress.fraction),
        "seconds_left": float(progress.seconds_left),
        "step": progress.step,
        "steps": progress.steps,
        "heldout": heldout,
        "upsampling": {name: plain(level) for name, level in progress.upsampling.items()},
        "usable": progress.usable,
        "mean_cosine": mean_cosine(heldout),
    }


def _waiting(stage: str) -> Message:
    """Return progress before there is any."""
    return {
        "stage": stage,
        "fraction": 0.0,
        "seconds_left": None,
        "step": 0,
        "steps": 0,
        "heldout": {},
        "upsampling": {},
        "usable": False,
        "mean_cosine": None,
    }


def _downloading(progress: DownloadProgress) -> Message:
    done, total = (round(count / 1e6) for count in (progress.bytes, progress.total))
    return {
        **_waiting(f"downloading weights ({done} of {total} MB)"),
        "fraction": progress.fraction,
        "seconds_left": progress.seconds_left,
    }
