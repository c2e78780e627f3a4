"""What the worker works on: a volume, its field, and what follows from both."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.evidence import Evidence
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.projection import ColorProjection, projection_of
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.server.failures import Refused
from VoxelFeatLib.worker.server.masks import MaskStore
from VoxelFeatLib.worker.server.previews import Previews

# Everything that is sampled from a field that is still being fitted is sampled again once it is so
# many seconds old. Until then the weights have hardly changed.
_RENEW_SECONDS = 2.0


class Model:
    """A volume and the state of its field at one moment, with samples taken from it.

    Attributes:
        volume: The volume.
        field: Its field.
        evidence: Samples for probes.
        inference: Masks under probes.
    """

    def __init__(
        self, volume: Volume, network: FeatureField, inference: VolumeInference | None = None
    ) -> None:
        self.volume = volume
        self.field = network
        self.evidence = Evidence(volume, network, seed=0)
        self.inference = inference or VolumeInference(network, volume)
        self.made = time.monotonic()

    def renewed(self, network: FeatureField) -> Model:
        """Return the same for the field as it is now."""
        return Model(self.volume, network, self.inference.renewed(network))

    def frugal(self, frugality: int) -> VolumeInference:
        """Return the inference, its pieces so many times smaller."""
        if frugality == 1:
            return self.inference
        return self.inference.renewed(self.field, frugality=frugality)

    @cached_property
    def colors(self) -> ColorProjection:
        """The projection of features to colours, made when first needed."""
        return projection_of(self.field)


@dataclass
class Workspace:
    """The worker's state; all of it can be rebuilt from what the client has.

    Attributes:
        volume: The open volume.
        record: Of the fit that made the field; None while it is not finished.
        path: The file the field came from, or was kept in; may be empty.
        fitting: Whether a fit is running.
        masks: Masks by key.
        previews: What was shown of segments whose result has not come yet.
    """

    volume: Volume | None = None
    record: dict[str, Any] | None = None
    path: str = ""
    fitting: bool = False
    masks: MaskStore = field(default_factory=MaskStore)
    previews: Previews = field(default_factory=Previews)
    _model: Model | None = None
    _changing: bool = False

    def open(self, volume: Volume | None) -> None:
        """Forget everything and take another volume, or none."""
        self.masks.clear()
        self.previews.clear()
        self.volume, self.record, self.path = volume, None, ""
        self._model, self._changing = None, False

    def use(self, network: FeatureField | None, *, finished: bool) -> None:
        """Answer with this field from now on; one that is not finished changes until it is."""
        self._changing = network is not None and not finished
        if network is None:
            self._model = None
        elif self._model is not None:
            self._model = self._model.renewed(network)
        else:
            self._model = Model(self.need_volume(), network)

    def settle(self) -> None:
        """Note that an unfinished field will not change any more: its fit was cancelled."""
        if self._changing and self._model is not None:
            self.use(self._model.field.eval().requires_grad_(requires_grad=False), finished=True)

    def abandon(self) -> None:
        """Forget an unfinished field: its fit failed, and another needs the memory."""
        if self._changing:
            self.use(None, finished=True)

    def need_volume(self) -> Volume:
        """Return the volume; Refused where there is none."""
        if self.volume is None:
            raise Refused(protocol.NO_VOLUME, "The worker has no volume; choose one.")
        return self.volume

    def need_field(self) -> FeatureField:
        """Return the field as it is now; Refused where there is none."""
        self.need_volume()
        if self._model is None:
            message = "The first field is not there yet." if self.fitting else "There is no field."
            hint = "Wait a moment." if self.fitting else "Fit one, or open a field file."
            raise Refused(protocol.NO_FIELD, message, hint)
        return self._model.field

    def model(self) -> Model:
        """Return volume, field and samples that are not too old; Refused where there is none."""
        network = self.need_field()
        assert self._model is not None  # noqa: S101 - need_field says so
        if self._changing and time.monotonic() - self._model.made > _RENEW_SECONDS:
            self._model = self._model.renewed(network)
        return self._model

    def drop_caches(self) -> None:
        """Forget what is only kept for speed."""
        self.masks.drop_arrays()
        if self._model is not None:
            self._model = Model(self._model.volume, self._model.field, self._model.inference)
