"""Volume nodes: which can be used, where their voxels are, and how their voxels are sent.

A volume's own space is its RAS without parent transforms, as its IJK-to-RAS matrix says. World is
what slice views show: the own space moved by the volume's parent transforms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Modality, guess_modality
from VoxelFeatLib.imaging.voxel_types import as_voxel_type, count_not_finite, voxel_type_for

# Most bytes handed out at once.
PART_BYTES = 4 << 20

_HOUNSFIELD_UNITS = "[hnsf'U]"
# VTK's types without a number per voxel that numpy could see.
_UNREADABLE_TYPES = (vtk.VTK_VOID, vtk.VTK_BIT, vtk.VTK_OPAQUE)


def check_volume(node: slicer.vtkMRMLVolumeNode | None) -> None:
    """Check that a volume node can be segmented.

    Raises:
        InputError: It cannot; the message is one sentence that says what to do.
    """
    if node is None:
        raise InputError("Choose a volume.")
    name = node.GetName()
    _check_kind(node, name)
    if _in_sequence(node):
        raise InputError(
            f"{name} is one frame of a sequence: make a copy of the frame that you need "
            "(Data module, Clone) and choose the copy."
        )
    geometry_of(node)
    world_from_local(node)


def geometry_of(node: slicer.vtkMRMLVolumeNode) -> Geometry:
    """Return where a volume's voxels are, in its own space.

    Raises:
        InputError: It holds no image.
        GeometryError: Its spacing or axes do not describe a volume.
    """
    image = node.GetImageData()
    if image is None or min(image.GetDimensions()) < 1:
        raise InputError(f"{node.GetName()} holds no image: load it again.")
    i, j, k = image.GetDimensions()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijk_to_ras = array_of(matrix)
    # An image that was cropped in place starts at another index than 0.
    first = image.GetExtent()[::2]
    ijk_to_ras[:3, 3] += ijk_to_ras[:3, :3] @ np.array(first, dtype=float)
    return Geometry((k, j, i), ijk_to_ras)


def world_from_local(node: slicer.vtkMRMLTransformableNode) -> FloatArray:
    """Return the (4, 4) map from a node's own space to world, through all parent transforms.

    Raises:
        InputError: A parent transform is not linear, or it flattens space.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InputError(
            f"{node.GetName()} is under the non-linear transform {transform.GetName()}: harden it "
            "or take the volume out of it (Transforms module)."
        )
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transform, None, matrix)
    result = array_of(matrix)
    if not np.isfinite(result).all() or abs(np.linalg.det(result[:3, :3])) < 1e-12:
        raise InputError(
            f"The transform {transform.GetName()} flattens {node.GetName()}: correct it, or take "
            "the volume out of it (Transforms module)."
        )
    return result


def local_from_world(node: slicer.vtkMRMLTransformableNode) -> FloatArray:
    """Return the inverse of ``world_from_local``; raises as it."""
    return np.asarray(np.linalg.inv(world_from_local(node)))


def moved(matrix: FloatArray, points: npt.ArrayLike) -> FloatArray:
    """Map (..., 3) points with a (4, 4) affine map."""
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def array_of(matrix: vtk.vtkMatrix4x4) -> FloatArray:
    """Return a VTK matrix as a (4, 4) array."""
    return np.array(matrix.GetData(), dtype=np.float64).reshape(4, 4)


