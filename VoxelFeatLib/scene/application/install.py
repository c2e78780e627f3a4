"""Installing what the worker needs into Slicer's Python, as Slicer's community does it.

PyTorch is installed by the extension "PyTorch" alone, the rest by Slicer's own pip functions;
nothing is installed that the user has not agreed to, and numpy and PyTorch stay as they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Literal

import slicer

from VoxelFeatLib.errors import Cancelled, VoxelFeatError
from VoxelFeatLib.scene.application.requirements import (
    CLIENT,
    TORCH,
    WORKER,
    Requirement,
    constraints,
    installed_version,
    is_met,
)

Progress = Callable[[str], None]

# The application setting that names a folder of wheels, for computers without a network.
WHEELS_SETTING = "VoxelFeat/WheelsFolder"

_GET_EXTENSION = "Open View > Extensions Manager, install the extension PyTorch and restart Slicer."
# What pip or the system prints, in lower case, and what to do then.
_HINTS = (
    (
        ("no space left", "errno 28"),
        "The disk is full: free some space and try again.",
    ),
    (
        ("winerror 206", "filename or extension is too long", "file name too long"),
        "The path is too long for Windows: install Slicer in a shorter folder, such as C:\\Slicer.",
    ),
    (
        ("winerror 5", "winerror 32", "access is denied", "permission denied"),
        "Close other Slicer windows, restart Slicer and try again; its folder must be writable.",
    ),
    (
        ("resolutionimpossible", "conflicting dependencies", "cannot install"),
        "Another extension needs other versions: the log names them.",
    ),
    (
        (
            "connection",
            "could not find a version",
            "getaddrinfo",
            "max retries",
            "name resolution",
            "no matching distribution",
            "proxy",
            "ssl",
            "timed out",
        ),
        "The package index was not reached: check the network, or see Offline installation.",
    ),
)


class InstallError(VoxelFeatError):
    """Something could not be installed.

    Attributes:
        log: What the installation printed.
    """

    def __init__(self, message: str, hint: str = "", log: str = "") -> None:
        super().__init__(message, hint)
        self.log = log


@dataclass(frozen=True)
class Step:
    """One thing to install.

    Attributes:
        kind: By the PyTorch extension, by pip, or by the user, when we cannot.
        text: What it is, for the user.
        requirements: The packages it brings.
    """

    kind: Literal["torch", "packages", "by hand"]
    text: str
    requirements: tuple[Requirement, ...]


def plan(*, local: bool = True) -> list[Step]:
    """Return what has to be installed, in that order; empty when nothing is missing.

    Args:
        local: Whether the worker runs on this computer; elsewhere it has its own Python.
    """
    steps = []
    if local and not is_met(TORCH):
        steps.append(_torch_step())
    missing = tuple(each for each in (WORKER if local else CLIENT) if not is_met(each))
    if missing:
        names = ", ".join(_with_version(each) for each in missing)
        steps.append(Step("packages", f"{names} (pip)", missing))
    return steps


def missing_sentence(*, local: bool = True) -> str:
    """Say in one sentence what is missing; empty when nothing is."""
    names = [each.name for step in plan(local=local) for each in step.requirements]
    if not names:
        return ""
    return f"Install what VoxelFeat needs first: {', '.join(names)}."


def install(steps: Sequence[Step], progress: Progress) -> None:
    """Ask, then install; Slicer stays responsive, so disable what must not be used meanwhile.

    Args:
        steps: From ``plan``.
        progress: Called with each line that tells how far it is.

    Raises:
        Cancelled: The user declined.
        InstallError: With the log; what was installed before stays.
    """
    for step in steps:
        if step.kind == "by hand":
            raise InstallError(step.text)
    question = "VoxelFeat needs these packages in Slicer's Python:\n\n{}\n\nInstall them now?"
    listed = "\n".join(f"- {step.text}" for step in steps)
    if not steps or not slicer.util.confirmOkCancelDisplay(question.format(listed), "VoxelFeat"):
        raise Cancelled
    for step in steps:
        progress(f"Installing {step.text} …")
        if step.kind == "torch":
            _install_torch()
        else:
            _install_packages(step.requirements, progress)
        left = [str(each) for each in step.requirements if not is_met(each)]
        if left:
            raise InstallError(
                f"{', '.join(left)} cannot be found after the installation.",
                "Restart Slicer and look again.",
            )
    progress("Everything is installed.")


def wheels_folder() -> str:
    """Return the folder of wheels to install from, without a network; "" for the index."""
    return str(slicer.util.settingsValue(WHEELS_SETTING, "") or "").strip()


def _torch_step() -> Step:
    version = installed_version(TORCH)
    if version:
        text = (
            f"PyTorch {version} is installed and VoxelFeat needs {TORCH.least} or newer: uninstall "
            "it in the module PyTorch Utils, restart Slicer and install it again."
        )
        return Step("by hand", text, (TORCH,))
    if importlib.util.find_spec("PyTorchUtils") is None:
        return Step("by hand", f"PyTorch is missing. {_GET_EXTENSION}", (TORCH,))
    return Step("torch", "PyTorch (by the PyTorch extension; up to 3 GB with CUDA)", (TORCH,))


def _with_version(requirement: Requirement) -> str:
    version = installed_version(requirement)
    return f"{requirement} (now {version})" if version else str(requirement)


def _install_torch() -> None:
    import PyTorchUtils  # noqa: PLC0415 - the module of another extension

    try:
        # The user has agreed already. It imports torch into Slicer's process to report the
        # version; nothing of ours does.
        PyTorchUtils.PyTorchUtilsLogic().installTorch(
            askConfirmation=False, torchVersionRequirement=f">={TORCH.least}"
        )
    except Exception as error:  # whatever torch or the other extension raises
        if is_met(TORCH):
            # Installed, but this process cannot load it; the worker is another one.
            logging.getLogger(__name__).warning(
                "PyTorch is installed, but Slicer itself cannot load it: %s", error
            )
            return
        raise InstallError(
            "The PyTorch extension could not install PyTorch.",
            _hint(str(error)) or "Try it in the module PyTorch Utils, which shows the reason.",
            str(error),
        ) from error


def _install_packages(requirements: Sequence[Requirement], progress: Progress) -> None:
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        progress(line)

    wheels = wheels_folder()
    if wheels and not Path(wheels).is_dir():
        raise InstallError(
            f"There is no folder of wheels at {wheels}.",
            f"Correct the setting {WHEELS_SETTING}, or clear it to use the network.",
        )
    with tempfile.TemporaryDirectory(prefix="voxelfeat-") as folder:
        kept = Path(folder, "constraints.txt")
        kept.write_text("\n".join(constraints()) + "\n", encoding="utf-8")
        arguments = [*(str(each) for each in requirements), "--constraint", str(kept)]
        arguments += ["--disable-pip-version-check", "--prefer-binary"]
        if wheels:
            arguments += ["--no-index", "--find-links", wheels]
        try:
            code = _pip_install(arguments, note)
        except RuntimeError as error:  # it has no Python to run, or is installing something else
            raise InstallError("Slicer cannot run pip now.", str(error)) from error
    if code != 0:
        log = "\n".join(lines)
        names = ", ".join(each.name for each in requirements)
        raise InstallError(
            f"pip could not install {names}.",
            _hint(log) or "The log says why; without one, see Slicer's Python console.",
            log,
        )


def _pip_install(arguments: list[str], note: Progress) -> int:
    """Run pip, Slicer's way; return its exit code."""
    packaging = _slicer_packaging()
    # In testing mode Slicer's function blocks, and calls nothing back.
    if packaging is None or slicer.app.testingEnabled():
        try:
            slicer.util.pip_install(arguments)
        except CalledProcessError as error:
            return int(error.returncode)
        return 0
    codes: list[int] = []
    packaging.pip_install(
        arguments,
        blocking=False,
        show_progress=False,
        requester="VoxelFeat",
        logCallback=note,
        completedCallback=codes.append,
    )
    while not codes:
        slicer.app.processEvents()
        time.sleep(0.01)
    return int(codes[0])


def _slicer_packaging() -> Any:
    """Return ``slicer.packaging``, which Slicer has from 5.12 on; else None."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


def _hint(log: str) -> str:
    text = log.lower()
    return next((hint for words, hint in _HINTS if any(word in text for word in words)), "")
