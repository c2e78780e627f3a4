"""What is tried when a fit does not fit into memory."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.worker.server.fitting import Order


@pytest.mark.parametrize(
    ("preset", "device", "names"),
    [
        ("balanced", "cuda:0", ["balanced", "small-gpu", "small-gpu"]),
        ("balanced", "mps", ["balanced", "small-gpu", "small-gpu"]),
        ("balanced", "cpu", ["balanced"] * 3),
        ("small-gpu", "cuda:0", ["small-gpu"] * 3),
        ("paper", "cuda:0", ["paper"] * 3),  # another network would be another experiment
    ],
)
def test_each_attempt_asks_for_less(a_scan: Volume, preset: str, device: str, names) -> None:
    backbone = SimpleNamespace(device=torch.device(device))  # no machine has all three
    order = Order(a_scan, backbone, preset_named(preset), 0, kept=False)
    tried = [order.smaller(attempt).preset for attempt in range(3)]
    assert [found.name for found in tried] == names
    for large, small in pairwise(tried):
        assert small.pool <= max(1, large.pool // 2)
        assert small.batch <= max(1, large.batch // 2)
        assert small.grid.most_values <= large.grid.most_values // 2
    assert tried[0] == preset_named(preset)
    if names[0] != names[1]:
        assert tried[1] == preset_named(names[1])
