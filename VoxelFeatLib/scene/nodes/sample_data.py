"""What the module Sample Data offers for VoxelFeat: a phantom made here, and a public CT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

import VoxelFeatLib
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.scene.nodes.segmentations import new_segmentation
from VoxelFeatLib.scene.nodes.volume_nodes import vtk_matrix

CATEGORY = "VoxelFeat"
PHANTOM = "VoxelFeatPhantom"
CT = "VoxelFeatCT"

# Slicer's own CTLiver: a portal-venous CT of the Medical Decathlon, CC BY-SA 4.0.
_CT_SHA256 = "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e"
_CT_URL = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"

# The whole abdomen in a few seconds; shape k, j, i and spacing i, j, k in mm.
_SHAPE_KJI = (80, 256, 256)
_SPACING_IJK = (1.5, 1.5, 3.0)


def register() -> None:
    """Offer both data sets; those of an earlier call are replaced."""
    import SampleData  # noqa: PLC0415 - a module of Slicer, not there before Slicer has started

    logic = SampleData.SampleDataLogic
    # Slicer tells sources apart by their function too, which a reload makes anew.
    sources = logic.sampleDataSourcesByCategory(CATEGORY)
    sources[:] = [source for source in sources if source.sampleName not in {PHANTOM, CT}]
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=PHANTOM,
        uris="voxelfeat:phantom",  # it must have one; nothing is downloaded
        fileNames="VoxelFeatPhantom.nrrd",
        nodeNames="VoxelFeat phantom",
        thumbnailFileName=_icon(f"{PHANTOM}.png"),
        customDownloader=_show_phantom,
    )
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=CT,
        uris=_CT_URL + _CT_SHA256,
        fileNames="CTLiver.nrrd",
        nodeNames="CTLiver",
        checksums=f"SHA256:{_CT_SHA256}",
        thumbnailFileName=str(Path(SampleData.__file__).parent / "Resources/Icons/CTLiver.png"),
    )


def load_phantom(
    scene: Any,
    shape_kji: tuple[int, int, int] = _SHAPE_KJI,
    spacing_ijk: tuple[float, float, float] = _SPACING_IJK,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Make an abdomen CT whose organs are known, and add it to a scene.

    Args:
        scene: The vtkMRMLScene.
        shape_kji: Number of voxels along k, j, i.
        spacing_ijk: Voxel size along i, j, k in mm.
        seed: Body and noise follow from it.

    Returns:
        The volume node, and the segmentation node of its organs.
    """
    from VoxelFeatLib.imaging.phantom import make_phantom  # noqa: PLC0415 - scipy, when needed

    phantom = make_phantom(shape_kji, spacing_ijk, seed)
    matrix = vtk_matrix(phantom.volume.geometry.ijk_to_ras)
    name = scene.GenerateUniqueName("VoxelFeat phantom")
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    volume.SetIJKToRASMatrix(matrix)
    volume.SetAndObserveImageData(_image(phantom.volume.voxels, vtk.vtkImageData()))
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    volume.SetVoxelValueUnits(units)
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(400, 40)

    segmentation = new_segmentation(scene, volume)
    segmentation.SetName(f"{name} reference")
    for value, title in phantom.names.items():
        mask = phantom.labels == value
        box = bounding_box(mask)
        if box is None:
            continue  # this field of view does not show it
        color = [part / 255 for part in phantom.colors[value]]
        image = _image(mask[box].astype(np.uint8), slicer.vtkOrientedImageData())
        image.SetExtent([n for part in box[::-1] for n in (part.start, part.stop - 1)])
        image.SetGeometryFromImageToWorldMatrix(matrix)
        segmentation.AddSegmentFromBinaryLabelmapRepresentation(image, title, color)
    segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    return volume, segmentation


def _show_phantom(_source: Any) -> list[Any]:
    """Make the phantom and show it, as Sample Data does with what it downloads."""
    with slicer.util.WaitCursor():
        volume, segmentation = load_phantom(slicer.mrmlScene)
    # The organs are there to compare with; at first they would hide what is to be segmented.
    segmentation.SetDisplayVisibility(False)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return [volume, segmentation]


def _image(voxels: Any, image: Any) -> Any:
    """Fill a vtkImageData with a (K, J, I) array."""
    image.SetDimensions(*voxels.shape[::-1])
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def _icon(name: str) -> str:
    """Return a picture of the module; installed, it lies beside the library."""
    beside = Path(VoxelFeatLib.__file__).resolve().parents[1]
    folders = (beside / "Resources", beside / "VoxelFeat" / "Resources")
    found = [folder / "Icons" / name for folder in folders if (folder / "Icons" / name).is_file()]
    return str(found[0]) if found else ""
