"""A scene with a large volume and the panel's controllers, and what a user does in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer  # noqa: TID251 - real MRML
import vtk
from _turns import MeasuredLoop, Stage
from vtk.util import numpy_support

from VoxelFeatLib.imaging.aliases import Position
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom import Phantom, make_phantom
from VoxelFeatLib.scene.controllers.field_controller import FieldController
from VoxelFeatLib.scene.controllers.refine_controller import RefineController
from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
from VoxelFeatLib.scene.controllers.worker_link import WorkerLink
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of, vtk_matrix

_SPACING_IJK = (0.75, 0.75, 3.0)
LABELMAP = "Binary labelmap"
# Slices of the phantom that is repeated.
_SLICES = 100
# Seconds that any stage may take.
PATIENCE = 1800.0


class Scene:
    """A scene with a large volume, three slice views and the controllers of the panel."""

    def __init__(self, shape_kji: tuple[int, int, int]) -> None:
        self.loop = MeasuredLoop()
        self.scene = slicer.vtkMRMLScene()
        self._logics = [
            slicer.vtkMRMLApplicationLogic(),
            slicer.vtkSlicerMarkupsLogic(),
            slicer.vtkSlicerSegmentationsModuleLogic(),
        ]
        for logic in self._logics:
            logic.SetMRMLScene(self.scene)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene)
        tile = make_phantom((min(_SLICES, shape_kji[0]), *shape_kji[1:]), _spacing(shape_kji))
        self.tile = tile
        organs = ("liver", "spleen", "stomach")
        self._inside = {name: np.argwhere(tile.mask(name)) for name in organs}
        self.volume = self._add_volume(tile, shape_kji)
        self.geometry = geometry_of(self.volume)
        self.loop.given = self.labelmaps
        self.views = self._add_views()
        self.link = WorkerLink(self.loop.transport, self.loop)
        self.field = FieldController(self.link, self.loop)
        self.segment = SegmentController(self.link, self.field, self.loop, self.scene)
        self.refine = RefineController(self.link, self.field, self.loop)
        self.acting = False
        self.loaded: list[Any] = []

    def close(self) -> None:
        """End the worker."""
        self.refine.close()
        self.segment.close()
        self.field.close()
        self.link.close()

    def _add_volume(self, tile: Phantom, shape_kji: tuple[int, int, int]) -> Any:
        image = vtk.vtkImageData()
        image.SetDimensions(*shape_kji[::-1])
        image.AllocateScalars(vtk.VTK_SHORT, 1)
        voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape_kji)
        for k in range(0, shape_kji[0], len(tile.labels)):
            part = voxels[k : k + len(tile.labels)]
            part[:] = tile.volume.voxels[: len(part)]
        whole = Geometry(shape_kji, tile.volume.geometry.ijk_to_ras)
        node = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        node.SetAndObserveImageData(image)
        node.SetIJKToRASMatrix(vtk_matrix(whole.ijk_to_ras))
        node.CreateDefaultDisplayNodes()
        image.GetPointData().GetScalars().GetRange(0)  # Slicer asks for it to show the volume
        return node

    def _add_views(self) -> list[Any]:
        views = []
        for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
            node = self.scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
            node.SetLayoutName(name)
            node.SetOrientation(orientation)
            size = self.geometry.spacing * np.array(self.geometry.shape_kji[::-1])
            node.SetFieldOfView(float(size.max()), float(size.max()), 1.0)
            node.SetMappedInLayout(1)
            self.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name)
            views.append(node)
        return views

    def labelmaps(self) -> int:
        """Return the bytes of segments and label maps, which Slicer keeps as one byte a voxel."""
        images: list[Any] = []
        for n in range(self.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
            segments = self.scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode").GetSegmentation()
            names = segments.GetSegmentIDs()
            images += [segments.GetSegment(name).GetRepresentation(LABELMAP) for name in names]
        images += [node.GetImageData() for node in self.loaded]
        unique = {id(image): image for image in images if image is not None}
        return sum(1024 * image.GetActualMemorySize() for image in unique.values())

    # ------------------------------------------------------------------ what the user does

    @property
    def idle(self) -> bool:
        """Whether the user and the controllers have nothing left to do."""
        return not (self.acting or self.segment.busy or self.refine.status.busy)

    def do(self, name: str, action: Callable[[], object]) -> Stage:
        """Do something and wait until its answer is in place, and the flash of it is over."""
        end = [0.0]

        def over() -> bool:
            if not self.idle:
                end[0] = 0.0
            elif not end[0]:
                end[0] = time.monotonic() + 1.5
            return bool(end[0]) and time.monotonic() > end[0]

        stage = self.loop.stage(name, action, over, PATIENCE)
        tell(stage)
        return stage

    def look_at(self, ras: Position) -> None:
        """Have all views show a position."""
        for node in self.views:
            node.JumpSliceByCentering(*ras)

    def place(self, name: str, index: int) -> Position:
        """Return a position in an organ of the middle tile, another one for each number."""
        inside = self._inside[name]
        k, j, i = inside[np.random.default_rng(index).integers(len(inside))].tolist()
        tiles = self.geometry.shape_kji[0] // len(self.tile.labels)
        k += tiles // 2 * len(self.tile.labels)
        r, a, s = self.geometry.to_ras([i, j, k]).tolist()
        return r, a, s

    def click(self, organ: str, index: int, *, positive: bool = True) -> None:
        """Click into an organ."""
        ras = self.place(organ, index)
        self.look_at(ras)
        self.segment.click(ras, positive=positive)


def tell(stage: Stage) -> None:
    """Print what a stage cost."""
    longest = stage.longest()
    print(
        f"{stage.name}: {stage.seconds:.1f} s, CPU {longest.cpu:.0f} ms in {longest.what}, "
        f"{(stage.peak - stage.before) / 1e6:.0f} MB peak",
        flush=True,
    )


def _spacing(shape_kji: tuple[int, int, int]) -> tuple[float, float, float]:
    """Return a spacing at which the same body is seen, in fewer voxels."""
    scale = 512 / shape_kji[2]
    return (_SPACING_IJK[0] * scale, _SPACING_IJK[1] * scale, _SPACING_IJK[2])
