"""How fast a backbone encodes views, by batch, precision, memory layout and compilation."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from _fit_work import modules_of, view_work
from _roofline import Roofline, Work
from _subjects import Choice, add_backbone_arguments, chosen, phantom_of
from _tables import Row, show
from _timing import PeakMemory, seconds_of

from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.imaging.views import ViewSampler, slicing_axes
from VoxelFeatLib.imaging.volume import Volume

_REPEATS = 5
# Views a second that the largest encoder should reach on a GPU.
_TARGET = ("cuda", "sam2.1-large", 60.0)


@dataclass(frozen=True)
class Setting:
    """How a batch is encoded.

    Attributes:
        batch: Views at once.
        precision: Of matrix products; None for the backbone's own choice.
        channels_last: Whether channels are the fastest axis in memory.
        compiled: Whether `torch.compile` is used.
    """

    batch: int
    precision: torch.dtype | None = None
    channels_last: bool = False
    compiled: bool = False

    def title(self, precision: torch.dtype) -> str:
        """For a table, with the precision that was used."""
        parts = [f"batch {self.batch}", str(precision).removeprefix("torch.")]
        parts += ["channels last"] * self.channels_last + ["compiled"] * self.compiled
        return ", ".join(parts)


def main() -> None:
    """Measure the settings that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--plain", action="store_true", help="no other layout, no compilation")
    parser.add_argument("--shape", default="512x512x100", help="the phantom's voxels along i, j, k")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    add_backbone_arguments(parser)
    arguments = parser.parse_args()
    volume = phantom_of(arguments.shape).volume
    with chosen(arguments) as choice:
        bench = EncoderBench(choice, volume, Roofline(choice.device))
        rows = bench.measure(arguments.batch, plain=arguments.plain)
        title = f"Encoder {choice.title}, input {bench.input_size}"
    show(title, rows + bench.roofline.rows(), output=arguments.output)


class EncoderBench:
    """Measures one backbone in many settings.

    Args:
        choice: The backbone.
        volume: Whose views are encoded.
        roofline: Of the backbone's device.
    """

    def __init__(self, choice: Choice, volume: Volume, roofline: Roofline) -> None:
        self.choice, self.volume, self.roofline = choice, volume, roofline
        self.input_size = 0
        self._rates: dict[Setting, float] = {}
        self._titles: dict[Setting, str] = {}

    def measure(
        self, batches: Sequence[int], *, plain: bool = False, deadline: float = np.inf
    ) -> list[Row]:
        """Try batch sizes, then other settings of the best one; last, with rendering.

        No further setting is begun after `deadline`, on `perf_counter`'s clock.
        """
        rows = self._rows(map(Setting, batches), deadline)
        if not self._rates:
            return rows
        if not plain:
            rows += self._rows(variants(self._best(), self.choice.device), deadline)
        best = self._best()
        device, backbone, least = _TARGET
        asked = (self.choice.device.type, self.choice.backbone) == (device, backbone)
        rate = self._rates[best]
        target = least if asked else None
        rows.append(Row(f"best: {self._titles[best]}", rate, "views/s", target, at_least=True))
        rendered = self._rendered(self.choice.make(self.volume), best.batch)
        rows.append(Row("rendered and encoded, own settings", rendered, "views/s"))
        return rows

    def _best(self) -> Setting:
        return max(self._rates, key=self._rates.__getitem__)

    def _rows(self, settings: Iterable[Setting], deadline: float) -> list[Row]:
        rows = []
        for setting in settings:
            if perf_counter() < deadline:
                rows += self._row(setting)
        return rows

    def _row(self, setting: Setting) -> list[Row]:
        memory = PeakMemory(self.choice.device)
        try:
            work, encode = self._prepared(setting)
            seconds = median(seconds_of(encode, _REPEATS, self.choice.device, warm_up=2))
        except torch.OutOfMemoryError:
            return [Row(f"batch {setting.batch}: not enough memory", None, "views/s")]
        gigabytes = memory.gigabytes  # before the roofline's own measures
        self._rates[setting] = setting.batch / seconds
        self._titles[setting] = setting.title(work.dtype)
        share = self.roofline.share(seconds, work)
        return [
            Row(self._titles[setting], self._rates[setting], "views/s", roofline=share),
            Row(f"  {memory.where}", gigabytes, "GB"),
        ]

    def _prepared(self, setting: Setting) -> tuple[Work, Callable[[], object]]:
        """What a batch has to compute and move, and the call that does it in these settings."""
        backbone = self.choice.make(self.volume)
        if setting.precision is not None:
            backbone.precision = setting.precision  # type: ignore[attr-defined]
        # Counted first: what is compiled cannot be counted.
        work = view_work(backbone, setting.batch).times(setting.batch)
        side = self.input_size = backbone.input_size
        images = torch.rand(
            setting.batch, backbone.encoding.channels, side, side, device=backbone.device
        )
        for network in modules_of(backbone):
            if setting.channels_last:
                network.to(memory_format=torch.channels_last)
            if setting.compiled:
                network.compile()
        if setting.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return work, lambda: backbone(images)

    def _rendered(self, backbone: Backbone, batch: int) -> float:
        """Views a second from a volume to maps, as a fit makes them."""
        volume = self.volume
        sampler = ViewSampler(volume.geometry, slicing_axes(volume.geometry))
        rng = np.random.default_rng(0)
        views = [sampler.draw(rng) for _ in range(batch)]
        encode = SliceEncoder(volume, backbone).maps
        seconds = median(seconds_of(lambda: encode(views), _REPEATS, backbone.device, warm_up=1))
        return batch / seconds


def variants(best: Setting, device: torch.device) -> Iterator[Setting]:
    """Other settings worth a try at the best batch size, one thing changed at a time."""
    if device.type == "cuda":
        yield replace(best, precision=torch.float32)
        yield replace(best, precision=torch.float16)
    yield replace(best, channels_last=True)
    yield replace(best, compiled=True)
    yield replace(best, channels_last=True, compiled=True)


if __name__ == "__main__":
    main()
