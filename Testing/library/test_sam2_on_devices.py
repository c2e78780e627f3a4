"""SAM2's encoder on pretended GPUs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from library.pretended import pretending

pytest.importorskip("sam2", reason="SAM2's package is not installed")

from VoxelFeatLib.backbones.encodings import WindowEncoding
from VoxelFeatLib.backbones.sam2.backbone import Sam2Backbone, fast_precision
from VoxelFeatLib.backbones.sam2.model import ARCHITECTURES, Encoder
from VoxelFeatLib.imaging.windows import Window

GRAY = WindowEncoding("gray", (Window(400, 40),), channels=3)


def backbone(device: str, precision: torch.dtype | None = None) -> Sam2Backbone:
    """One of random weights, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder(ARCHITECTURES["tiny"]).requires_grad_(False).eval()
    checkpoint = SimpleNamespace(name="own", architecture="tiny", sha256="-", encoder=encoder)
    return Sam2Backbone(checkpoint, GRAY, 64, torch.device(device), precision)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_maps_are_those_of_the_cpu(device):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = backbone("cpu", torch.float32)(images)
    with pretending(device) as pretence:
        found = backbone(device, torch.float32)
        pretence.waits.clear()
        maps = found(images.to(device))
        assert set(pretence.waits) <= {"from the CPU"}
        for one, other in zip(maps, expected, strict=True):
            assert one.device.type == device
            torch.testing.assert_close(one.cpu(), other, atol=1e-4, rtol=1e-4)


def test_the_precision_is_the_devices():
    with pretending("cuda"):
        assert fast_precision(torch.device("cuda")) is torch.bfloat16
    with pretending("mps"):
        assert fast_precision(torch.device("mps")) is torch.float32
