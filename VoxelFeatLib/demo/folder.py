"""The folder that the demo leaves: what lies where, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VoxelFeatLib.demo.clicking import Structure
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.atomic import replacing
from VoxelFeatLib.imaging.writing import SegmentMask, write_segmentation, write_volume
from VoxelFeatLib.segmenting.clicks import write_clicks

if TYPE_CHECKING:
    from VoxelFeatLib.demo.clicking import Clicked
    from VoxelFeatLib.demo.refining import Refined
    from VoxelFeatLib.imaging.geometry import Geometry
    from VoxelFeatLib.imaging.phantom import Phantom
    from VoxelFeatLib.segmenting.clicks import Click


@dataclass(frozen=True)
class DemoFolder:
    """The demo's files.

    Attributes:
        path: Their folder.
    """

    path: Path

    def make(self) -> None:
        """Make the folder where it is not there.

        Raises:
            InputError: It cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The folder {self.path} cannot be made; choose another with --output."
            ) from error

    @property
    def volume(self) -> Path:
        """The phantom CT."""
        return self.path / "phantom.nrrd"

    @property
    def truth(self) -> Path:
        """All its structures."""
        return self.path / "truth.seg.nrrd"

    @property
    def field(self) -> Path:
        """The fitted field."""
        return self.path / "phantom.voxelfeat"

    @property
    def segmentation(self) -> Path:
        """What the clicks made."""
        return self.path / "segmentation.seg.nrrd"

    @property
    def coarse(self) -> Path:
        """Coarse masks."""
        return self.path / "coarse.seg.nrrd"

    @property
    def refined(self) -> Path:
        """The same, refined."""
        return self.path / "refined.seg.nrrd"

    @property
    def summary(self) -> Path:
        """Every measured number."""
        return self.path / "summary.json"

    @property
    def segments_figure(self) -> Path:
        """All segments on three slices."""
        return self.path / "segments.png"

    @property
    def refinement_figure(self) -> Path:
        """Coarse masks beside refined ones."""
        return self.path / "refinement.png"

    @property
    def axial_features_figure(self) -> Path:
        """Feature colours of an axial slice."""
        return self.path / "features-axial.png"

    @property
    def coronal_features_figure(self) -> Path:
        """Feature colours of a coronal slice."""
        return self.path / "features-coronal.png"

    def segment_figure(self, name: str) -> Path:
        """Return the figure of one segment with its clicks."""
        return self.path / f"segment-{_plain(name)}.png"

    def clicks(self, name: str, *, positive: bool) -> Path:
        """Return the clicks inside or outside one segment."""
        return self.path / f"{_plain(name)}-{'inside' if positive else 'outside'}.mrk.json"

    def write_phantom(self, phantom: Phantom) -> None:
        """Write the CT and its truth."""
        write_volume(self.volume, phantom.volume)
        present = set(phantom.labels.ravel().tolist())
        structures = [
            Structure.of(phantom, name) for value, name in phantom.names.items() if value in present
        ]
        write_segmentation(
            self.truth, [_segment(one) for one in structures], phantom.volume.geometry
        )

    def write_clicked(self, clicked: Sequence[Clicked], geometry: Geometry) -> None:
        """Write what the clicks made, and the clicks."""
        segments = [_segment(one.structure, one.mask) for one in clicked]
        write_segmentation(self.segmentation, segments, geometry)
        for one in clicked:
            for positive in (True, False):
                path = self.clicks(one.structure.name, positive=positive)
                clicks = [click for click in one.clicks if click.positive == positive]
                _write_or_remove(path, clicks, one.structure)

    def write_refined(self, refined: Sequence[Refined], geometry: Geometry) -> None:
        """Write the coarse masks on their own voxels, and the refined ones."""
        coarse = [_segment(one.structure, one.coarse) for one in refined]
        write_segmentation(self.coarse, coarse, refined[0].coarse_geometry)
        fine = [_segment(one.structure, one.mask) for one in refined]
        write_segmentation(self.refined, fine, geometry)

    def write_summary(self, numbers: dict[str, Any]) -> None:
        """Write every measured number as JSON."""
        with replacing(self.summary) as temporary:
            text = json.dumps(numbers, indent=2, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")


def _segment(structure: Structure, mask: Any = None) -> SegmentMask:
    return SegmentMask(structure.name, structure.mask if mask is None else mask, structure.color)


def _write_or_remove(path: Path, clicks: Sequence[Click], structure: Structure) -> None:
    """Keep no clicks of an earlier run where this one has none."""
    if clicks:
        write_clicks(path, clicks, color=structure.color)
    else:
        path.unlink(missing_ok=True)


def _plain(name: str) -> str:
    return name.replace(" ", "-")
