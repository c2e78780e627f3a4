"""What the worker process costs: round trips against the library's own time, and the upload."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _roofline import Roofline, Work
from _subjects import phantom_of, sizes_of
from _tables import Row, show
from _timing import median_ms
from clicks import slices_through

from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.evaluation.mistakes import next_click
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field, save_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.phantom import Phantom
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.worker.client.calls import Loop, call
from VoxelFeatLib.worker.client.client import Client
from VoxelFeatLib.worker.protocol import extent_to_wire

# Where a click changes three slices; the first is not counted: caches are empty then.
_CLICKS = 13


class Worker:
    """A worker process and what is asked of it."""

    def __init__(self) -> None:
        self.loop = Loop([sys.executable, "-m", "VoxelFeatLib", "worker"])
        self.client = Client(self.loop.make_transport, schedule=self.loop.schedule)

    def call(self, kind: str, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
        """Ask and wait."""
        return call(self.client, kind, arguments, poll=self.loop.poll, **more)

    def open(self, volume: Volume) -> float:
        """Hand a volume over; returns the seconds until it is open."""

        def slabs() -> Iterator[memoryview]:
            for slab in volume.voxels:
                yield memoryview(np.ascontiguousarray(slab)).cast("B")

        arguments = {
            "modality": volume.modality,
            "dtype": volume.voxels.dtype.newbyteorder("<").str,
            "shape_kji": list(volume.voxels.shape),
            "ijk_to_ras": volume.geometry.ijk_to_ras.tolist(),
        }
        start = perf_counter()
        self.call("open_volume", arguments, payload=slabs)
        return perf_counter() - start

    def click_and_see(self, clicks: list[Click], extents: list[Extent]) -> float:
        """Ask for a segment; returns the ms until all visible slices are there."""
        segment = {
            "id": "liver",
            "positive": [list(click.ras) for click in clicks if click.positive],
            "negative": [list(click.ras) for click in clicks if not click.positive],
        }
        arguments = {
            "segment": "liver",
            "segments": [segment],
            "current": None,
            "answered": {"positive": [], "negative": []},
            "result": "new",
            "visible": [extent_to_wire(extent) for extent in extents],
        }
        seen: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        start = perf_counter()
        request = self.client.request(
            "segment",
            arguments,
            on_event=lambda event: seen.append(event) if event["event"] == "chunk" else None,
            on_error=errors.append,
        )
        while len(seen) < len(extents) and not errors:
            self.loop.poll(1.0)
        milliseconds = 1000 * (perf_counter() - start)
        if errors:
            raise RuntimeError(errors[0]["message"])
        request.cancel()
        while not request.done:
            self.loop.poll(1.0)
        return milliseconds


def main() -> None:
    """Measure on a field file, or on a field after its first steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--field", type=Path, help="a field file of the phantom")
    parser.add_argument("--shape", default="512x512x100", help="the phantom's voxels along i, j, k")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    arguments = parser.parse_args()
    phantom = phantom_of(arguments.shape)
    with tempfile.TemporaryDirectory() as folder:
        field_file = arguments.field or Path(folder) / "field.voxelfeat"
        if not field_file.exists():
            keep_first_field(phantom.volume, field_file)
        rows = measure(phantom, field_file)
    title = f"The worker process, phantom of {sizes_of(phantom.volume)}, filters, fast"
    show(title, rows, output=arguments.output)


def measure(phantom: Phantom, field_file: Path) -> list[Row]:
    """Start a worker, hand the volume and its field over, ask and click."""
    worker = Worker()
    field, _ = load_field(field_file, phantom.volume)
    try:
        rows = uploads(worker, phantom.volume)
        worker.call("load_field", {"path": str(field_file), "device": str(field.device)})
        rows += queries(worker, phantom.volume, field)
        return rows + updates(worker, phantom, field)
    finally:
        worker.client.stop()


def keep_first_field(volume: Volume, path: Path) -> None:
    """Fit a few steps: as large, and as fast to query, as a field after all of them."""
    preset = replace(preset_named("fast"), steps=50, views=12, pool=12)
    fitter = Fitter(volume, create_backbone("filters", volume), preset)
    for _ in fitter:
        continue
    save_field(path, fitter.field, volume, fitter.record)


def uploads(worker: Worker, volume: Volume) -> list[Row]:
    """From start to the first answer; then a volume handed over."""
    start = perf_counter()
    worker.call("hello", {"protocol": 1})
    hello = perf_counter() - start
    seconds = median(worker.open(volume) for _ in range(3))
    megabytes = volume.voxels.nbytes / 1e6
    copied = Work(0, 2 * volume.voxels.nbytes)
    share = Roofline(torch.device("cpu")).share(seconds, copied)
    return [
        Row("start of the worker to its first answer", hello, "s"),
        Row(f"volume of {megabytes:.0f} MB opened", 1000 * seconds, "ms"),
        Row("volume upload, its hash included", megabytes / seconds, "MB/s", roofline=share),
    ]


def queries(worker: Worker, volume: Volume, field: FeatureField) -> list[Row]:
    """One voxel's features and intensity: here, and from the worker."""
    ras = volume.geometry.centre_ras
    point = torch.tensor(ras[None], dtype=torch.float32)

    def here() -> None:
        field.features(point)
        volume.intensity_at(ras)

    question = {"ras": [ras.tolist()]}
    return [
        Row("query of a single voxel, library alone", median_ms(here, 200), "ms"),
        Row(
            "query of a single voxel, round trip",
            median_ms(lambda: worker.call("query", question), 200),
            "ms",
            5,
        ),
    ]


def updates(worker: Worker, phantom: Phantom, field: FeatureField) -> list[Row]:
    """From a click to new masks of three slices: here, and from the worker, in turns."""
    clicks = some_clicks(phantom)
    extents = slices_through(phantom.volume, clicks[0])
    session = Session(phantom.volume, field)
    session.add_segment("liver")

    def here(count: int) -> float:
        start = perf_counter()
        session.set_segment("liver", clicks[:count])
        seen = 0
        for chunk in session.update("liver", visible=extents):
            seen += chunk.extent.size > 0
            if seen == len(extents):
                break
        return 1000 * (perf_counter() - start)

    def there(count: int) -> float:
        return worker.click_and_see(clicks[:count], extents)

    alone, through = in_turns(here, there, len(clicks))
    return [
        Row("click to three visible slices, library alone (median)", alone, "ms"),
        Row("click to three visible slices, through the worker (median)", through, "ms"),
        Row("what the worker adds", through - alone, "ms", 60),
    ]


def in_turns(
    one: Callable[[int], float], other: Callable[[int], float], count: int
) -> tuple[float, float]:
    """Medians of two measurements, each time with one click more; the first is left out."""
    times = [(one(number), other(number)) for number in range(1, count + 1)][1:]
    return median(first for first, _ in times), median(second for _, second in times)


def some_clicks(phantom: Phantom) -> list[Click]:
    """Clicks in the liver, the first at its middle."""
    volume, target = phantom.volume, phantom.mask("liver")
    first = next_click(target, None, volume.geometry)
    if first is None:
        raise RuntimeError("The phantom has no liver.")
    voxels = np.argwhere(target)
    rng = np.random.default_rng(0)
    clicks = [first]
    for k, j, i in voxels[rng.choice(len(voxels), _CLICKS - 1, replace=False)]:
        right, anterior, superior = volume.geometry.to_ras([i, j, k]).tolist()
        clicks.append(Click((right, anterior, superior), positive=True))
    return clicks


if __name__ == "__main__":
    main()
