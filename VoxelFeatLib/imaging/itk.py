"""The edge between SimpleITK images (LPS) and our arrays with a Geometry (RAS)."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import SimpleITK

from VoxelFeatLib.imaging.geometry import Geometry


def geometry_of(image: SimpleITK.Image | SimpleITK.ImageFileReader) -> Geometry:
    """Return the geometry of a 3D image, or of a reader that has read its information.

    Raises:
        GeometryError: The spacing is not positive or the direction matrix is degenerate.
    """
    return Geometry.from_lps(
        image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )


def image_of(voxels: npt.NDArray[Any], geometry: Geometry) -> SimpleITK.Image:
    """Make a SimpleITK image of (K, J, I) voxels; the voxels are copied."""
    image = SimpleITK.GetImageFromArray(voxels)
    spacing, origin, direction = geometry.to_lps()
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image
