"""Fields for the volumes of a data set: given, kept from an earlier run, or fitted now."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from VoxelFeatLib.backbones.registry import BackboneOptions, create_backbone
from VoxelFeatLib.errors import FieldFileError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field, read_header, save_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.volume import Volume

_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class FieldStore:
    """Call it with a volume to get its field.

    Attributes:
        folder: Where fitted fields are kept, and found again.
        backbone, preset, seed: Of the fits.
        device: Where fields are fitted and asked.
        given: Field files to use for the volumes that they belong to.
        tell: Is told what is being done, now and then.
    """

    folder: Path
    backbone: str
    preset: str
    seed: int
    device: torch.device
    given: Sequence[Path] = ()
    tell: Callable[[str], None] = lambda _: None

    @property
    def settings(self) -> dict[str, object]:
        """What decides the fields; reads the given files."""
        return {
            "backbone": self.backbone,
            "preset": self.preset,
            "fields": sorted(_digest(path) for path in self.given),
        }

    def __call__(self, volume: Volume) -> FeatureField:
        """Return the field of a volume.

        Raises:
            FieldFileError: A given file is damaged.
            NotEnoughMemoryError: The fit would not fit into memory.
        """
        for path in self.given:
            if read_header(path).volume_sha256 == volume.sha256():
                return load_field(path, volume, self.device)[0]
        name = _UNSAFE.sub("_", f"{volume.name}-{self.backbone}-{self.preset}-{self.seed}")
        path = self.folder / f"{name}-{volume.sha256()[:12]}.voxelfeat"
        if path.is_file():
            try:
                return load_field(path, volume, self.device)[0]
            except FieldFileError:
                self.tell(f"{path.name} is damaged and is made anew")
        return self._fitted(volume, path)

    def _fitted(self, volume: Volume, path: Path) -> FeatureField:
        network = create_backbone(self.backbone, volume, BackboneOptions(device=self.device))
        fitter = Fitter(
            volume, network, preset_named(self.preset), seed=self.seed, device=self.device
        )
        for progress in fitter:
            self.tell(f"{volume.name}, fitting {progress.fraction:.0%}")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_field(path, fitter.field, volume, fitter.record)
        return fitter.field


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
