"""Field files under real faults: a write that fails, a process that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from VoxelFeatLib.field.files import load_field


def run_child(code, *arguments, **options):
    """A Python process that has a volume and a function for big fields."""
    source = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        import numpy as np, torch
        from VoxelFeatLib.backbones.protocol import FeatureLevel
        from VoxelFeatLib.errors import InputError
        from VoxelFeatLib.field.feature_field import FeatureField
        from VoxelFeatLib.field.files import load_field, save_field
        from VoxelFeatLib.field.grid import GridNetwork
        from VoxelFeatLib.imaging.geometry import Geometry
        from VoxelFeatLib.imaging.volume import Volume

        path = Path(sys.argv[1])
        geometry = Geometry((40, 50, 60), np.eye(4))
        volume = Volume(np.zeros((40, 50, 60), np.int16), geometry, "CT")

        def field_of(value):
            network = GridNetwork(geometry, (FeatureLevel("a", 4, 8),), (1.0,), (8,))
            torch.nn.init.constant_(network.grids[0].values, value)
            return FeatureField(network, "filters", "-")
        """
    )
    return subprocess.Popen(
        [sys.executable, "-c", source + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        **options,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a file's size are POSIX")
def test_a_real_write_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.voxelfeat"

    import resource  # noqa: PLC0415 - POSIX only

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    child = run_child(
        """
        path.write_bytes(b"the old file")
        try:
            save_field(path, field_of(1.0), volume, {})
        except InputError as error:
            print(error)
        """,
        path,
        preexec_fn=limit,
    )
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert str(path) in output
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_a_write_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.voxelfeat"
    child = run_child(
        """
        fields = [field_of(1.0), field_of(2.0)]
        save_field(path, fields[0], volume, {"write": 0})
        print("ready", flush=True)
        for write in range(1, 10**9):
            save_field(path, fields[write % 2], volume, {"write": write})
        """,
        path,
    )
    assert child.stdout.readline().strip() == "ready"
    # In the middle of a write: its temporary file is there.
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".*")) and time.monotonic() < deadline:
        time.sleep(1e-4)
    child.send_signal(signal.SIGKILL)
    child.communicate()

    field, header = load_field(path)
    assert torch.equal(
        field.network.grids[0].values,
        torch.full_like(field.network.grids[0].values, 1.0 + header.record["write"] % 2),
    )
