"""Clicks and scribbles as markups nodes: how they look, where their points are, whose they are.

Which segmentation a node belongs to is a node reference, which segment and sign are attributes, so
that a saved scene brings all of them back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from VoxelFeatLib.imaging.aliases import Color, FloatArray

SEGMENT_ATTRIBUTE = "VoxelFeat.SegmentID"
SIGN_ATTRIBUTE = "VoxelFeat.Sign"
BOX_ATTRIBUTE = "VoxelFeat.Box"
SEGMENTATION_ROLE = "VoxelFeatSegmentation"

# Told apart by shape too: a tenth of men see these colours alike.
POSITIVE_COLOR: Color = (0.2, 0.9, 0.3)
NEGATIVE_COLOR: Color = (0.95, 0.3, 0.25)
_HOVER_COLOR: Color = (1.0, 0.9, 0.2)
# Per cent of a fifth of the view's diagonal, some ten pixels: large enough to tell a cross from a
# diamond, small enough to see what it marks.
_GLYPH_PERCENT = 6.0
# The corners of a stroke are no wider than its line.
_CORNER_PERCENT = 1.8
_LINE_MM = 0.6


def make_markups(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    *,
    positive: bool,
    curve: bool = False,
) -> slicer.vtkMRMLMarkupsNode:
    """Add an empty node for a segment's clicks of one sign, or for one scribble, to the scene."""
    node = slicer.vtkMRMLMarkupsCurveNode() if curve else slicer.vtkMRMLMarkupsFiducialNode()
    node.SetAttribute(SEGMENT_ATTRIBUTE, segment_id)
    node.SetAttribute(SIGN_ATTRIBUTE, "+1" if positive else "-1")
    node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation_node.GetID())
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    node.SetName(_name(node, segment_id if segment is None else segment.GetName()))
    node.SetControlPointLabelFormat("+%d" if positive else "-%d")
    # Complete before anybody hears of it.
    segmentation_node.GetScene().AddNode(node)
    node.CreateDefaultDisplayNodes()
    _style(node.GetDisplayNode(), positive=positive, curve=curve)
    if curve:
        node.SetCurveTypeToLinear()
        node.SetLocked(1)  # a stroke is not dragged about; it would catch the mouse
    return node


def name_after(node: slicer.vtkMRMLMarkupsNode, before: str, name: str) -> None:
    """Have a node follow its segment's new name, unless somebody gave it a name of its own."""
    if node.GetName() == _name(node, before):
        node.SetName(_name(node, name))


def _name(node: slicer.vtkMRMLMarkupsNode, segment_name: str) -> str:
    sign = "positive" if is_positive(node) else "negative"
    return f"{segment_name} {sign} {'scribble' if is_scribble(node) else 'clicks'}"


def markups_of(segmentation_node: slicer.vtkMRMLSegmentationNode) -> Iterator[slicer.vtkMRMLNode]:
    """Yield all nodes of clicks and scribbles that belong to a segmentation, oldest first."""
    scene = segmentation_node.GetScene()
    if scene is None:
        return
    # Not GetNodesByClass: who frees its collection differs between versions.
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLMarkupsNode")
        owner = node.GetNodeReferenceID(SEGMENTATION_ROLE)
        if owner == segmentation_node.GetID() and node.GetAttribute(SEGMENT_ATTRIBUTE):
            yield node


def take_away(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Remove a node from its scene; hidden first, as slice views may go on drawing it otherwise."""
    node.SetDisplayVisibility(False)
    node.GetScene().RemoveNode(node)


def segment_of(node: slicer.vtkMRMLMarkupsNode) -> str:
    """Return the ID of the segment whose clicks a node holds."""
    return str(node.GetAttribute(SEGMENT_ATTRIBUTE))


def is_own(node: slicer.vtkMRMLNode | None) -> bool:
    """Whether a node holds clicks or a scribble of any segment, or is a box made here."""
    return node is not None and bool(
        node.GetAttribute(SEGMENT_ATTRIBUTE) or node.GetAttribute(BOX_ATTRIBUTE)
    )


def is_positive(node: slicer.vtkMRMLMarkupsNode) -> bool:
    """Whether a node holds positive clicks."""
    return bool(node.GetAttribute(SIGN_ATTRIBUTE) == "+1")


def is_scribble(node: slicer.vtkMRMLMarkupsNode) -> bool:
    """Whether a node holds a scribble, not clicks."""
    return bool(node.IsA("vtkMRMLMarkupsCurveNode"))


def defined_world(node: slicer.vtkMRMLMarkupsNode) -> FloatArray:
    """Return the (N, 3) world positions of a node's defined points, without the one at the mouse.

    All transforms that the node is under are applied.
    """
    points = vtk.vtkPoints()
    points.SetDataTypeToDouble()
    node.GetControlPointPositionsWorld(points)
    return np.array([points.GetPoint(n) for n in _defined(node)], dtype=np.float64).reshape(-1, 3)


def set_defined_world(node: slicer.vtkMRMLMarkupsNode, positions: npt.ArrayLike) -> None:
    """Replace a node's defined points, in one go; a point being placed stays at the mouse."""
    wanted = np.asarray(positions, dtype=np.float64).reshape(-1, 3).tolist()
    was_modifying = node.StartModify()
    present = _defined(node)
    for number, position in zip(present, wanted, strict=False):
        node.SetNthControlPointPositionWorld(number, position)
    for position in wanted[len(present) :]:
        node.AddControlPointWorld(position)
    for number in reversed(present[len(wanted) :]):
        node.RemoveNthControlPoint(number)
    node.EndModify(was_modifying)


def _defined(node: slicer.vtkMRMLMarkupsNode) -> list[int]:
    return [
        number
        for number in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(number) == node.PositionDefined
    ]


def _style(display: slicer.vtkMRMLMarkupsDisplayNode, *, positive: bool, curve: bool) -> None:
    color = POSITIVE_COLOR if positive else NEGATIVE_COLOR
    display.SetColor(*color)
    display.SetSelectedColor(*color)
    display.SetActiveColor(*_HOVER_COLOR)
    display.SetGlyphType(display.ThickCross2D if positive else display.Diamond2D)
    display.SetUseGlyphScale(True)
    display.SetGlyphScale(_CORNER_PERCENT if curve else _GLYPH_PERCENT)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(_LINE_MM)
