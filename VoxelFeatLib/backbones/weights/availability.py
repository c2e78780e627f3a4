"""What is still missing for a backbone, asked without importing it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from VoxelFeatLib.backbones.weights.catalogue import CATALOGUE, find_weights, is_checkpoint_path
from VoxelFeatLib.errors import WeightsError

# What the classes of `sam2` that are used import, and the packages that bring it.
_IMPORTS = {
    "sam2": "sam2",
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "iopath": "iopath",
    "tqdm": "tqdm",
    "PIL": "pillow",
}


def missing_packages() -> tuple[str, ...]:
    """Return which packages the SAM2.1 backbones lack in this Python, as pip names them."""
    return tuple(package for name, package in _IMPORTS.items() if find_spec(name) is None)


def check_packages(what: str) -> None:
    """Check that the packages of the SAM2.1 backbones are there.

    Raises:
        WeightsError: They are not; it says that `what` cannot be used.
    """
    if missing := missing_packages():
        raise _unusable(what, _not_installed(missing))


def check_available(name: str) -> None:
    """Check that a backbone can be used without installing anything but weights.

    Raises:
        WeightsError: It cannot.
    """
    available, reason = availability(name)
    if not available:
        raise _unusable(f"The backbone “{name}”", reason)


def availability(name: str) -> tuple[bool, str]:
    """Tell whether a backbone can be used, and what is to be said of it.

    What is missing and cannot be used without; or, of one that can be used, what its first use
    brings along; else nothing.
    """
    if name not in CATALOGUE and not is_checkpoint_path(name):
        return True, ""
    if missing := missing_packages():
        return False, _not_installed(missing)
    if name not in CATALOGUE:
        return True, ""
    try:
        found = find_weights(CATALOGUE[name])
    except WeightsError as error:
        return False, error.message
    if found is None:
        return True, f"{CATALOGUE[name].megabytes} MB are downloaded at the first use"
    return True, ""


def _not_installed(missing: Sequence[str]) -> str:
    return f"not installed: {', '.join(missing)}"


def _unusable(what: str, reason: str) -> WeightsError:
    return WeightsError(
        f"{what} cannot be used here: {reason.removesuffix('.')}.",
        "See “Backbones” in docs/command-line.md.",
    )
