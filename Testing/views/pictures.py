"""Pictures for the user guide: what slice views show while a phantom's organs are segmented.

Run from the project's folder: python -m Testing.views.pictures. They go to demo/screens.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.io
from scipy.ndimage import distance_transform_edt

from Testing.controllers.controller_fixtures import Loop
from Testing.views.slice_views import SliceView, slice_application
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.scene.controllers.field_controller import FieldController
from VoxelFeatLib.scene.controllers.overlay_controller import OverlayController
from VoxelFeatLib.scene.controllers.refine_controller import RefineController
from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
from VoxelFeatLib.scene.controllers.suggestion_controller import SuggestionController
from VoxelFeatLib.scene.controllers.worker_link import WorkerLink
from VoxelFeatLib.scene.nodes import sample_data, segmentations
from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter
from VoxelFeatLib.segmenting.extent import Extent

LOG = logging.getLogger(__name__)
FOLDER = Path("demo/screens")
SHAPE_KJI, SPACING_IJK = (60, 192, 192), (2.0, 2.0, 4.0)
SIZE = (900, 660)
WIDTH = 350.0  # mm that the view shows
AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
OBLIQUE = ((0.25, -0.55, 1.0), (0.0, 1.0, 0.4))
COLORS = {
    "left kidney": (0.98, 0.78, 0.18),
    "liver": (0.25, 0.72, 0.95),
    "spleen": (0.93, 0.45, 0.75),
}


class Studio:
    """A slice view, a phantom with its field, and a hand that clicks."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.application = slice_application()
        self.scene = self.application.scene
        self.link = WorkerLink(self.loop.transport, self.loop)
        self.phantom = make_phantom(SHAPE_KJI, SPACING_IJK)
        self.volume, reference = sample_data.load_phantom(self.scene, SHAPE_KJI, SPACING_IJK)
        self.scene.RemoveNode(reference)
        self.view = SliceView(self.scene, self.application.main, "Red")
        self.view.update_size(*SIZE)
        self.view.set_mapped_in_layout(True)
        self.view.set_background_volume_id(self.volume.GetID())
        self.view.fit_view_to_content()
        self.field = FieldController(self.link, self.loop)
        self.segments = SegmentController(self.link, self.field, self.loop, self.scene, self.views)
        self.suggestions = SuggestionController(self.segments, self.field, self.scene, self.views)

    def views(self) -> list[tuple]:
        return [(self.view.interactor(), self.view.node)]

    def fit(self) -> None:
        self.field.set_volume(self.volume)
        self.loop.run_until(lambda: not self.field.status.busy)
        if not self.field.usable:
            self.field.fit("filters", "fast", "cpu")
            self.loop.run_until(lambda: not self.field.status.busy, 1800)

    def close(self) -> None:
        self.suggestions.close()
        self.segments.close()
        self.field.close()
        self.view.close()
        self.link.close()
        self.application.close()

    # ------------------------------------------------------------------ looking

    def organ(self, name: str) -> np.ndarray:
        (value,) = [value for value, known in self.phantom.names.items() if known == name]
        return self.phantom.labels == value

    def middle(self, mask: np.ndarray) -> np.ndarray:
        """RAS of the voxel farthest from a mask's border."""
        spacing = self.phantom.volume.geometry.spacing[::-1]
        depth = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        kji = np.unravel_index(depth.argmax(), depth.shape)
        return self.phantom.volume.geometry.to_ras(np.array(kji[::-1], dtype=float))

    def look(self, plane: tuple, at: np.ndarray, width_mm: float, aside: tuple = (0, 0)) -> None:
        self.view.look_along(*plane, at, width_mm, aside)

    def look_across(self, at: np.ndarray) -> None:
        """Show the whole axial slice through a position."""
        centre = self.phantom.volume.geometry.centre_ras
        self.look(AXIAL, np.array([*centre[:2], at[2]]), WIDTH)

    def slice_of(self, ras: np.ndarray) -> int:
        return round(float(self.phantom.volume.geometry.to_ijk(ras)[2]))

    def save(self, name: str) -> np.ndarray:
        self.view.leave()
        picture = self.view.picture()[::-1].astype(np.uint8)
        skimage.io.imsave(
            FOLDER / f"view-{name.replace(chr(32), chr(45))}.png", picture, check_contrast=False
        )
        return picture

    # ------------------------------------------------------------------ doing

    def settle(self) -> None:
        self.loop.run_until(lambda: not self.segments.busy)
        self.loop.run_until(lambda: not self.segments._flash.shown)

    def begin(self, name: str) -> None:
        segment_id = self.segments.add_segment(name)
        segments = self.segments.segmentation.GetSegmentation()
        segments.GetSegment(segment_id).SetColor(*COLORS[name])
        display = self.segments.segmentation.GetDisplayNode()
        display.SetOpacity2DFill(0.4)
        display.SetSliceIntersectionThickness(2)

    def mask(self) -> np.ndarray:
        writer = SegmentWriter(self.segments.segmentation, self.volume)
        return writer.read(self.segments.segment_id)

    def click_at(self, ras: np.ndarray, *, positive: bool) -> None:
        self.segments.place(positive)
        self.view.click(self.view.pixel(ras))
        self.segments.place(None)
        self.settle()

    def correct(self, name: str, k: int) -> None:
        """Click in the middle of the largest mistake that a slice shows."""
        organ = self.organ(name)[k]
        depth = distance_transform_edt(np.pad(organ != self.mask()[k], 1))[1:-1, 1:-1]
        j, i = np.unravel_index(depth.argmax(), depth.shape)
        at = self.phantom.volume.geometry.to_ras([float(i), float(j), float(k)])
        self.click_at(at, positive=bool(organ[j, i]))

    def dice(self, name: str) -> float:
        organ, mask = self.organ(name), self.mask()
        return 2 * float((organ & mask).sum()) / float(organ.sum() + mask.sum())

    def clear(self) -> None:
        self.segments.remove_segment(self.segments.segment_id)
        self.settle()


