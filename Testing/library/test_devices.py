"""Which devices there are, which is taken, and with which preset."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
import torch

from VoxelFeatLib.devices.choice import best_device, device_named, devices
from VoxelFeatLib.devices.memory import free_memory, release_memory, total_memory
from VoxelFeatLib.devices.transfer import sent
from VoxelFeatLib.errors import InputError, NotEnoughMemoryError, is_out_of_memory
from VoxelFeatLib.fitting.default_preset import default_preset

GB = 10**9


@pytest.fixture
def a_machine(monkeypatch):
    """Make a machine with GPUs: (free, total) bytes of NVIDIA ones, and whether one of Apple's."""

    def make(*nvidia, apple=False):
        cuda, mps = torch.cuda, torch.mps
        monkeypatch.setattr(cuda, "device_count", lambda: len(nvidia))
        monkeypatch.setattr(cuda, "get_device_name", lambda _: "Some GPU")
        monkeypatch.setattr(cuda, "memory_reserved", lambda _: 3 * GB)
        monkeypatch.setattr(cuda, "memory_allocated", lambda _: 2 * GB)

        def info(device):
            found = nvidia[device.index or 0]
            if found is None:
                raise RuntimeError("CUDA-capable device(s) is/are busy or unavailable")
            return found

        monkeypatch.setattr(cuda, "mem_get_info", info)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
        monkeypatch.setattr(mps, "recommended_max_memory", lambda: 12 * GB)
        monkeypatch.setattr(mps, "current_allocated_memory", lambda: 2 * GB)
        monkeypatch.setattr(mps, "driver_allocated_memory", lambda: 3 * GB)

    return make


def names():
    return [device.name for device in devices()]


def test_without_a_gpu_there_is_the_processor(a_machine):
    a_machine()
    (processor,) = devices()
    assert processor.name == "cpu"
    assert processor.label == f"Processor ({os.cpu_count()} cores)"
    assert 0 < processor.free_bytes < processor.total_bytes == psutil.virtual_memory().total
    assert best_device() == device_named("auto") == device_named("") == torch.device("cpu")


def test_the_gpu_with_most_free_memory_is_taken(a_machine):
    a_machine((5 * GB, 24 * GB), None, (9 * GB, 12 * GB))
    assert names() == ["cuda:0", "cuda:2", "cpu"]  # the one that others keep is left out
    # What torch holds back for reuse is free to us.
    assert [device.free_bytes for device in devices()[:2]] == [6 * GB, 10 * GB]
    assert devices()[0].label == "Some GPU (24 GB)"
    assert best_device() == torch.device("cuda:2")


def test_an_apple_gpu_has_what_the_system_can_spare(a_machine, monkeypatch):
    a_machine(apple=True)
    assert names() == ["mps", "cpu"]
    assert best_device() == torch.device("mps")
    assert devices()[0].label == "Apple GPU (12 GB)"
    for available, free in ((64 * GB, 10 * GB), (4 * GB, 5 * GB)):
        memory = type("Memory", (), {"available": available, "total": 16 * GB})
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        assert free_memory(torch.device("mps")) == free
    assert total_memory(torch.device("mps")) == 12 * GB
    assert total_memory(torch.device("cpu")) == 16 * GB


def test_presets_suit_devices(a_machine):
    a_machine((9 * GB, 24 * GB), (8 * GB, 24 * GB), apple=True)
    assert default_preset(torch.device("cuda:0")) == "balanced"  # 10 GB with what torch holds
    assert default_preset(torch.device("cuda:1")) == "small-gpu"
    assert default_preset(torch.device("mps")) == "small-gpu"
    assert default_preset(torch.device("cpu")) == "fast"


@pytest.mark.parametrize("name", ["meta", "nonsense", "cuda:7"])
def test_what_cannot_be_used_is_refused(name):
    with pytest.raises(InputError, match=f"“{name}” cannot be used on this machine"):
        device_named(name)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (NotEnoughMemoryError("This needs 3 GB."), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 7.6 GiB)"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("The size of tensor a must match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_recognised_on_every_device(error, expected):
    assert is_out_of_memory(error) is expected


def test_memory_is_released_where_there_is_a_gpu(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append("cuda"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append("mps"))
    release_memory()
    assert emptied == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    release_memory()
    assert emptied == ["cuda", "mps"]


def test_nothing_is_copied_to_the_cpu_itself():
    values = torch.arange(3)
    assert sent(values, torch.device("cpu")) is values


@pytest.mark.parametrize("program", ["VoxelFeatLib.__main__", "VoxelFeatLib.cli.app"])
@pytest.mark.parametrize("chosen", [None, "0"])
def test_apples_gaps_are_filled_by_the_processor(program, chosen):
    """Both ways into the program say so before torch loads, but not against a user's word."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTORCH_ENABLE_MPS_FALLBACK"}
    if chosen is not None:
        environment["PYTORCH_ENABLE_MPS_FALLBACK"] = chosen
    code = (
        f"import os, sys; sys.argv = ['voxelfeat', '--version']; from {program} import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(os.environ['PYTORCH_ENABLE_MPS_FALLBACK'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-2:] == [chosen or "1", "False"]
