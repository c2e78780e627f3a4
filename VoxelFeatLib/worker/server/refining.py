"""The request `refine`."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Literal

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.extent import Extent, check_box
from VoxelFeatLib.segmenting.refinement import RefineProgress, refine_steps
from VoxelFeatLib.worker.protocol import (
    CHUNK_VOXELS,
    BadMessageError,
    mask_place,
    pack_mask,
    whole_mask,
)
from VoxelFeatLib.worker.server.failures import with_less
from VoxelFeatLib.worker.server.requests import Reporter, Request, Steps
from VoxelFeatLib.worker.server.workspace import Workspace


def refine(workspace: Workspace, request: Request) -> Steps:
    """Refine a coarse mask; its result comes as chunks, then the reply."""
    began = time.perf_counter()
    values = request.arguments
    volume = workspace.need_volume()
    workspace.need_field()
    mode = _mode(values.text("mode", "prior"))
    coarse_mm = values.number("coarse_mm") if values.has("coarse_mm") else None
    box = values.extent("box")
    if box is not None:
        check_box(box, volume.geometry)
    shape, _ = mask_place(values.raw("mask"))
    geometry = values.geometry(shape)
    coarse = whole_mask(values.raw("mask"))
    report = Reporter(request)

    def work(attempt: int) -> Generator[None, None, RefineProgress]:
        if attempt:
            workspace.drop_caches()
        field = workspace.need_field()
        last = RefineProgress("", 0.0)
        for last in refine_steps(volume, field, coarse, geometry, mode=mode, coarse_mm=coarse_mm):
            report(stage=last.stage, fraction=last.fraction)
            yield
        return last

    done = yield from with_less(work, 2)
    if done.mask is None:  # the last step carries it
        raise AssertionError
    mask = done.mask if box is None else _cut(done.mask, box)
    yield from _chunks(request, mask)
    voxels = int(np.count_nonzero(mask))
    return {
        "trust": done.trust,
        "voxels": voxels,
        "coarse_ml": int(np.count_nonzero(coarse)) * geometry.voxel_ml,
        "refined_ml": voxels * volume.geometry.voxel_ml,
        "seconds": time.perf_counter() - began,
    }


def _chunks(request: Request, mask: Mask) -> Generator[None, None, None]:
    box = bounding_box(mask)
    if box is None:
        return
    extent = Extent.of([part.start for part in box], [part.stop for part in box])
    shape = Extent.of((0, 0, 0), mask.shape).stop_kji
    for piece in extent.pieces(CHUNK_VOXELS):
        part = mask[piece.slices]
        if part.any():
            wire = pack_mask(part, piece, shape)
            request.event("chunk", mask=wire, preview=False)
        yield


def _mode(text: str) -> Literal["prior", "paper"]:
    match text:
        case "prior":
            return "prior"
        case "paper":
            return "paper"
        case _:
            raise BadMessageError(f"There is no mode “{text}”; it is prior or paper.")


def _cut(mask: Mask, box: Extent) -> Mask:
    result = np.zeros_like(mask)
    result[box.slices] = mask[box.slices]
    return result
