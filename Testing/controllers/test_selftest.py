"""The module's self-test, with a real scene and worker, without Slicer's application."""

from __future__ import annotations

import pytest

from VoxelFeatLib.scene.selftest import SelfTest


@pytest.mark.slow
def test_the_self_test_passes(a_scene, a_link, a_loop, tmp_path):
    said: list[str] = []
    result = SelfTest(a_scene, a_link, a_loop, a_loop.turn, said.append).run(tmp_path)
    assert result["dice"] >= 0.85
    assert result["refined"] > result["coarse"]
    assert said[-1] == "Saving and opening the scene"
