"""The scene layer inside Slicer: CTest starts Slicer with this file, `make test` without Slicer."""

from __future__ import annotations

import importlib.util
import sys
import unittest
from pathlib import Path

import numpy as np
import slicer

TESTING = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("VoxelFeatLib") is None:  # run from its source
    sys.path.insert(0, str(TESTING.parent))


class VoxelFeatSceneTest(unittest.TestCase):
    """Runs on ``slicer.mrmlScene``."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(False)

    def test_the_phantom_becomes_nodes_and_comes_back(self) -> None:
        from VoxelFeatLib.imaging.phantom import make_phantom
        from VoxelFeatLib.scene.nodes.sample_data import load_phantom
        from VoxelFeatLib.scene.nodes.volume_nodes import VolumeSource

        shape, spacing = (8, 40, 48), (8.0, 8.0, 20.0)
        volume, segmentation = load_phantom(slicer.mrmlScene, shape, spacing)
        expected = make_phantom(shape, spacing)
        source = VolumeSource(volume)
        voxels = np.frombuffer(b"".join(source.parts()), dtype=source.dtype).reshape(shape)
        self.assertTrue(np.array_equal(voxels, expected.volume.voxels))
        segments = segmentation.GetSegmentation()
        names = {segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())}
        present = {int(value) for value in np.unique(expected.labels)} - {0}
        self.assertEqual(names, {expected.names[value] for value in present})

    def test_nothing_of_the_scene_layer_loads_torch(self) -> None:
        before = "torch" in sys.modules  # another extension may have loaded it
        from VoxelFeatLib.scene.nodes import sample_data, volume_nodes
        from VoxelFeatLib.scene.segments import segment_writer

        self.assertIsNotNone((sample_data, segment_writer, volume_nodes))
        self.assertEqual("torch" in sys.modules, before)

    def test_the_pytest_files_of_the_scene_layer(self) -> None:
        if importlib.util.find_spec("pytest") is None:
            self.skipTest("slicer.util.pip_install('pytest') runs the tests of Testing/scene too")
        import pytest

        options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
        options += ["--rootdir", str(TESTING.parent), "-o", f"pythonpath={TESTING.parent}"]
        self.assertEqual(pytest.main([*options, str(TESTING / "scene")]), pytest.ExitCode.OK)
