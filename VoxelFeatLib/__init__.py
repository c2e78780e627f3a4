"""VoxelFeat: interactive segmentation of 3D images with a neural field of foundation-model features."""

__version__ = "0.1.0"
