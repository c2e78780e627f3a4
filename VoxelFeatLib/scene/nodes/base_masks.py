"""The masks that clicks correct, kept in text nodes of the scene so that they are saved with it.

A segment that starts from an existing mask comes back to it when its clicks are taken away. Once it
has clicks, that mask can be seen nowhere else in the scene.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import slicer

from VoxelFeatLib.imaging.aliases import Triple
from VoxelFeatLib.scene.nodes.markups import SEGMENT_ATTRIBUTE, SEGMENTATION_ROLE
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.worker.protocol import BadMessageError, mask_place, unpack_mask

_VOLUME_ROLE = "VoxelFeatVolume"


class BaseMasks:
    """What the segments of a segmentation start from, on a volume's grid.

    Args:
        segmentation: The segmentation node.
        volume: The volume node.
        shape_kji: The volume's shape.
    """

    def __init__(self, segmentation: Any, volume: Any, shape_kji: Triple) -> None:
        self._segmentation = segmentation
        self._volume = volume
        self._shape_kji = shape_kji
        self._scene = segmentation.GetScene()
        self._kept: dict[str, PackedMask | None] = {}
        segments = segmentation.GetSegmentation()
        for node in self._nodes():
            if segments.GetSegment(node.GetAttribute(SEGMENT_ATTRIBUTE)) is None:
                self._scene.RemoveNode(node)

    def load(self, segment_id: str) -> PackedMask | None:
        """Return what a segment starts from; None where that is not known, or cannot be read."""
        node = self._find(segment_id)
        return None if node is None else _parsed(str(node.GetText()), self._shape_kji)

    def keep(self, segment_id: str, base: PackedMask | None) -> None:
        """Have the scene know what a segment starts from; None for nothing."""
        if segment_id in self._kept and self._kept[segment_id] is base:
            return
        self._kept[segment_id] = base
        node = self._find(segment_id)
        if base is None:
            if node is not None:
                self._scene.RemoveNode(node)
            return
        if node is None:
            node = self._made(segment_id)
        node.SetText(_written(base))

    def close(self) -> None:
        """Remove what belonged to a segmentation that is no more; the rest stays in the scene."""
        if self._segmentation.GetScene() is None:
            # Slicer takes references to a removed node away.
            for node in self._all():
                if not node.GetNodeReferenceID(SEGMENTATION_ROLE):
                    self._scene.RemoveNode(node)

    def _find(self, segment_id: str) -> Any:
        return next(
            (node for node in self._nodes() if node.GetAttribute(SEGMENT_ATTRIBUTE) == segment_id),
            None,
        )

    def _nodes(self) -> list[Any]:
        own = (self._segmentation.GetID(), self._volume.GetID())
        roles = (SEGMENTATION_ROLE, _VOLUME_ROLE)
        return [
            node
            for node in self._all()
            if tuple(node.GetNodeReferenceID(role) for role in roles) == own
        ]

    def _all(self) -> list[Any]:
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLTextNode")
        nodes = [self._scene.GetNthNodeByClass(n, "vtkMRMLTextNode") for n in range(count)]
        return [node for node in nodes if node.GetAttribute(SEGMENT_ATTRIBUTE)]

    def _made(self, segment_id: str) -> Any:
        node = slicer.vtkMRMLTextNode()
        node.SetName(f"{self._segmentation.GetName()} {segment_id} start")
        node.SetHideFromEditors(True)
        # In the scene's own file: a file beside it would be one more that can be lost.
        node.SetForceCreateStorageNode(node.CreateStorageNodeNever)
        node.SetAttribute(SEGMENT_ATTRIBUTE, segment_id)
        self._scene.AddNode(node)
        node.SetNodeReferenceID(SEGMENTATION_ROLE, self._segmentation.GetID())
        node.SetNodeReferenceID(_VOLUME_ROLE, self._volume.GetID())
        return node


def _written(base: PackedMask) -> str:
    bits = base64.b64encode(base.bits).decode("ascii")
    extent = [*base.start_kji, *base.stop_kji]
    return json.dumps({"shape": list(base.shape_kji), "extent": extent, "bits": bits})


def _parsed(text: str, shape_kji: Triple) -> PackedMask | None:
    """Return a mask on the volume's grid; None where a text is none, whoever has changed it."""
    try:
        wire = json.loads(text)
        wire["bits"] = base64.b64decode(wire["bits"], validate=True)
        shape, extent = mask_place(wire)
        if shape != shape_kji:
            return None
        unpack_mask(wire)
    except (ValueError, TypeError, KeyError, RecursionError, BadMessageError):
        return None
    return PackedMask(shape_kji, extent.start_kji, extent.stop_kji, wire["bits"])
