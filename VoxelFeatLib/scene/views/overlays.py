"""Pictures shown on the planes of slice views, as the views' foreground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util import numpy_support

from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.scene.nodes.volume_nodes import vtk_matrix
from VoxelFeatLib.worker.protocol import Plane

Picture = npt.NDArray[np.uint8]

_CLASSES = {1: "vtkMRMLScalarVolumeNode", 3: "vtkMRMLVectorVolumeNode"}
# Likeness from 0 to 1: dark blue, red, yellow; told apart without hue, too.
_COLORS = (
    (0.05, 0.03, 0.30),
    (0.45, 0.05, 0.55),
    (0.85, 0.25, 0.35),
    (1.0, 0.65, 0.1),
    (1, 1, 0.6),
)


@dataclass(eq=False)
class _Shown:
    """A picture in a view, and what the view showed before."""

    node: Any
    composite: Any
    foreground: str | None
    opacity: float

    def takes(self, components: int) -> bool:
        """Whether its node is still there and can hold such a picture."""
        same = self.node.GetClassName() == _CLASSES[components]
        return same and self.node.GetScene() is not None

    @property
    def visible(self) -> bool:
        """Whether the view still shows it: the user may have chosen another foreground."""
        return bool(self.composite.GetForegroundVolumeID() == self.node.GetID())

    def restore(self) -> None:
        """Have the view show again what it showed before."""
        # A node that was deleted by others has left the view without a foreground.
        gone = self.node.GetScene() is None and not self.composite.GetForegroundVolumeID()
        if self.composite.GetScene() is not None and (gone or self.visible):
            self.composite.SetForegroundVolumeID(self.foreground)
            self.composite.SetForegroundOpacity(self.opacity)


class SliceOverlays:
    """Shows one picture a slice view; nothing of it is saved with the scene.

    Each picture is the foreground of its view. Where the user chooses another foreground meanwhile,
    that one stays.

    Args:
        volume_node: The volume in whose own space the planes are given.
    """

    def __init__(self, volume_node: Any) -> None:
        self._volume_node = volume_node
        self._scene = volume_node.GetScene()
        self._shown: dict[str, _Shown] = {}
        self._colors: Any = None

    def show(self, slice_node: Any, plane: Plane, picture: Picture, opacity: float = 0.5) -> bool:
        """Show a picture in a slice view, in place of the one before.

        Args:
            slice_node: The view's vtkMRMLSliceNode.
            plane: Where the pixels are, in the volume's own space.
            picture: (rows, columns) of likeness, 255 the most, or (rows, columns, 3) of colours;
                0 and black are left out.
            opacity: 0 to 1.

        Returns:
            Whether it can be seen: not in a view without layers, nor where the user has chosen
            another foreground in the meantime.
        """
        components = picture.shape[2] if picture.ndim == 3 else 1
        shown = self._shown.get(slice_node.GetLayoutName())
        if shown is not None and not shown.takes(components):
            self.remove(slice_node)
            shown = None
        if shown is not None:
            _fill(shown.node, plane, picture)
        else:
            shown = self._begun(slice_node.GetLayoutName(), plane, picture)
        if shown is None:
            return False
        shown.node.SetAndObserveTransformNodeID(self._volume_node.GetTransformNodeID())
        if shown.visible:
            shown.composite.SetForegroundOpacity(opacity)
        return shown.visible

    def set_opacity(self, opacity: float) -> None:
        """Set how much the pictures cover, 0 to 1."""
        for shown in self._shown.values():
            if shown.visible:
                shown.composite.SetForegroundOpacity(opacity)

    def remove(self, slice_node: Any = None) -> None:
        """Take away a view's picture, or all; the views get back what they showed before."""
        names = list(self._shown) if slice_node is None else [slice_node.GetLayoutName()]
        for name in names:
            shown = self._shown.pop(name, None)
            if shown is None:
                continue
            shown.restore()
            display = shown.node.GetDisplayNode()
            for node in (shown.node, display):
                if node is not None and node.GetScene() is not None:
                    self._scene.RemoveNode(node)

    def close(self) -> None:
        """Take everything away, for good."""
        self.remove()
        if self._colors is not None and self._colors.GetScene() is not None:
            self._scene.RemoveNode(self._colors)
        self._colors = None

    def _begun(self, name: str, plane: Plane, picture: Picture) -> _Shown | None:
        """Make a picture the foreground of a view; None if the view has no layers."""
        composite = _composite_node(self._scene, name)
        if composite is None:
            return None
        foreground = composite.GetForegroundVolumeID()
        node = self._new_node(name, picture)
        _fill(node, plane, picture)
        self._shown[name] = _Shown(node, composite, foreground, composite.GetForegroundOpacity())
        composite.SetForegroundVolumeID(node.GetID())
        return self._shown[name]

    def _new_node(self, view: str, picture: Picture) -> Any:
        components = picture.shape[2] if picture.ndim == 3 else 1
        name = f"VoxelFeat overlay {view}"
        node = self._added(_CLASSES[components], name)
        display = self._added(f"{_CLASSES[components][:-4]}DisplayNode", f"{name} display")
        display.AutoWindowLevelOff()
        display.SetWindowLevel(255, 127.5)
        display.SetThreshold(1, 255)
        display.ApplyThresholdOn()
        if components == 1:
            display.SetAndObserveColorNodeID(self._color_node().GetID())
        node.SetAndObserveDisplayNodeID(display.GetID())
        return node

    def _color_node(self) -> Any:
        if self._colors is None or self._colors.GetScene() is None:
            node = self._added("vtkMRMLColorTableNode", "VoxelFeat likeness")
            node.SetTypeToUser()
            node.SetNumberOfColors(256)
            places = np.linspace(0, 255, len(_COLORS))
            for entry in range(256):
                color = [np.interp(entry, places, channel) for channel in np.transpose(_COLORS)]
                node.SetColor(entry, str(entry), *color, 1.0)
            node.GetLookupTable().SetTableRange(0, 255)
            self._colors = node
        return self._colors

    def _added(self, class_name: str, name: str) -> Any:
        node = getattr(slicer, class_name)()
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        return self._scene.AddNode(node)


