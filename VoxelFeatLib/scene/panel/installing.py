"""Installing from the panel: what the user is asked and told."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from VoxelFeatLib.errors import Cancelled
from VoxelFeatLib.scene.application import install
from VoxelFeatLib.scene.application.pip import InstallError


def install_missing(tell: Callable[[str], None], *, local: bool, sam2: bool = False) -> bool:
    """Install what is missing after asking; an error is shown.

    Args:
        tell: Called with each line that tells how far it is.
        local: Whether the worker runs on this computer.
        sam2: Whether SAM 2.1's encoders are wanted.

    Returns:
        Whether everything is there now.
    """
    steps = install.plan(local=local, sam2=sam2)
    if not steps:
        return True
    try:
        install.install(steps, tell)
    except Cancelled:
        return False
    except InstallError as error:
        slicer.util.errorDisplay(str(error), detailedText=error.log)
        return False
    return True
