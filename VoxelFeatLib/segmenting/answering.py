"""One step from a segment's old result to its new one, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.segmenting.evidence import Evidence
from VoxelFeatLib.segmenting.extent import Chunk, Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.potential import Potential
from VoxelFeatLib.segmenting.prediction import predict
from VoxelFeatLib.segmenting.suggesting import suggest
from VoxelFeatLib.segmenting.updating import Correction, Result


def answer(
    task: Correction,
    evidence: Evidence,
    inference: VolumeInference,
    visible: Sequence[Extent] = (),
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[Chunk, None, Result | None]:
    """Predict what a correction needs, and correct.

    Args:
        task: The step from the old result to what is asked for.
        evidence: Samples of the volume and its field.
        inference: Of the same field.
        visible: What the user looks at, to be answered first.
        stopped: Asked between pieces of work; True ends the generator.

    Yields:
        Previews of the visible parts, corrected by what can be seen in each alone; before, between
        and after them chunks of no voxels while the rest is worked out.

    Returns:
        The new result; None when stopped before the end.
    """
    if not task.wish.teaches:
        return task.unpredicted()
    previews = sum(extent.clipped(task.region).size > 0 for extent in visible)
    prediction = np.zeros(task.so_far.shape, dtype=bool)
    chunks = predict(
        task.wish,
        evidence.fit(task.wish),
        inference,
        so_far=task.so_far if task.goes_on else None,
        visible=visible,
        box=task.region,
        cancelled=stopped,
    )
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as end:
            potential: Potential | None = end.value
            break
        prediction[chunk.extent.slices] = chunk.mask
        if stopped():
            return None
        if previews > 0 and chunk.extent.size:
            yield task.preview(chunk)
            previews -= 1
        elif not chunk.final:
            yield Chunk.pause(chunk.fraction)
    if potential is None or stopped():
        return None
    return (yield from _finished(task, prediction, potential, stopped))


def _finished(
    task: Correction, prediction: Mask, potential: Potential, stopped: Callable[[], bool]
) -> Generator[Chunk, None, Result | None]:
    """Correct by the whole prediction, and look where the next click would tell most."""
    corrected = task.corrected(prediction)
    yield Chunk.pause(1.0)
    if stopped():
        return None
    result = task.finish(corrected)
    yield Chunk.pause(1.0)
    if stopped():
        return None
    suggestions = suggest(potential, result.mask, task.wish)
    return replace(result, known=replace(result.known, suggestions=suggestions))