def _composite_node(scene: Any, layout_name: str) -> Any:
    """Return the node that says which layers a slice view shows; None where there is none."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == layout_name:
            return node
    return None


def _fill(node: Any, plane: Plane, picture: Picture) -> None:
    """Put a picture into a volume node one voxel thick, in place where the size is the same."""
    modified = node.StartModify()
    components = picture.shape[2] if picture.ndim == 3 else 1
    image = node.GetImageData()
    size = (plane.columns, plane.rows, 1)
    if image is None or image.GetDimensions() != size:
        image = vtk.vtkImageData()
        image.SetDimensions(*size)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, components)
        node.SetAndObserveImageData(image)
    scalars = image.GetPointData().GetScalars()
    voxels = numpy_support.vtk_to_numpy(scalars).reshape(plane.rows, plane.columns, components)
    voxels[:] = picture.reshape(plane.rows, plane.columns, components)
    node.SetIJKToRASMatrix(vtk_matrix(_ijk_to_ras(plane)))
    scalars.Modified()
    image.Modified()
    node.EndModify(modified)


def _ijk_to_ras(plane: Plane) -> FloatArray:
    right, down = np.array(plane.right_mm), np.array(plane.down_mm)
    across = np.cross(right, down)
    matrix = np.eye(4)
    # As thick as a pixel is large: the view's plane stays inside, whatever is rounded.
    across *= np.sqrt(np.linalg.norm(right) * np.linalg.norm(down)) / np.linalg.norm(across)
    matrix[:3] = np.column_stack([right, down, across, plane.origin_ras])
    return matrix
