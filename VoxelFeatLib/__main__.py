"""`python -m VoxelFeatLib` is the command line `voxelfeat`."""

from __future__ import annotations

from VoxelFeatLib.cli.app import main

if __name__ == "__main__":
    main()
