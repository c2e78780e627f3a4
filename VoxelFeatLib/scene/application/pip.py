"""pip in Slicer's Python, by Slicer's own functions; and what its errors mean for a user."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import slicer

from VoxelFeatLib.errors import VoxelFeatError

Progress = Callable[[str], None]

# The application setting that names a folder of wheels, for computers without a network.
WHEELS_SETTING = "VoxelFeat/WheelsFolder"

# What pip or the system prints, in lower case, and what to do then.
_HINTS = (
    (
        ("do not match the hashes",),
        "What came is not the package that is expected: remove it from the folder of wheels.",
    ),
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


def run_pip(what: str, arguments: list[str], progress: Progress, **variables: str) -> None:
    """Run `pip install`, from the folder of wheels where there is one; Slicer stays responsive.

    Args:
        what: What is installed, for the error.
        arguments: For pip.
        progress: Called with each line that pip prints, where Slicer can tell.
        variables: Of pip's environment, beside Slicer's own.

    Raises:
        InstallError: With the log.
    """
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        progress(line)

    wheels = wheels_folder()
    arguments = [*arguments, "--disable-pip-version-check"]
    if wheels:
        arguments += ["--no-index", "--find-links", str(wheels)]
    try:
        with _environment(variables):
            code = _pip_install(arguments, note)
    except RuntimeError as error:  # it has no Python to run, or is installing something else
        raise InstallError("Slicer cannot run pip now.", str(error)) from error
    if code != 0:
        log = "\n".join(lines)
        raise InstallError(
            f"pip could not install {what}.",
            hint_for(log) or "The log says why; without one, see Slicer's Python console.",
            log,
        )


def wheels_folder() -> Path | None:
    """Return the folder of wheels to install from, without a network; None for the index.

    Raises:
        InstallError: It is not there.
    """
    folder = str(slicer.util.settingsValue(WHEELS_SETTING, "") or "").strip()
    if folder and not Path(folder).is_dir():
        raise InstallError(
            f"There is no folder of wheels at {folder}.",
            f"Correct the setting {WHEELS_SETTING}, or clear it to use the network.",
        )
    return Path(folder) if folder else None


def hint_for(log: str) -> str:
    """Return what to do about what pip or the system printed; "" where we do not know."""
    text = log.lower()
    return next((hint for words, hint in _HINTS if any(word in text for word in words)), "")


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for the block: Slicer's functions hand their own environment to pip."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