def vtk_matrix(array: FloatArray) -> vtk.vtkMatrix4x4:
    """Return a (4, 4) array as a VTK matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def stamp(node: slicer.vtkMRMLVolumeNode) -> tuple[object, ...]:
    """Return what changes when the voxels or their place in the own space do, without a look.

    Parent transforms, window, name and display do not count.
    """
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None:
        return ()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return scalars.GetMTime(), image.GetExtent(), tuple(matrix.GetData())


class VolumeSource:
    """A volume node's voxels as the worker takes them, sent without a copy of the whole.

    Args:
        node: A volume that ``check_volume`` accepts; it is checked.

    Attributes:
        name: The node's name.
        geometry: Where the voxels are, in the own space.
        kind: Type of the voxels as sent: uint8, int16, uint16 or float32, little-endian.
        modality: By DICOM or the voxels' unit where the scene knows them, else by their range.
        stamp: The node's ``stamp`` when this was made.

    Raises:
        InputError: The volume cannot be used.
    """

    def __init__(self, node: slicer.vtkMRMLVolumeNode) -> None:
        check_volume(node)
        self.name = str(node.GetName())
        self.geometry = geometry_of(node)
        self.stamp = stamp(node)
        self._image = node.GetImageData()
        voxels = self._voxels()
        # VTK remembers the range until the voxels change, and Slicer has asked for it already.
        value_range = self._image.GetPointData().GetScalars().GetRange
        self.kind = voxel_type_for(voxels.dtype, lambda: value_range(0)).newbyteorder("<")
        hint = _modality_hint(node)
        self.modality: Modality = guess_modality(voxels.reshape(self.geometry.shape_kji), hint)

    @property
    def dtype(self) -> str:
        """Type of the voxels as sent, such as "<i2"."""
        return str(self.kind.str)

    @property
    def nbytes(self) -> int:
        """Number of bytes that ``parts`` gives in all."""
        return int(np.prod(self.geometry.shape_kji)) * self.kind.itemsize

    def parts(self) -> Iterator[memoryview]:
        """Yield the voxels in k, j, i order, at most ``PART_BYTES`` at once.

        A part is valid until the next is asked for.

        Raises:
            InputError: The image has changed meanwhile, or has voxels that are not finite.
        """
        changed = self._scalars_time()
        step = PART_BYTES // self.kind.itemsize
        for first in range(0, int(np.prod(self.geometry.shape_kji)), step):
            # Looked up each time: the array that VTK held before may have been freed.
            if self._scalars_time() != changed:
                raise InputError(f"{self.name} changed while it was sent: start again.")
            part = as_voxel_type(self._voxels()[first : first + step], self.kind)
            if count_not_finite(part):
                raise InputError(
                    f"{self.name} has voxels that are not finite numbers (NaN or infinite): "
                    "replace them, and choose the volume again."
                )
            yield part.data.cast("B")

    def _voxels(self) -> npt.NDArray[Any]:
        """Return the (N,) voxels as VTK holds them, k slowest."""
        return np.asarray(vtk_to_numpy(self._image.GetPointData().GetScalars()))

    def _scalars_time(self) -> tuple[int, int]:
        scalars = self._image.GetPointData().GetScalars()
        return (0, 0) if scalars is None else (scalars.GetMTime(), scalars.GetNumberOfValues())


def _check_kind(node: slicer.vtkMRMLVolumeNode, name: str) -> None:
    """Refuse what does not hold one number per voxel that is an image's intensity."""
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f"{name} is a label map: choose the image that it was drawn on.")
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    components = scalars.GetNumberOfComponents() if scalars is not None else 1
    if components > 1 or node.IsA("vtkMRMLVectorVolumeNode"):
        raise InputError(
            f"{name} has {components} numbers per voxel (such as red, green, blue): make a scalar "
            "volume of it with the Vector to Scalar Volume module."
        )
    if node.IsA("vtkMRMLTensorVolumeNode") or node.IsA("vtkMRMLDiffusionWeightedVolumeNode"):
        raise InputError(f"{name} is a diffusion volume: make a scalar volume of it first.")
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"{name} is not a scalar volume: choose a CT or MR volume.")
    if scalars is None or image.GetNumberOfPoints() != scalars.GetNumberOfTuples():
        raise InputError(f"{name} holds no image: load it again.")
    if scalars.GetDataType() in _UNREADABLE_TYPES:
        raise InputError(
            f"{name} has voxels of the type {scalars.GetDataTypeAsString()}: convert it with the "
            "Cast Scalar Volume module."
        )


def _in_sequence(node: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether a sequence browser replaces the node's voxels when it is played."""
    scene = node.GetScene()
    count = scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") if scene is not None else 0
    browsers = [scene.GetNthNodeByClass(n, "vtkMRMLSequenceBrowserNode") for n in range(count)]
    return any(b.IsProxyNodeID(node.GetID()) and b.GetNumberOfItems() > 1 for b in browsers)


def _modality_hint(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return DICOM's word for the modality, or what the unit of the voxels says, or nothing."""
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    attribute = constants.GetDICOMSeriesModalityAttributeName()
    scene = node.GetScene()
    hierarchy = scene.GetSubjectHierarchyNode() if scene is not None else None
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if hierarchy is not None and item:
        found = str(hierarchy.GetItemAttribute(item, attribute) or "")
        if found:
            return found
    units = node.GetVoxelValueUnits()
    return "CT" if units is not None and units.GetCodeValue() == _HOUNSFIELD_UNITS else ""
