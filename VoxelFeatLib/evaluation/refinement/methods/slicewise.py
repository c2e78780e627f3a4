"""What methods on slices have in common."""

from __future__ import annotations

from VoxelFeatLib.evaluation.refinement.sam.model import Sam, Slices
from VoxelFeatLib.imaging.volume import Volume


class OnSlices:
    """A method that gives SAM the slices of a volume.

    Args:
        sam: The model.
    """

    name = ""

    def __init__(self, sam: Sam) -> None:
        self.settings = dict(sam.settings)
        self._sam = sam
        self._volume: Volume | None = None
        self._slices: Slices | None = None

    def start(self, volume: Volume) -> None:
        """Begin a new target."""
        if self._volume is not volume:
            self._volume, self._slices = volume, Slices(volume, self._sam)

    @property
    def slices(self) -> Slices:
        """Of the volume that was started."""
        assert self._slices is not None  # noqa: S101 - start comes first
        return self._slices
