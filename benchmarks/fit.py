"""How long a fit takes, what it needs and how good it is: phantom, `filters`, `fast`, the CPU."""

from __future__ import annotations

import argparse
from time import perf_counter

import psutil
from _tables import Row, show

from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.reading import read_volume
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.session import Session


def main() -> None:
    """Fit once and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume", help="an image file instead of the 512 x 512 x 100 phantom")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    volume = read_volume(arguments.volume) if arguments.volume else make_phantom().volume
    sizes = " x ".join(str(n) for n in reversed(volume.geometry.shape_kji))
    rows = measure(volume, arguments.preset, arguments.device)
    show(f"Fit of {volume.name} ({sizes}), filters, {arguments.preset}", rows)


def measure(volume: Volume, preset: str, device: str) -> list[Row]:
    """Fit, click once as soon as it is possible, and go on to the end."""
    start = perf_counter()
    process = psutil.Process()
    fitter = Fitter(volume, create_backbone("filters", volume), preset_named(preset), device=device)
    first_field = first_mask = 0.0
    peak = 0
    for progress in fitter:
        peak = max(peak, process.memory_info().rss)
        if progress.usable and not first_mask:
            first_field = perf_counter() - start
            click_once(volume, fitter)
            first_mask = perf_counter() - start
    rows = [
        Row("ready for the first click", first_field, "s", 60),
        Row("mask of the first click, whole volume", first_mask, "s"),
        Row("fit done", perf_counter() - start, "s", 240),
        Row("largest memory of the process", peak / 1e9, "GB", 6),
        Row("parameters", sum(p.numel() for p in fitter.field.parameters()) / 1e6, "million"),
    ]
    for level, values in fitter.record["heldout"].items():
        for measure_name in ("cosine", "explained_variance"):
            for source in ("field", "upsampling"):
                value = values[source][measure_name]
                rows.append(Row(f"held-out {measure_name}, {level}, {source}", value, ""))
    return rows


def click_once(volume: Volume, fitter: Fitter) -> None:
    """A positive click in the middle of the volume, answered everywhere."""
    session = Session(volume, fitter.field)
    session.add_segment("first")
    right, anterior, superior = volume.geometry.centre_ras.tolist()
    session.add_click("first", Click((right, anterior, superior), positive=True))
    for _ in session.update("first"):
        continue


if __name__ == "__main__":
    main()
