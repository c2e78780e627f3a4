"""VoxelFeat: segment 3D images by clicks on a neural field of foundation-model features."""

__version__ = "0.1.0"
