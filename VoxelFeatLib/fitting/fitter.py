"""The fit: a sequence of short steps that a caller runs, watches, interrupts and resumes.

Everything random is derived from the seed and a counter, never from a generator's history. A fit
resumed from a checkpoint therefore takes the very steps that the uninterrupted one would have
taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from VoxelFeatLib.errors import FieldFileError, InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import check_volume, header_of, read_tensors, write_tensors
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.fitting.grid_learner import GridLearner
from VoxelFeatLib.fitting.kept import FitKey
from VoxelFeatLib.fitting.memory import check_memory, fit_memory
from VoxelFeatLib.fitting.network_learner import NetworkLearner
from VoxelFeatLib.fitting.networks import network_for
from VoxelFeatLib.fitting.preparation import Preparation
from VoxelFeatLib.fitting.presets import of_level
from VoxelFeatLib.fitting.progress import FitProgress, Pace
from VoxelFeatLib.fitting.training import Trainer

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.learner import Learner
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.volume import Volume

# The held-out measure is taken this often during training.
_MEASURES = 10


class Fitter:
    """Fits a field to a volume; iterate it to work.

    Each iteration does one short piece of work (an encoded view, one optimiser step) and yields a
    `FitProgress`. Stop iterating to cancel. From the first progress whose `usable` is true,
    `field` can be queried between any two iterations.

    Args:
        volume: The volume.
        backbone: The frozen 2D network, set up for this volume; the fit is done on its device.
        preset: All numbers of the fit.
        seed: Decides every random choice.

    Attributes:
        field: The field, better after every iteration.
        key: What decides the field.
        memory: Peak bytes the fit is expected to need on its device.

    Raises:
        InputError: The volume is too small to be sliced.
        NotEnoughMemoryError: The fit would not fit into memory.
    """

    def __init__(
        self, volume: Volume, backbone: Backbone, preset: Preset, *, seed: int = 0
    ) -> None:
        self.volume = volume
        self.backbone = backbone
        self.preset = preset
        self.seed = seed
        _check_size(volume)
        with torch.device("meta"):  # shapes alone: to be asked for before anything is allocated
            shapes = network_for(preset, volume.geometry, backbone)
        self.memory = fit_memory(volume.geometry, backbone, shapes, preset)
        check_memory(self.memory, backbone.device, preset.name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # initial weights
            network = network_for(preset, volume.geometry, backbone)
        self.field = FeatureField(network, backbone.name, backbone.fingerprint).to(backbone.device)
        self._preparation = Preparation(volume, backbone, preset, seed)
        self.key = FitKey(volume, backbone, preset, seed)
        self._trainer: Trainer | None = None
        self._resumed: dict[str, torch.Tensor] | None = None
        self._step = 0
        self._upsampling: dict[str, dict[str, float]] = {}
        self._heldout: dict[str, dict[str, float]] = {}
        self._pace = Pace(preset, self._preparation.units(isinstance(network, GridNetwork)))

    @classmethod
    def resume(
        cls,
        path: Path,
        volume: Volume,
        backbone: Backbone,
        preset: Preset,
        *,
        seed: int = 0,
    ) -> Fitter:
        """Make a fitter that goes on from a checkpoint.

        Raises:
            FieldFileError: Damaged file, another volume, or a fit with other settings.
        """
        header, tensors = read_tensors(path)
        if header.kind != "checkpoint":
            raise FieldFileError(f"{path} is a finished field, there is nothing to resume.")
        check_volume(path, header, volume)
        fitter = cls(volume, backbone, preset, seed=seed)
        found, wanted = header.record.get("settings"), fitter.key.settings
        if found != wanted:
            names = _differences(found, wanted)
            raise FieldFileError(
                f"{path} was fitted with other settings ({names}); "
                "resume with the same ones or fit anew."
            )
        fitter._restore(path, tensors, header.record)
        return fitter

    @property
    def record(self) -> dict[str, Any]:
        """What the field file keeps of the fit: settings, steps, seconds, held-out measure."""
        return {
            "settings": self.key.settings,
            "encoding": self.backbone.encoding.name,
            "input_size": self.backbone.input_size,
            "step": self._step,
            "seconds": round(self._pace.elapsed, 2),
            "device": str(self.backbone.device),
            "heldout": {
                name: {"field": values, "upsampling": self._upsampling.get(name, {})}
                for name, values in self._heldout.items()
            },
        }

    def __iter__(self) -> Iterator[FitProgress]:
        """Do the work, piece by piece."""
        self._pace.start()
        yield from self._prepare()
        trainer = self._trainer
        assert trainer is not None  # noqa: S101 - _prepare made it
        steps = self.preset.steps
        interval = max(1, steps // _MEASURES)
        while self._step < steps:
            while trainer.views < self.preset.views_at(self._step):
                count = min(self.preset.batch, self.preset.views_at(self._step) - trainer.views)
                trainer.add_views(count)
                self._pace.done("views", count)
                yield self._progress("encoding views")
            losses = trainer.step(self._step)
            self._step += 1
            self._pace.done("steps")
            if self._step % interval == 0 and self._step < steps:
                self._heldout = self._preparation.heldout.of_field(self.field.network)
            yield self._progress("training", losses)
        self._finish()
        yield self._progress("done")

    def checkpoint(self, path: Path) -> None:
        """Write the state from which `resume` goes on; only once training has begun.

        Raises:
            InputError: Too early, or the file cannot be written.
        """
        if self._trainer is None:
            raise InputError("The fit cannot be saved before its first field is there; try later.")
        tensors = {f"field.{name}": value for name, value in self.field.state_dict().items()}
        tensors |= {f"optimiser.{n}": v for n, v in self._trainer.learner.state().items()}
        tensors |= self._preparation.state()
        record = self.record | {"upsampling": self._upsampling}
        write_tensors(path, tensors, header_of(self.field, self.volume, record, "checkpoint"))

    def _prepare(self) -> Iterator[FitProgress]:
        """Measure channels, take the first values of the field, make the trainer."""
        preparation, network = self._preparation, self.field.network
        if self._resumed is None:
            for count in preparation.measure():
                self._pace.done("planes", count)
                yield self._progress("measuring channels")
        for count in preparation.encode_heldout():
            self._pace.done("views", count)
            yield self._progress("encoding held-out views")
        self._set_scaling()
        if self._resumed is None:
            for count in preparation.first_values(network):
                self._pace.done("slices", count)
                yield self._progress("first field")
            self._upsampling = preparation.upsampling(network)
            self._heldout = preparation.heldout.of_field(network)
        self._trainer = Trainer(
            _learner(network, preparation.weights, self.preset),
            preparation.encoder,
            preparation.sampler,
            self.preset,
            self.seed,
        )
        if self._resumed is not None:
            self._trainer.learner.restore(self._resumed)
            self._trainer.skip_to(self._step)
        yield self._progress("training")

    def _set_scaling(self) -> None:
        scaling = self._preparation.scaling
        self.field.mean.copy_(torch.cat(list(scaling.means)))
        self.field.std.copy_(torch.cat(list(scaling.stds)))

    def _restore(
        self, path: Path, tensors: dict[str, torch.Tensor], record: dict[str, Any]
    ) -> None:
        try:
            self.field.load_state_dict(
                {n[6:]: t for n, t in tensors.items() if n.startswith("field.")}
            )
            self._preparation.restore(tensors)
            self._resumed = {n[10:]: t for n, t in tensors.items() if n.startswith("optimiser.")}
            self._step = int(record["step"])
            self._upsampling = record["upsampling"]
            self._heldout = {n: v["field"] for n, v in record["heldout"].items()}
            self._pace.resume(float(record["seconds"]), self._step)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise FieldFileError(f"{path} is damaged; fit anew.") from error

    def _finish(self) -> None:
        # What is measured and used from now on is what the file will hold.
        self.field.load_state_dict(self.field.stored())
        self._heldout = self._preparation.heldout.of_field(self.field.network)
        self.field.eval().requires_grad_(False)

    def _progress(self, stage: str, losses: dict[str, float] | None = None) -> FitProgress:
        return FitProgress(
            stage=stage,
            step=self._step,
            steps=self.preset.steps,
            fraction=self._pace.fraction,
            seconds_left=self._pace.seconds_left,
            losses=losses or {},
            heldout=self._heldout,
            upsampling=self._upsampling,
            usable=self._trainer is not None,
        )


def _learner(network: FieldNetwork, weights: tuple[torch.Tensor, ...], preset: Preset) -> Learner:
    if isinstance(network, GridNetwork):
        levels = range(len(network.levels))
        smoothness = tuple(of_level(preset.grid.smoothness, level) for level in levels)
        return GridLearner(network, weights, smoothness)
    return NetworkLearner(network, weights, preset.objective)


def _check_size(volume: Volume) -> None:
    shape = volume.geometry.shape_kji
    if sorted(shape)[1] < 8:
        sizes = " x ".join(str(n) for n in reversed(shape))
        raise InputError(
            f"A volume of {sizes} voxels is too small to fit; "
            "it needs at least 8 voxels along two axes."
        )


def _differences(found: Any, wanted: dict[str, Any]) -> str:
    if not isinstance(found, dict):
        return "unknown"
    return ", ".join(name for name in wanted if found.get(name) != wanted[name])
