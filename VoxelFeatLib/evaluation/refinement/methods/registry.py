"""Methods by name, and why some cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.errors import WeightsError
from VoxelFeatLib.evaluation.fields import FieldStore
from VoxelFeatLib.evaluation.refinement.evaluation import RefinementMethod
from VoxelFeatLib.evaluation.refinement.methods.antialiasing import AntiAliasing
from VoxelFeatLib.evaluation.refinement.methods.autoprompt import SamAutoprompt
from VoxelFeatLib.evaluation.refinement.methods.probes import Probe
from VoxelFeatLib.evaluation.refinement.methods.upsampled import upsampled_field
from VoxelFeatLib.evaluation.refinement.methods.videoprop import SamVideo
from VoxelFeatLib.evaluation.refinement.sam.model import Sam
from VoxelFeatLib.evaluation.refinement.titles import titles_of
from VoxelFeatLib.evaluation.running import check_names
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.refinement import Mode

# What asks the backbone; the methods of the field need it only where no field is given.
PROBES = ("sam-probe", "voxelfeat-probe", "voxelfeat-prior")


@dataclass(frozen=True)
class MethodMaker:
    """Makes methods by their names.

    Attributes:
        fields: Gives the fields.
        sam: Name or path of a whole checkpoint of SAM 2.1; empty for the backbone's.
        missing: Why the backbone cannot be used; empty where it can.
        seed: Of the probes.
    """

    fields: FieldStore
    sam: str = ""
    missing: str = ""
    seed: int = 0

    def methods(self, names: Sequence[str]) -> tuple[list[RefinementMethod], list[str]]:
        """Make methods by their names.

        Returns:
            Those that can be had, and a sentence about each of the others.

        Raises:
            InputError: An unknown name, or one twice; or a chosen file cannot be read.
        """
        check_names(names, self._makers)
        made, left_out = [], []
        titles = titles_of(self.fields.backbone.name)
        for name in names:
            try:
                made.append(self._makers[name]())
            except WeightsError as error:
                left_out.append(f"{titles[name]}: {error}")
        return made, left_out

    @property
    def _makers(self) -> Mapping[str, Callable[[], RefinementMethod]]:
        return {
            "anti-aliasing": AntiAliasing,
            "sam-autoprompt": lambda: SamAutoprompt(self._sam),
            "sam-video": lambda: SamVideo(self._sam),
            "sam-probe": self._sam_probe,
            "voxelfeat-probe": lambda: self._of_field("voxelfeat-probe", "paper"),
            "voxelfeat-prior": lambda: self._of_field("voxelfeat-prior", "prior"),
        }

    @cached_property
    def _sam(self) -> Sam:
        """One model for both of its methods."""
        return Sam.chosen(self.fields.backbone, self.sam)

    def _sam_probe(self) -> RefinementMethod:
        self._need_backbone()
        choice = self.fields.backbone

        def upsampled(volume: Volume) -> FeatureField:
            return upsampled_field(volume, create_backbone(choice.name, volume, choice.options))

        return Probe("sam-probe", "paper", upsampled, choice.settings, self.seed)

    def _of_field(self, name: str, mode: Mode) -> RefinementMethod:
        if not self.fields.given:
            self._need_backbone()
        settings = {**self.fields.settings, "fit_seed": self.fields.seed}
        return Probe(name, mode, self.fields, settings, self.seed)

    def _need_backbone(self) -> None:
        if self.missing:
            raise WeightsError(self.missing)
