"""Installing what the worker needs into Slicer's Python, as Slicer's community does it.

PyTorch is installed by the extension "PyTorch" alone, the rest by Slicer's own pip functions;
nothing is installed that the user has not agreed to, and numpy and PyTorch stay as they are.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import slicer

from VoxelFeatLib.errors import Cancelled
from VoxelFeatLib.scene.application.child import run_python
from VoxelFeatLib.scene.application.pip import (
    InstallError,
    Progress,
    hint_for,
    run_pip,
    wheels_folder,
)
from VoxelFeatLib.scene.application.requirements import (
    CLIENT,
    SAM2,
    SAM2_NEEDS,
    SAM2_SOURCE,
    TORCH,
    WORKER,
    Requirement,
    constraints,
    installed_version,
    is_met,
)

_GET_EXTENSION = "Open View > Extensions Manager, install the extension PyTorch and restart Slicer."
# The classes of sam2 that the worker uses, and what they import.
_LOAD_ENCODERS = "from sam2.modeling.backbones import hieradet, image_encoder"


@dataclass(frozen=True)
class Step:
    """One thing to install.

    Attributes:
        kind: By the PyTorch extension, by pip, by pip from sam2's source, or by the user, when we
            cannot.
        text: What it is, for the user.
        requirements: The packages it brings.
    """

    kind: Literal["torch", "packages", "sam2", "by hand"]
    text: str
    requirements: tuple[Requirement, ...]


def plan(*, local: bool = True, sam2: bool = False) -> list[Step]:
    """Return what has to be installed, in that order; empty when nothing is missing.

    Args:
        local: Whether the worker runs on this computer; elsewhere it has its own Python.
        sam2: Whether the worker should have the encoders of SAM 2.1.
    """
    steps = []
    if local and not is_met(TORCH):
        steps.append(_torch_step())
    wanted = (*WORKER, *(SAM2_NEEDS if sam2 else ())) if local else CLIENT
    missing = tuple(each for each in wanted if not is_met(each))
    if missing:
        names = ", ".join(_with_version(each) for each in missing)
        steps.append(Step("packages", f"{names} (pip)", missing))
    if local and sam2 and not all(is_met(each) for each in (SAM2, *SAM2_NEEDS)):
        source = SAM2_SOURCE.partition(" ")[0]
        steps.append(Step("sam2", f"{source} (pip; the encoders of SAM 2.1)", (SAM2,)))
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
        match step.kind:
            case "torch":
                _install_torch()
            case "sam2":
                _install_sam2(progress)
            case _:
                _install_packages(step.requirements, progress)
        left = [str(each) for each in step.requirements if not is_met(each)]
        if left:
            raise InstallError(
                f"{', '.join(left)} cannot be found after the installation.",
                "Restart Slicer and look again.",
            )
        if step.kind == "sam2":
            _try_encoders(progress)
    progress("Everything is installed.")


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
            hint_for(str(error)) or "Try it in the module PyTorch Utils, which shows the reason.",
            str(error),
        ) from error


def _install_packages(requirements: Sequence[Requirement], progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix="voxelfeat-") as folder:
        kept = Path(folder, "constraints.txt")
        kept.write_text("\n".join(constraints()) + "\n", encoding="utf-8")
        run_pip(
            ", ".join(each.name for each in requirements),
            [*map(str, requirements), "--prefer-binary", "--constraint", str(kept)],
            progress,
        )


def _install_sam2(progress: Progress) -> None:
    """Install sam2 as it is published, checked by its hash.

    pip would build it beside a second PyTorch, several gigabytes, with a CUDA compiler, and bring
    the torchvision that its makers use but its encoders do not.
    """
    wheels = wheels_folder()
    source = SAM2_SOURCE
    if wheels and any(wheels.glob("sam2-*.whl")):
        source = SAM2_SOURCE.partition(" ")[0]  # built by whoever filled the folder
    with tempfile.TemporaryDirectory(prefix="voxelfeat-") as folder:
        listed = Path(folder, "requirements.txt")
        listed.write_text(f"{source}\n", encoding="utf-8")
        arguments = ["--requirement", str(listed), "--no-deps", "--no-build-isolation"]
        run_pip(SAM2.name, arguments, progress, SAM2_BUILD_CUDA="0")


def _try_encoders(progress: Progress) -> None:
    """Load the encoders in a process of their own: what they import may not suit Slicer's."""
    progress("Trying the encoders …")
    try:
        code, printed = run_python(_LOAD_ENCODERS)
    except OSError as error:
        raise InstallError("Slicer's Python could not be started.", str(error)) from error
    if code != 0:
        lines = printed.strip().splitlines()
        raise InstallError(
            "SAM 2 is installed, but its encoders cannot be loaded.",
            lines[-1] if lines else f"Python ended with code {code}.",
            printed,
        )
