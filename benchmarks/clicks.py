"""How long a click takes on a 512 x 512 x 100 phantom: query, probe, visible slices, whole mask."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from _tables import Row, median_ms, show

from VoxelFeatLib.backbones.registry import create_backbone
from VoxelFeatLib.evaluation.simulated_user import next_click
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.files import load_field
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.phantom import Phantom, make_phantom
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.probe import fit_whitened
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.segmenting.statistics import FeatureStatistics


def main() -> None:
    """Measure on a field file, or on a field after its first steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--field", type=Path, help="a field file of the phantom")
    phantom = make_phantom()
    field_file = parser.parse_args().field
    if field_file:
        field, _ = load_field(field_file, phantom.volume)
    else:
        field = first_field(phantom.volume)
    rows = [*single_steps(phantom.volume, field), *visible_slices(phantom, field)]
    rows += whole_volume(phantom, field)
    show("Clicks on the phantom (512 x 512 x 100), filters, fast", rows)


def first_field(volume: Volume) -> FeatureField:
    """A field after a few steps: as large, and as fast to query, as one after all of them."""
    preset = replace(preset_named("fast"), steps=50, views=12, pool=12)
    fitter = Fitter(volume, create_backbone("filters", volume), preset)
    for _ in fitter:
        continue
    return fitter.field


def single_steps(volume: Volume, field: FeatureField) -> list[Row]:
    """One voxel's query, and a probe fitted to 50 clicks."""
    point = torch.tensor(volume.geometry.centre_ras[None], dtype=torch.float32)
    query = median_ms(lambda: field.features(point), 200)
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


def visible_slices(phantom: Phantom, field: FeatureField) -> list[Row]:
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
        for number, _ in enumerate(session.update("liver", visible=extents), start=1):
            if number == len(extents):
                break
        return 1000 * (perf_counter() - start)

    cold = click_and_see(click)
    voxels = np.argwhere(target)
    rng = np.random.default_rng(0)
    warm = []
    for k, j, i in voxels[rng.choice(len(voxels), 12, replace=False)]:
        right, anterior, superior = volume.geometry.to_ras([i, j, k]).tolist()
        warm.append(click_and_see(Click((right, anterior, superior), positive=True)))
    return [
        Row("click to three visible slices, cold", cold, "ms", 600),
        Row("click to three visible slices, warm (median)", float(np.median(warm)), "ms", 150),
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


def whole_volume(phantom: Phantom, field: FeatureField) -> list[Row]:
    """The whole mask of a probe with ten clicks: adaptive against brute force, and agreement."""
    volume = phantom.volume
    target = phantom.mask("liver")
    rng = np.random.default_rng(0)
    inside, outside = np.argwhere(target), np.argwhere(~target)
    chosen = np.concatenate([rows[rng.choice(len(rows), 5)] for rows in (inside, outside)])
    samples = samples_at(field, volume, volume.geometry.to_ras(chosen[:, ::-1]))
    head = fit_whitened(samples[:5], samples[5:], FeatureStatistics.of(field, volume, seed=0))
    inference = VolumeInference(field, volume)
    inference.mask(head)  # the intensity bounds are made once a volume
    adaptive = median_ms(lambda: inference.mask(head), 3)
    brute = median_ms(lambda: inference.brute_force(head), 3)
    mask, report = inference.mask(head)
    equal = float((mask == inference.brute_force(head)).mean())
    return [
        Row("whole mask, adaptive", adaptive / 1000, "s", 6),
        Row("whole mask, brute force", brute / 1000, "s"),
        Row("speed-up of adaptive over brute force", brute / adaptive, "x"),
        Row("positions evaluated", 100 * report.evaluated / report.total, "%"),
        Row("voxels equal to brute force", 100 * equal, "%"),
    ]


if __name__ == "__main__":
    main()
