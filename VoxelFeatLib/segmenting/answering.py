"""One step from a segment's old result to its new one, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np

from VoxelFeatLib.segmenting.evidence import Evidence
from VoxelFeatLib.segmenting.extent import Chunk, Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.prediction import predict
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
    complete = False
    for chunk in predict(
        task.wish,
        evidence.fit(task.wish),
        inference,
        visible=visible,
        box=task.region,
        cancelled=stopped,
    ):
        prediction[chunk.extent.slices] = chunk.mask
        complete = chunk.final
        if stopped():
            return None
        if previews > 0 and chunk.extent.size:
            yield task.preview(chunk)
            previews -= 1
        elif not complete:
            yield Chunk.pause(chunk.fraction)
    if not complete or stopped():
        return None
    corrected = task.corrected(prediction)
    yield Chunk.pause(1.0)
    return None if stopped() else task.finish(corrected)
