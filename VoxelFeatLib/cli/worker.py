"""`voxelfeat worker`: the background process of the Slicer extension."""

from __future__ import annotations

import sys

import typer

from VoxelFeatLib.errors import InputError


def worker() -> None:
    """Answer a program's requests over stdin and stdout; nothing for people to type.

    The Slicer extension starts it by itself. For a GPU elsewhere, give the extension a command
    line that reaches it there:

    - `ssh gpu-box voxelfeat worker`
    - `ssh login srun --gres=gpu:1 voxelfeat worker`
    """
    if sys.stdin.isatty():
        raise InputError("The worker speaks to programs; `voxelfeat --help` lists what is for you.")

    from VoxelFeatLib.worker.server.server import main

    raise typer.Exit(main())
