"""The requests `query`, `similarity` and `project`: what the field says of places."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt
import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.worker.protocol import BadMessageError, Message, Plane
from VoxelFeatLib.worker.server.requests import Request, Steps
from VoxelFeatLib.worker.server.workspace import Model, Workspace

# Most positions of one query: its reply stays below the largest message.
_MOST_POSITIONS = 8192
# Pixels coloured between two looks at other requests.
_PIXELS = 1 << 14
# A vector shorter than this has no direction.
_SHORTEST = 1e-6

Bytes = npt.NDArray[np.uint8]
# Positions in the volume, (N, 3) RAS mm, to (N,) or (N, 3) values of a picture.
Painter = Callable[[FloatArray], Bytes]


def query(workspace: Workspace, request: Request) -> Message:
    """Return features and intensity at positions."""
    positions = np.asarray(request.arguments.positions("ras"), dtype=np.float64).reshape(-1, 3)
    if len(positions) > _MOST_POSITIONS:
        raise BadMessageError(f"A query has at most {_MOST_POSITIONS} positions.")
    field, volume = workspace.need_field(), workspace.need_volume()
    x = samples_at(field, volume, positions)
    return {
        "channels": field.channels,
        "levels": [{"name": level.name, "channels": level.channels} for level in field.levels],
        "features": x[:, :-1].astype("<f4").tobytes(),
        "intensity": x[:, -1].tolist(),
        "inside": volume.geometry.contains(positions).tolist(),
    }


def similarity(workspace: Workspace, request: Request) -> Steps:
    """Draw how alike each pixel of some planes is to a position."""
    planes, ras = request.arguments.planes(), request.arguments.position("ras")
    volume = workspace.need_volume()
    if not volume.geometry.contains(ras):
        raise InputError("The point lies outside the volume.", volume.geometry.bounds_text())
    paint = _likeness(workspace.model(), ras)
    yield
    maps = []
    for plane in planes:
        picture = yield from _painted(workspace, plane, paint, ())
        maps.append(zlib.compress(picture.tobytes(), level=1))
    return {"maps": maps}


def project(workspace: Workspace, request: Request) -> Steps:
    """Draw the features' principal components in some planes as red, green and blue."""
    planes = request.arguments.planes()
    paint = _colors(workspace.model())
    yield
    images = []
    for plane in planes:
        picture = yield from _painted(workspace, plane, paint, (3,))
        images.append(zlib.compress(picture.tobytes(), level=1))
    return {"images": images}


def _painted(
    workspace: Workspace, plane: Plane, paint: Painter, channels: tuple[int, ...]
) -> Generator[None, None, Bytes]:
    """Paint a plane piece by piece: (rows * columns, *channels), 0 outside the volume."""
    geometry = workspace.need_volume().geometry
    picture = np.zeros((plane.size, *channels), dtype=np.uint8)
    ras = plane.ras().reshape(-1, 3)
    (inside,) = np.nonzero(geometry.contains(ras))
    for first in range(0, len(inside), _PIXELS):
        part = inside[first : first + _PIXELS]
        picture[part] = paint(ras[part])
        yield
    return picture


def _likeness(model: Model, ras: Position) -> Painter:
    """Cosine to a position in whitened space; at most 0 becomes 0, and 1 becomes 255.

    As ``segmenting.similarity``, but with the whitening folded into the field's last layer.
    """
    statistics, field = model.evidence.statistics, model.field
    whitening = torch.as_tensor(statistics.whitening, dtype=torch.float32)
    weight, of_intensity = whitening[:, :-1], whitening[:, -1].to(field.device)
    bias = -(whitening @ torch.as_tensor(statistics.mean, dtype=torch.float32))

    def whitened(positions: FloatArray) -> torch.Tensor:
        points = torch.as_tensor(positions, dtype=torch.float32, device=field.device)
        z = field.project(points, weight, bias)
        intensity = torch.from_numpy(model.volume.intensity_at(positions)).to(z)
        return z.addcmul_(intensity[:, None], of_intensity)

    reference = torch.nn.functional.normalize(whitened(np.array([ras]))[0], dim=0, eps=_SHORTEST)

    def paint(positions: FloatArray) -> Bytes:
        z = whitened(positions)
        cosine = (z @ reference) / z.norm(dim=1).clamp_min(_SHORTEST)
        return _bytes(cosine)

    return paint


def _colors(model: Model) -> Painter:
    weight = torch.as_tensor(model.colors.weight, dtype=torch.float32)
    bias = torch.as_tensor(model.colors.bias, dtype=torch.float32)

    def paint(positions: FloatArray) -> Bytes:
        points = torch.as_tensor(positions, dtype=torch.float32)
        return _bytes(model.field.project(points, weight, bias))

    return paint


def _bytes(values: torch.Tensor) -> Bytes:
    scaled = values.clamp(0, 1).mul_(255).round_().byte()
    return np.asarray(scaled.cpu().numpy())
