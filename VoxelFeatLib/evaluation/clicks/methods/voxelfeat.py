"""VoxelFeat itself: the session that the worker and the panel use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.segmenting.suggestion import Suggestion

_SEGMENT = "target"


class VoxelFeat:
    """Clicks in a session on a fitted field.

    Args:
        field_of: Gives the field of a volume; asked once for each volume.
        settings: What decided the fields.
        name: For the tables.
        seed: Of the session.
    """

    def __init__(
        self,
        field_of: Callable[[Volume], FeatureField],
        settings: Mapping[str, object] | None = None,
        *,
        name: str = "voxelfeat",
        seed: int = 0,
    ) -> None:
        self.name = name
        self.settings: dict[str, object] = {**(settings or {}), "seed": seed}
        self._field_of = field_of
        self._seed = seed
        self._session: Session | None = None

    def start(self, volume: Volume) -> None:
        """Begin a new target; a field is got for a new volume only."""
        if self._session is None or self._session.volume is not volume:
            self._session = Session(volume, self._field_of(volume), seed=self._seed)
        elif self._session.segments:
            self._session.remove_segment(_SEGMENT)
        self._session.add_segment(_SEGMENT)

    def segment(self, clicks: tuple[Click, ...]) -> Mask:
        """Return the (K, J, I) segment after one update."""
        assert self._session is not None  # noqa: S101 - start comes first
        self._session.set_segment(_SEGMENT, clicks)
        deque(self._session.update(_SEGMENT), maxlen=0)
        return self._session.mask(_SEGMENT)

    def suggestions(self) -> tuple[Suggestion, ...]:
        """Return where the next click would tell most; none before the first one."""
        return () if self._session is None else self._session.suggestions(_SEGMENT)
