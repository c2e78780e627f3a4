"""The self-test: what decides everything, from end to end, without network or GPU.

The same steps run inside Slicer, by the module's test, and without it, by the project's own tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask, Position
from VoxelFeatLib.scene.controllers.field_controller import FieldController
from VoxelFeatLib.scene.controllers.refine_controller import RefineController
from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
from VoxelFeatLib.scene.nodes import sample_data, segmentations
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of, moved, world_from_local
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.scene.timers import Timers
from VoxelFeatLib.segmenting.extent import Extent

if TYPE_CHECKING:
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink

_SHAPE_KJI = (40, 96, 96)
_SPACING_IJK = (4.0, 4.0, 6.0)
_ORGAN = "left kidney"
_PRESET = "draft"
_WANTED = 0.85
_MOST_CLICKS = 10
# Voxels of the mask to refine are so many times larger along each axis.
_COARSE = 3
_PATIENCE = 170.0


class SelfTestError(AssertionError):
    """The self-test found something that does not work."""


class SelfTest:
    """Fit, click, refine, save, open again.

    Args:
        scene: An empty vtkMRMLScene.
        link: The worker.
        timers: Of the event loop.
        turn: Lets the event loop do what is due.
        say: Called with what is done next.
    """

    def __init__(
        self,
        scene: Any,
        link: WorkerLink,
        timers: Timers,
        turn: Callable[[], None],
        say: Callable[[str], object],
    ) -> None:
        self._scene = scene
        self._turn = turn
        self._say = say
        self._field = FieldController(link, timers)
        self._segment = SegmentController(link, self._field, timers, scene)
        self._refine = RefineController(link, self._field, timers)
        self._said: list[str] = []
        self._segment.message.connect(self._said.append)

    def run(self, folder: Path) -> dict[str, float]:
        """Do all of it.

        Args:
            folder: Where the scene is saved; nothing else is in it.

        Returns:
            Dice of the clicked segment and of masks before and after refinement, clicks, seconds.

        Raises:
            SelfTestError: Something does not work.
        """
        began = time.monotonic()
        try:
            self._fit()
            dice, clicks = self._click()
            coarse, refined = self._refine_coarse()
            self._save_and_open(folder)
        finally:
            self._refine.close()
            self._segment.close()
            self._field.close()
        return {
            "dice": dice,
            "clicks": clicks,
            "coarse": coarse,
            "refined": refined,
            "seconds": time.monotonic() - began,
        }

    # ------------------------------------------------------------------ the steps

    def _fit(self) -> None:
        self._say("Making a phantom")
        self._volume, reference = sample_data.load_phantom(self._scene, _SHAPE_KJI, _SPACING_IJK)
        reference.SetDisplayVisibility(False)
        self._organ = _mask_named(reference, self._volume, _ORGAN)
        self._field.set_volume(self._volume)
        self._until(lambda: not self._field.status.busy, "the volume is with the worker")
        self._say("Fitting a field")
        if not self._field.usable:
            self._field.fit("filters", _PRESET, "cpu")
            self._until(lambda: not self._field.status.busy, "the fit is done")
        self._check(self._field.status.kind == "ready", self._field.status.text)

    def _click(self) -> tuple[float, int]:
        self._say("Clicking")
        segment_id = self._segment.add_segment(_ORGAN)
        mask = np.zeros_like(self._organ)
        dice, clicks = 0.0, 0
        while dice < _WANTED and clicks < _MOST_CLICKS:
            position, positive = self._next_click(mask)
            self._segment.click(position, positive=positive)
            self._until(lambda: not self._segment.busy, "the click is answered")
            mask = self._mask(segment_id)
            dice, clicks = _dice(mask, self._organ), clicks + 1
        self._check(dice >= _WANTED, f"Dice is {dice:.2f} after {clicks} clicks {self._said}")
        self._segment.undo()
        self._until(lambda: not self._segment.busy, "undo is done")
        self._check(not np.array_equal(self._mask(segment_id), mask), "undo changed nothing")
        self._segment.redo()
        self._until(lambda: not self._segment.busy, "redo is done")
        self._check(np.array_equal(self._mask(segment_id), mask), "redo did not bring it back")
        return dice, clicks

    def _refine_coarse(self) -> tuple[float, float]:
        self._say("Refining a coarse mask")
        coarse = _blocks(self._organ, _COARSE)
        node = segmentations.new_segmentation(self._scene, self._volume)
        source = segmentations.add_segment(node, "coarse")
        SegmentWriter(node, self._volume).write(source, Extent.whole(coarse.shape), coarse)
        self._refine.refine(node, source, node)
        self._until(lambda: not self._refine.status.busy, "the refinement is done")
        result = self._refine.result
        self._check(result is not None, self._refine.status.text)
        refined = SegmentWriter(node, self._volume).read(result.segment_id)  # type: ignore[union-attr]
        before, after = _dice(coarse, self._organ), _dice(refined, self._organ)
        self._check(after > before, f"refinement went from Dice {before:.3f} to {after:.3f}")
        self._scene.RemoveNode(node)
        return before, after

    def _save_and_open(self, folder: Path) -> None:
        self._say("Saving and opening the scene")
        segment_id = self._segment.segment_id
        mask = self._mask(segment_id)
        counts = self._segment.click_counts(segment_id)
        names = self._volume.GetName(), self._segment.segmentation.GetName()
        file = folder / "scene.mrb"
        self._check(self._scene.WriteToMRB(str(file)), "the scene cannot be saved")
        self._segment.set_segmentation(None)
        self._field.set_volume(None)
        self._check(self._scene.ReadFromMRB(str(file), True), "the scene cannot be opened")
        self._volume, segmentation = (self._scene.GetFirstNodeByName(name) for name in names)
        self._check(self._volume is not None and segmentation is not None, "nodes are missing")
        self._field.set_volume(self._volume)
        self._segment.set_segmentation(segmentation)
        self._until(lambda: not self._field.status.busy, "the field is found again")
        self._check(self._field.usable, f"no field after opening: {self._field.status.text}")
        self._segment.select(segment_id)
        self._check(self._segment.click_counts(segment_id) == counts, "clicks are missing")
        self._check(np.array_equal(self._mask(segment_id), mask), "the segment is another one")
        self._segment.recompute()
        self._until(lambda: not self._segment.busy, "the segment is worked out anew")
        self._check(_dice(self._mask(segment_id), self._organ) > 0.5, "clicks lost their meaning")

    # ------------------------------------------------------------------ means

    def _next_click(self, mask: Mask) -> tuple[Position, bool]:
        """Return where a person would click next: deepest in the larger error, world RAS mm."""
        from scipy.ndimage import distance_transform_edt  # noqa: PLC0415 - slow to import

        depth = distance_transform_edt(
            np.pad(mask != self._organ, 1), sampling=geometry_of(self._volume).spacing[::-1]
        )[1:-1, 1:-1, 1:-1]
        voxel = np.unravel_index(int(depth.argmax()), mask.shape)
        own = geometry_of(self._volume).to_ras([float(n) for n in voxel[::-1]])
        r, a, s = moved(world_from_local(self._volume), own[None])[0].tolist()
        return (r, a, s), bool(self._organ[voxel])

    def _mask(self, segment_id: str) -> Mask:
        return SegmentWriter(self._segment.segmentation, self._volume).read(segment_id)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise SelfTestError(f"Waited in vain until {what}.")
            self._turn()

    @staticmethod
    def _check(condition: object, sentence: str) -> None:
        if not condition:
            raise SelfTestError(sentence)


def run(say: Callable[[str], object]) -> None:
    """Run the self-test in Slicer's own scene, with a local worker.

    Args:
        say: Called with what is done next.

    Raises:
        SelfTestError: Something does not work, or has to be installed first.
    """
    import slicer  # noqa: PLC0415 - the application, which is not there without Slicer

    from VoxelFeatLib.scene.application.install import missing_sentence  # noqa: PLC0415
    from VoxelFeatLib.scene.application.qprocess import QtTimers, worker_transport  # noqa: PLC0415
    from VoxelFeatLib.scene.controllers.worker_link import WorkerLink  # noqa: PLC0415

    timers = QtTimers()
    link = WorkerLink(
        lambda: worker_transport(""), timers, missing=lambda: missing_sentence(local=True)
    )

    def turn() -> None:
        slicer.app.processEvents()
        time.sleep(0.002)

    try:
        with TemporaryDirectory() as folder:
            test = SelfTest(slicer.mrmlScene, link, timers, turn, say)
            result = test.run(Path(folder))
    finally:
        link.close()
    say(
        f"Passed: Dice {result['dice']:.2f} after {result['clicks']} clicks, "
        f"{result['coarse']:.3f} refined to {result['refined']:.3f}, "
        f"{result['seconds']:.0f} s"
    )


def _mask_named(segmentation: Any, volume: Any, name: str) -> Mask:
    segments = segmentation.GetSegmentation()
    segment_id = segments.GetSegmentIdBySegmentName(name)
    return SegmentWriter(segmentation, volume).read(segment_id)


def _blocks(mask: Mask, size: int) -> Mask:
    """Return a mask as it would be on a grid of larger voxels, nearest voxel each."""
    index = [np.minimum(np.arange(n) // size * size + size // 2, n - 1) for n in mask.shape]
    return np.ascontiguousarray(mask[np.ix_(*index)])


def _dice(a: Mask, b: Mask) -> float:
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / max(1, total)
