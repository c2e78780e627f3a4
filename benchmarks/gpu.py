"""All numbers that are asked of a GPU, in one go and one table: encoder, fits, clicks, recipes.

Each part has a share of the minutes given, and its results are written as soon as it is done, so
that whatever stops the run leaves the rest behind. Weights are random: as fast as the real ones.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from types import MappingProxyType

import clicks
import torch
from _curve_figure import draw
from _curves import Recipes
from _fits import MeasuredFit
from _judge import Judge
from _recipes import compare, facts_of, reduced, rows_of
from _roofline import Roofline
from _subjects import Choice, phantom_of, sizes_of
from _tables import Row, show, write
from _weights import weights_for
from encoder import EncoderBench
from rich.console import Console

from VoxelFeatLib.errors import VoxelFeatError
from VoxelFeatLib.fitting.presets import Preset, preset_named


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        backbone: Its name.
        input_size: Side of its input.
        shape: The phantom's voxels along i, j, k.
        batches: Views at once, to be tried.
        tiny: Whether presets are cut down to seconds.
    """

    backbone: str
    input_size: int
    shape: str
    batches: tuple[int, ...]
    tiny: bool = False

    def preset(self, name: str) -> Preset:
        """Return a preset, cut down if everything is."""
        preset = preset_named(name)
        if not self.tiny:
            return preset
        return replace(
            preset,
            views=8,
            pool=min(preset.pool, 8),
            first_views=min(preset.first_views, 4),
            batch=min(preset.batch, 2),
            steps=8,
            windows=1,
            window=2,
            planes=2,
            augmentations=1,
            heldout_views=1,
            grid=replace(preset.grid, slices=4),
            nfnet=replace(preset.nfnet, width=32, blocks=1),
        )


_FULL = Scale("sam2.1-large", 1024, "512x512x300", (1, 4, 8, 16))
_TINY = Scale("sam2.1-tiny", 64, "48x48x24", (1, 2), tiny=True)

# Shares of the time, in the order of the parts. What one leaves over, the next ones have too.
_SHARES: Mapping[str, float] = MappingProxyType(
    {"encoder": 0.25, "fit and clicks": 0.25, "small-gpu": 0.1, "recipes": 0.4}
)
# A part that would have less than this share of the time is left out.
_LEAST = 0.05
# Of the time for the recipes: the paper's, and ours; the rest is for measuring them.
_PAPER, _OURS = 0.35, 0.35


def main() -> None:
    """Run all parts."""
    arguments = _arguments()
    scale = _TINY if arguments.tiny else _FULL
    with weights_for(scale.backbone, wanted=True) as weights:
        choice = Choice(scale.backbone, torch.device(arguments.device), scale.input_size, weights)
        GpuBench(scale, choice, arguments.output, 60 * arguments.minutes).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="a folder for the results")
    parser.add_argument("--minutes", type=float, default=9, help="for everything together")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="everything small: only a trial")
    arguments = parser.parse_args()
    if torch.device(arguments.device).type == "cuda" and not torch.cuda.is_available():
        parser.error(
            "torch finds no CUDA device here: run this on a machine with an NVIDIA GPU and a CUDA "
            "build of torch, or try it out with --device cpu --tiny."
        )
    return arguments


class GpuBench:
    """Runs the parts one after the other, each within its time."""

    def __init__(self, scale: Scale, choice: Choice, output: Path, seconds: float) -> None:
        self.scale, self.choice, self.output, self.seconds = scale, choice, output, seconds
        self._start = perf_counter()
        self._console = Console(stderr=True)
        self.roofline = Roofline(choice.device, 16 if scale.tiny else 1)
        self.phantom = phantom_of(scale.shape)
        self._end = 0.0

    def run(self) -> None:
        """Measure, print, and write one JSON a part and one of all."""
        parts: Mapping[str, Callable[[], list[Row]]] = {
            "encoder": self.encoder,
            "fit and clicks": self.fit_and_clicks,
            "small-gpu": self.small_gpu,
            "recipes": self.recipes,
        }
        rows: list[Row] = []
        for name, part in parts.items():
            self._end += self.seconds * _SHARES[name]
            rows += self._part(name, part)
        rows += self.roofline.rows()
        show(f"{self._title}: everything", rows, output=self.output / "everything.json")

    def encoder(self) -> list[Row]:
        """Views a second: batches, then precision, layout and compilation of the best one."""
        bench = EncoderBench(self.choice, self.phantom.volume, self.roofline)
        deadline = self._start + self._end
        return bench.measure(self.scale.batches, plain=self.scale.tiny, deadline=deadline)

    def fit_and_clicks(self) -> list[Row]:
        """The balanced fit, and clicks on its field."""
        measured = self._fit("balanced")
        rows = measured.rows(self.roofline)
        return rows + clicks.measure(self.phantom, measured.fitter.field, self.roofline)

    def small_gpu(self) -> list[Row]:
        """The setting for small GPUs: above all its memory, which does not grow any more."""
        return self._fit("small-gpu").rows(self.roofline)

    def recipes(self) -> list[Row]:
        """As much of the paper's recipe as there is time for, against ours."""
        volume, paper = self.phantom.volume, reduced(self.scale.preset("paper"), None, None)
        judge = Judge(volume, self.choice.make(volume), paper)
        recipes = Recipes(volume, self.choice, judge)
        views = recipes.views_in(paper, _PAPER * self._left)
        ours, limit = self.scale.preset("balanced"), _OURS * self._left
        curves = compare(recipes, paper, views, [ours], limit)
        write(self.output / "curves.json", facts_of(curves))
        draw(self.output / "curves.png", curves, self._title)
        return rows_of(curves)

    @property
    def _title(self) -> str:
        return f"{self.choice.title}, {sizes_of(self.phantom.volume)}"

    @property
    def _left(self) -> float:
        """Seconds until the part should be done."""
        return self._start + self._end - perf_counter()

    def _fit(self, preset: str) -> MeasuredFit:
        measured = MeasuredFit(
            self.phantom.volume, self.choice, self.scale.preset(preset), seconds=self._left
        )
        measured.run()
        return measured

    def _part(self, name: str, part: Callable[[], list[Row]]) -> list[Row]:
        self._console.print(f"{name}: {self._left:.0f} s")
        if self._left < _LEAST * self.seconds:
            rows = [Row("no time left", None, "")]
        else:
            rows = _tried(part)
        rows = [replace(row, what=f"{name}: {row.what}") for row in rows]
        file = self.output / f"{name.replace(' ', '-')}.json"
        show(f"{self._title}: {name}", rows, output=file)
        # What the part held must not count as the next one's memory.
        gc.collect()
        return rows


def _tried(part: Callable[[], list[Row]]) -> list[Row]:
    """A part's rows, or the reason why there are none: the other parts are still worth it."""
    try:
        return part()
    except (VoxelFeatError, RuntimeError, ValueError) as error:
        return [Row(f"failed: {error}", None, "")]


if __name__ == "__main__":
    main()
