"""Where organs are, and what there is in the scene."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from VoxelFeatLib.scene.segments.segment_writer import SegmentWriter

# Normal and up of slice views.
PLANES = {
    "axial": ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    "oblique": ((0.5, 0.6, 1.0), (0.1, 1.0, -0.3)),
}


def deepest(phantom, name: str) -> np.ndarray:
    """RAS of the middle of the voxel that is farthest from an organ's border."""
    (value,) = [value for value, known in phantom.names.items() if known == name]
    depth = distance_transform_edt(np.pad(phantom.labels == value, 1))[1:-1, 1:-1, 1:-1]
    kji = np.unravel_index(depth.argmax(), depth.shape)
    return phantom.volume.geometry.to_ras(np.array(kji[::-1], dtype=float))


def kji_at(phantom, ras: np.ndarray) -> tuple[int, int, int] | None:
    """The voxel at a position; None outside."""
    geometry = phantom.volume.geometry
    if not geometry.contains(ras):
        return None
    i, j, k = np.floor(geometry.to_ijk(ras) + 0.5).astype(int)
    return int(k), int(j), int(i)


def placed(node) -> np.ndarray:
    """World positions of a markups node's points, without the one at the mouse."""
    points = [
        list(node.GetNthControlPointPositionWorld(n))
        for n in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(n) == node.PositionDefined
    ]
    return np.array(points).reshape(-1, 3)


def settle(controller, loop) -> None:
    """Wait for the answer, and until what it changed is not shown any more."""
    loop.run_until(lambda: not controller.busy)
    loop.run_until(lambda: not controller._flash.shown)


def segment_mask(controller) -> np.ndarray:
    writer = SegmentWriter(controller.segmentation, controller._field.volume)
    return writer.read(controller.segment_id)
