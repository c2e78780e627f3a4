"""What controllers need without Qt: an event loop, a real worker process, a scene, a phantom."""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import slicer
import vtk
from vtk.util import numpy_support

from VoxelFeatLib.imaging.phantom import Phantom, make_phantom
from VoxelFeatLib.scene.controllers.field_controller import FieldController
from VoxelFeatLib.scene.controllers.worker_link import WorkerLink
from VoxelFeatLib.scene.nodes.volume_nodes import vtk_matrix
from VoxelFeatLib.worker.client.transport import SubprocessTransport


class Loop:
    """An event loop: timers, and the pipes of worker processes."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._cancelled: set[int] = set()
        self.transports: list[SubprocessTransport] = []

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        number = next(self._numbers)
        heapq.heappush(self._due, (time.monotonic() + seconds, number, call))
        return lambda: self._cancelled.add(number)

    def transport(self) -> SubprocessTransport:
        made = SubprocessTransport([sys.executable, "-m", "VoxelFeatLib", "worker"])
        self.transports.append(made)
        return made

    def turn(self) -> None:
        for transport in self.transports:
            transport.poll(0.002)
        while self._due and self._due[0][0] <= time.monotonic():
            _, number, call = heapq.heappop(self._due)
            if number not in self._cancelled:
                call()

    def run_until(self, condition: Callable[[], object], seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "nothing happened for too long"
            self.turn()

    def run_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()


@pytest.fixture(scope="session", autouse=True)
def a_cache_folder(tmp_path_factory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXELFEAT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def a_loop() -> Loop:
    return Loop()


@pytest.fixture(scope="module")
def a_link(a_loop: Loop, a_cache_folder) -> Iterator[WorkerLink]:
    link = WorkerLink(a_loop.transport, a_loop)
    yield link
    link.close()


@pytest.fixture(scope="session")
def a_phantom() -> Phantom:
    return make_phantom((20, 64, 64), (5.0, 5.0, 12.0))


@pytest.fixture
def a_scene(tmp_path) -> Iterator[object]:
    scene = slicer.vtkMRMLScene()
    # Where bundles are unpacked.
    cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(tmp_path))
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    logics = [
        slicer.vtkMRMLApplicationLogic(),
        slicer.vtkSlicerMarkupsLogic(),
        slicer.vtkSlicerSegmentationsModuleLogic(),
    ]
    for logic in logics:
        logic.SetMRMLScene(scene)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    yield scene
    scene.Clear(True)
    for logic in logics:
        logic.SetMRMLScene(None)


@pytest.fixture
def add_volume_of(a_scene) -> Callable[..., object]:
    """Add a volume node of a class, from a (K, J, I) array and IJK to RAS."""

    def add(kind: str, voxels: np.ndarray, ijk_to_ras: np.ndarray, name: str) -> object:
        image = vtk.vtkImageData()
        image.SetDimensions(*voxels.shape[::-1])
        flat = np.ascontiguousarray(voxels).reshape(-1)
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
        node = a_scene.AddNewNodeByClass(kind, name)
        node.SetAndObserveImageData(image)
        node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras))
        return node

    return add


@pytest.fixture
def a_volume_node(add_volume_of, a_phantom):
    volume = a_phantom.volume
    kind = "vtkMRMLScalarVolumeNode"
    return add_volume_of(kind, volume.voxels, volume.geometry.ijk_to_ras, "CT")


@pytest.fixture
def a_field(a_link: WorkerLink, a_loop: Loop) -> Iterator[FieldController]:
    field = FieldController(a_link, a_loop)
    yield field
    field.close()


@pytest.fixture
def a_ready_field(a_field, a_loop, a_volume_node):
    a_field.set_volume(a_volume_node)
    a_loop.run_until(lambda: a_field.status.kind in {"ready", "no_field", "error"})
    if not a_field.usable:
        a_field.fit("filters", "draft", "cpu")
        a_loop.run_until(lambda: a_field.status.kind in {"ready", "error"})
    assert a_field.usable, a_field.status.text
    return a_field