def clicks(studio: Studio, name: str) -> None:
    at = studio.middle(studio.organ(name))
    here = studio.slice_of(at)
    geometry = studio.phantom.volume.geometry
    studio.look_across(at)
    studio.save(f"{name}-0")
    studio.begin(name)
    for number in range(1, 6):
        studio.correct(name, here)
        if number in {1, 3, 5}:
            studio.save(f"{name}-{number}")
        LOG.info("%s: Dice %.3f after %d clicks", name, studio.dice(name), number)
    studio.look(OBLIQUE, at, WIDTH, tuple((at - geometry.centre_ras)[:2] * (-1, 1)))
    studio.save(f"{name}-oblique")
    studio.clear()


def next_place(studio: Studio) -> None:
    at = studio.middle(studio.organ("left kidney"))
    studio.look_across(at)
    studio.begin("left kidney")
    studio.click_at(at, positive=True)
    studio.suggestions.next()
    studio.save("next-place")
    studio.clear()


def box(studio: Studio) -> None:
    at = studio.middle(studio.organ("left kidney"))
    studio.look(AXIAL, at, 260.0)
    studio.begin("left kidney")
    studio.segments.set_box(True)
    roi = studio.segments.box_node
    roi.SetCenterWorld(*at)
    roi.SetSizeWorld(80.0, 70.0, 140.0)
    studio.loop.run_for(0.5)
    studio.click_at(at, positive=True)
    studio.save("box")
    studio.segments.set_box(False)
    studio.clear()


def scribble(studio: Studio) -> None:
    at = studio.middle(studio.organ("liver"))
    studio.look_across(at)
    studio.begin("liver")
    studio.segments.scribble(True)
    x, y = studio.view.pixel(at)
    way = [(x - 90 + 6 * n, round(y + 50 * np.sin(n / 6.0))) for n in range(31)]
    studio.view.drag(*way)
    studio.segments.scribble(None)
    studio.settle()
    studio.save("scribble")
    studio.clear()


def pictures_of_the_field(studio: Studio) -> None:
    overlay = OverlayController(studio.link, studio.field, studio.loop, studio.scene)
    at = studio.middle(studio.organ("left kidney"))
    studio.look_across(at)
    for mode, opacity in (("features", 0.65), ("similarity", 0.7)):
        overlay.set_opacity(opacity)
        overlay.set_mode(mode)
        overlay.cursor_moved(tuple(at))
        studio.loop.run_until(studio.view.get_foreground_volume_id)
        studio.loop.run_for(0.5)
        studio.save(mode)
        overlay.set_mode("none")
    overlay.close()


def refine(studio: Studio) -> None:
    organ = studio.organ("liver")
    index = [
        np.minimum(np.arange(n) // s * s + s // 2, n - 1)
        for n, s in zip(organ.shape, (3, 8, 8), strict=True)
    ]
    coarse = np.ascontiguousarray(organ[np.ix_(*index)])
    node = segmentations.new_segmentation(studio.scene, studio.volume)
    source = segmentations.add_segment(node, "coarse", COLORS["liver"])
    SegmentWriter(node, studio.volume).write(source, Extent.whole(coarse.shape), coarse)
    node.GetDisplayNode().SetOpacity2DFill(0.4)
    at = studio.middle(organ)
    studio.look_across(at)
    before = studio.save("refine-before")
    controller = RefineController(studio.link, studio.field, studio.loop)
    controller.refine(node, source, node)
    studio.loop.run_until(lambda: not controller.status.busy, 600)
    display = node.GetDisplayNode()
    display.SetSegmentVisibility(source, False)
    node.GetSegmentation().GetSegment(controller.result.segment_id).SetColor(*COLORS["liver"])
    after = studio.save("refine-after")
    gap = np.full((before.shape[0], 12, 3), 255, np.uint8)
    both = np.hstack([before, gap, after])
    skimage.io.imsave(FOLDER / "view-refine.png", both, check_contrast=False)
    controller.close()
    studio.scene.RemoveNode(node)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("VOXELFEAT_CACHE", str(FOLDER.parent.resolve() / "cache"))
    studio = Studio()
    try:
        studio.fit()
        steps: list[Callable[[Studio], None]] = [
            lambda s: clicks(s, "left kidney"),
            lambda s: clicks(s, "liver"),
            next_place,
            box,
            scribble,
            pictures_of_the_field,
            refine,
        ]
        for step in steps:
            step(studio)
    finally:
        studio.close()


if __name__ == "__main__":
    main()
