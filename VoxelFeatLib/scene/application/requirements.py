"""What the worker needs of Python, in one table; nothing of it is imported to find out."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass

# Slicer brings them; what we install must not exchange them, nor PyTorch's own companions.
KEPT = ("SimpleITK", "numpy", "pydicom", "scipy", "torch", "torchaudio", "torchvision")


@dataclass(frozen=True)
class Requirement:
    """A package that pip knows.

    Attributes:
        name: Of the distribution.
        module: Its import name.
        least: The oldest version that will do.
    """

    name: str
    module: str
    least: str

    def __str__(self) -> str:
        return f"{self.name}>={self.least}"


# In older ones a checkpoint could run code in spite of `weights_only` (CVE-2025-32434).
TORCH = Requirement("torch", "torch", "2.6")
# Beside numpy and scipy, which Slicer has. The client, in Slicer's process, needs only the first.
CLIENT = (Requirement("msgpack", "msgpack", "1.1"),)
WORKER = (
    *CLIENT,
    Requirement("psutil", "psutil", "6"),
    Requirement("safetensors", "safetensors", "0.4.5"),
    Requirement("scikit-image", "skimage", "0.25"),
    Requirement("threadpoolctl", "threadpoolctl", "3.5"),
)
# For the encoders of SAM 2.1, where the user wants them: sam2, what it needs to be built and to be
# imported, and where it comes from. torchvision, which it asks for too, the encoders do not use.
SAM2 = Requirement("sam2", "sam2", "1.1")
SAM2_NEEDS = (
    Requirement("hydra-core", "hydra", "1.3.2"),
    Requirement("iopath", "iopath", "0.1.10"),
    Requirement("setuptools", "setuptools", "70.1"),
    Requirement("tqdm", "tqdm", "4.66.1"),
)
SAM2_SOURCE = (
    "sam2==1.1.0 --hash=sha256:7e0ea252d43c10d853e3acfce0b5770ac683c30481bd6de311300e9d44f45b74"
)


def installed_version(requirement: Requirement) -> str:
    """Return the version that is there, "?" where it does not tell, "" where there is none."""
    importlib.invalidate_caches()
    if importlib.util.find_spec(requirement.module) is None:
        return ""
    try:
        return importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def is_met(requirement: Requirement) -> bool:
    """Whether a package is there, new enough; one that does not tell its version counts."""
    version = installed_version(requirement)
    return version == "?" or (version != "" and _release(version) >= _release(requirement.least))


def constraints() -> list[str]:
    """Return a line for pip's constraints file for each package that must stay as it is."""
    lines = []
    for name in KEPT:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        # pip refuses a whole file for one line that is no version of its own kind.
        if re.fullmatch(r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)*(\+[a-zA-Z0-9.]+)?", version):
            lines.append(f"{name}=={version}")
    return lines


def _release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version; what follows them makes no difference here."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(number) for number in match.group().split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
