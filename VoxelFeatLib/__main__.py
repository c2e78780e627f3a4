"""`python -m VoxelFeatLib` is the command line `voxelfeat`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the program; the worker starts without what only people need."""
    # Before torch loads: its threads wait asleep. Where others use the cores too, threads that wait
    # spinning hold up the very work they wait for, and a fit takes many times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if sys.argv[1:] == ["worker"]:
        from VoxelFeatLib.worker.server.server import main as work  # noqa: PLC0415 - loads fast

        sys.exit(work())
    from VoxelFeatLib.cli.app import main as run  # noqa: PLC0415 - loads typer and rich

    run()


if __name__ == "__main__":
    main()
