"""The program `voxelfeat`, also as `python -m VoxelFeatLib`: loads what it needs, then runs it."""

from __future__ import annotations

import sys

from VoxelFeatLib.environment import prepare_for_torch


def main() -> None:
    """Run the program; the worker starts without what only people need."""
    prepare_for_torch()
    try:
        if sys.argv[1:] == ["worker"]:
            from VoxelFeatLib.worker.server.server import main as work  # noqa: PLC0415 - loads fast

            sys.exit(work())
        from VoxelFeatLib.cli.app import main as run  # noqa: PLC0415 - loads typer and rich

        run()
    except KeyboardInterrupt:  # while loading: a command that runs answers it itself
        sys.stderr.write("Cancelled; nothing was left half-written.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
