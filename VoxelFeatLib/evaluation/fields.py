"""Fields for the volumes of a data set: given, kept from an earlier run, or fitted now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from VoxelFeatLib.backbones.registry import BackboneOptions, create_backbone, sam2_input_size
from VoxelFeatLib.backbones.weights.catalogue import CATALOGUE, is_checkpoint_path, sha256_of
from VoxelFeatLib.errors import FieldFileError, InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field, read_header, save_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.kept import FitKey
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.volume import Volume


@dataclass(frozen=True)
class BackboneChoice:
    """Whose features an evaluation is about.

    Attributes:
        name: Of the backbone, or a checkpoint's path.
        options: What was chosen of it; its device is where everything of the evaluation runs.
    """

    name: str
    options: BackboneOptions

    @property
    def device(self) -> torch.device:
        """Where fields are fitted and asked."""
        return torch.device(self.options.device)

    @cached_property
    def settings(self) -> dict[str, object]:
        """What decides the features; reads a checkpoint that was chosen by its path.

        Raises:
            InputError: It cannot be read.
        """
        options = self.options
        by_path = is_checkpoint_path(self.name)
        chosen: dict[str, object] = {"backbone": Path(self.name).name}
        if options.encoding:
            chosen["encoding"] = options.encoding
        if by_path or self.name in CATALOGUE:
            # Devices differ in it where it is not chosen.
            chosen["input_size"] = options.input_size or sam2_input_size(self.device)
        if by_path:
            chosen["weights"] = _digest(Path(self.name))
        return chosen

    @property
    def words(self) -> str:
        """The same, short enough for a title."""
        words = [str(value) for value in self.settings.values()]
        return "-".join(word[:8] if len(word) == 64 else word for word in words)


@dataclass(frozen=True)
class FieldStore:
    """Call it with a volume to get its field.

    Attributes:
        folder: Where fitted fields are kept, and found again.
        backbone: Of the fits.
        preset, seed: Of the fits.
        given: Field files to use for the volumes that they belong to.
        tell: Is told what is being done, now and then, and the seconds that a fit still takes.
    """

    folder: Path
    backbone: BackboneChoice
    preset: str
    seed: int
    given: Sequence[Path] = ()
    tell: Callable[[str, float], None] = lambda _words, _left: None

    @cached_property
    def settings(self) -> dict[str, object]:
        """What decides the fields; reads the given files."""
        return {
            **self.backbone.settings,
            "preset": self.preset,
            "fields": sorted(map(_digest, self.given)),
        }

    def __call__(self, volume: Volume) -> FeatureField:
        """Return the field of a volume.

        Raises:
            FieldFileError: A given file is damaged.
            NotEnoughMemoryError: The fit would not fit into memory.
        """
        device = self.backbone.device
        for path in self.given:
            if read_header(path).volume_sha256 == volume.sha256():
                return load_field(path, volume, device)[0]
        backbone = create_backbone(self.backbone.name, volume, self.backbone.options)
        key = FitKey(volume, backbone, preset_named(self.preset), self.seed)
        for path in key.fields(self.folder):
            try:
                return load_field(path, volume, device)[0]
            except FieldFileError:
                self.tell(f"{path.name} is damaged and is made anew", 0.0)
        return self._fitted(key)

    def _fitted(self, key: FitKey) -> FeatureField:
        fitter = Fitter(key.volume, key.backbone, key.preset, seed=key.seed)
        name = key.volume.name
        for progress in fitter:
            self.tell(f"{name}, fitting {progress.fraction:.0%}", progress.seconds_left)
        path = key.path(self.folder, title=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_field(path, fitter.field, key.volume, fitter.record)
        return fitter.field


def _digest(path: Path) -> str:
    try:
        return sha256_of(path.expanduser())
    except (OSError, ValueError, RuntimeError) as error:  # of a name that no file can have, too
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({reason}).") from error
