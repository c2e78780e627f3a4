"""How long a click takes on the phantom: query, probe, visible slices, whole mask."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from types import MappingProxyType

import numpy as np
import torch
from _mask_work import slices_work, whole_work
from _roofline import Roofline, Work
from _subjects import Choice, add_backbone_arguments, chosen, phantom_of, sizes_of
from _tables import Row, show
from _timing import median_ms

from VoxelFeatLib.evaluation.mistakes import next_click
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import Preset, preset_named
from VoxelFeatLib.imaging.phantom import Phantom
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.probe import fit_whitened
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.segmenting.statistics import FeatureStatistics


@dataclass(frozen=True)
class Targets:
    """What answering should not exceed: ms for three slices, first and later, s for the mask."""

    cold: float | None = None
    warm: float | None = None
    whole: float | None = None


# By type of device and the phantom's shape; of other sizes nothing is asked.
_TARGETS: Mapping[tuple[str, tuple[int, ...]], Targets] = MappingProxyType(
    {
        ("cpu", (100, 512, 512)): Targets(600, 150, 6),
        ("cuda", (300, 512, 512)): Targets(None, 30, 1.5),
    }
)


# Of the simulated user.
_CLICKS = 10


def main() -> None:
    """Measure on a field file, or on a field after its first steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--field", type=Path, help="a field file of the phantom")
    parser.add_argument("--shape", default="512x512x100", help="the phantom's voxels along i, j, k")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    add_backbone_arguments(parser)
    arguments = parser.parse_args()
    phantom = phantom_of(arguments.shape)
    device = torch.device(arguments.device)
    if arguments.field:
        field, _ = load_field(arguments.field, phantom.volume)
        field.to(device)
    else:
        with chosen(arguments) as choice:
            field = first_field(phantom.volume, choice, preset_named(arguments.preset))
    rows = measure(phantom, field, roofline := Roofline(device)) + roofline.rows()
    title = f"Clicks on the phantom ({sizes_of(phantom.volume)}), {field.backbone}, {device.type}"
    show(title, rows, output=arguments.output)


def first_field(volume: Volume, choice: Choice, preset: Preset) -> FeatureField:
    """A field after a few steps: as large, and as fast to query, as one after all of them."""
    preset = replace(preset, steps=50, views=12, first_views=12, pool=12)
    fitter = Fitter(volume, choice.make(volume), preset)
    for _ in fitter:
        continue
    return fitter.field


def measure(phantom: Phantom, field: FeatureField, roofline: Roofline) -> list[Row]:
    """Everything that happens after a click, on a field's device."""
    case = (field.device.type, phantom.volume.voxels.shape)
    targets = _TARGETS.get(case, Targets())
    return [
        *single_steps(phantom.volume, field),
        *visible_slices(phantom, field, roofline, targets),
        *whole_volume(phantom, field, roofline, targets),
    ]


def single_steps(volume: Volume, field: FeatureField) -> list[Row]:
    """One voxel's query, and a probe fitted to 50 clicks."""
    point = torch.tensor(volume.geometry.centre_ras[None], dtype=torch.float32)
    query = median_ms(lambda: field.features(point), 200, field.device)
    statistics = FeatureStatistics.of(field, volume, seed=0)
    rng = np.random.default_rng(0)
    index = rng.uniform(0, 1, (50, 3)) * (np.array(volume.geometry.shape_kji[::-1]) - 1)
    samples = samples_at(field, volume, volume.geometry.to_ras(index))
    bright = samples[:, -1] > np.median(samples[:, -1])
    ras = volume.geometry.to_ras(index)
    places = {"positive_ras": ras[bright], "negative_ras": ras[~bright]}
    update = partial(fit_whitened, samples[bright], samples[~bright], statistics, **places)
    probe = median_ms(update, 20)
    return [
        Row("query of a single voxel", query, "ms", 1),
        Row("probe update with 50 clicks", probe, "ms", 10),
    ]


def visible_slices(
    phantom: Phantom, field: FeatureField, roofline: Roofline, targets: Targets
) -> list[Row]:
    """From a click to new masks of three slices: a new session, then further clicks."""
    volume = phantom.volume
    target = phantom.mask("liver")
    click = next_click(target, None, volume.geometry)
    if click is None:
        raise RuntimeError("The phantom has no liver.")
    extents = slices_through(volume, click)
    session = Session(volume, field)
    session.add_segment("liver")

    def click_and_see(position: Click) -> float:
        start = perf_counter()
        session.add_click("liver", position)
        seen = 0
        for chunk in session.update("liver", visible=extents):
            seen += chunk.extent.size > 0
            if seen == len(extents):
                break
        return 1000 * (perf_counter() - start)

    cold = click_and_see(click)
    voxels = np.argwhere(target)
    rng = np.random.default_rng(0)
    warm = []
    for k, j, i in voxels[rng.choice(len(voxels), 12, replace=False)]:
        right, anterior, superior = volume.geometry.to_ras([i, j, k]).tolist()
        warm.append(click_and_see(Click((right, anterior, superior), positive=True)))
    usual = float(np.median(warm))
    share = _share(roofline, usual / 1000, slices_work(field, volume))
    return [
        Row("click to three visible slices, cold", cold, "ms", targets.cold),
        Row("click to three visible slices, warm (median)", usual, "ms", targets.warm, share),
    ]


def slices_through(volume: Volume, click: Click) -> list[Extent]:
    """The axial, coronal and sagittal slices through a click."""
    index = np.rint(volume.geometry.to_ijk(click.ras)).astype(int)[::-1]
    extents = []
    for axis in range(3):
        start, stop = [0, 0, 0], list(volume.geometry.shape_kji)
        start[axis], stop[axis] = int(index[axis]), int(index[axis]) + 1
        extents.append(Extent.of(start, stop))
    return extents


def whole_volume(
    phantom: Phantom, field: FeatureField, roofline: Roofline, targets: Targets
) -> list[Row]:
    """From a click to the new mask of the whole volume: ten clicks of a simulated user."""
    volume, target = phantom.volume, phantom.mask("liver")
    session = Session(volume, field)
    session.add_segment("liver")
    seconds: list[float] = []
    clicks: list[Click] = []
    for _ in range(_CLICKS):
        click = next_click(target, session.mask("liver"), volume.geometry, clicked=clicks)
        if click is None:
            break
        clicks.append(click)
        start = perf_counter()
        session.add_click("liver", click)
        deque(session.update("liver"), maxlen=0)
        seconds.append(perf_counter() - start)
    usual = float(np.median(seconds[1:]))
    share = _share(roofline, usual, whole_work(field, volume))
    return [
        Row("click to the whole mask, cold", seconds[0], "s"),
        Row("click to the whole mask, warm (median)", usual, "s", targets.whole, share),
    ]


def _share(roofline: Roofline, seconds: float, work: Work | None) -> float | None:
    return None if work is None else roofline.share(seconds, work)


if __name__ == "__main__":
    main()
