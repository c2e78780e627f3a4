"""`python -m VoxelFeatLib` is the command line `voxelfeat`."""

from __future__ import annotations

import sys

from VoxelFeatLib.environment import prepare_for_torch


def main() -> None:
    """Run the program; the worker starts without what only people need."""
    prepare_for_torch()
    if sys.argv[1:] == ["worker"]:
        from VoxelFeatLib.worker.server.server import main as work  # noqa: PLC0415 - loads fast

        sys.exit(work())
    from VoxelFeatLib.cli.app import main as run  # noqa: PLC0415 - loads typer and rich

    run()


if __name__ == "__main__":
    main()
