"""What the panel remembers in the scene."""

from __future__ import annotations

from typing import Annotated

from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class Parameters:
    """The panel's choices, saved with the scene.

    Attributes:
        volume: The volume that is segmented.
        segmentation: Where the segments are.
        segment_id: The selected segment.
        field_path: File of the field on the worker's machine; "" when it has none.
        backbone: Of the next fit, a name or a checkpoint's path; "" while the user has not chosen.
        encoding: What it sees; "" for its own choice.
        input_size: Side of the image that it sees, pixels; 0 for its own choice.
        preset: Of the next fit; "" while the user has not chosen.
        device: The same.
        locality: Whether only parts that a click touches are kept.
        refine_source: The coarse segmentation or labelmap.
        refine_segment: Its segment's id, or a label as text.
        refine_mode: "prior" or "paper".
        coarse_mm: Voxel size in which the coarse mask was drawn; 0 for that of its own grid.
        overlay: "none", "features" or "similarity".
        overlay_opacity: 0 to 1.
    """

    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segment_id: str
    field_path: str
    backbone: str
    encoding: str
    input_size: int = 0
    preset: str
    device: str
    locality: bool = True
    refine_source: vtkMRMLNode
    refine_segment: str
    refine_mode: str = "prior"
    coarse_mm: float = 0.0
    overlay: str = "none"
    overlay_opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
