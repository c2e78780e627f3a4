"""What is found missing, what the user is asked, what pip is told, and what an error says."""

from __future__ import annotations

import os
import sys
import tomllib
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import VoxelFeatLib
from VoxelFeatLib.errors import Cancelled
from VoxelFeatLib.scene.application import requirements
from VoxelFeatLib.scene.application.requirements import (
    CLIENT,
    SAM2,
    SAM2_NEEDS,
    SAM2_SOURCE,
    TORCH,
    WORKER,
    Requirement,
)

LIBRARY = Path(VoxelFeatLib.__file__).parent


@pytest.fixture
def a_python(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions by distribution name, as `requirements` sees them; at first all that is needed."""
    versions = {each.name: each.least for each in (TORCH, *WORKER, SAM2, *SAM2_NEEDS)}
    versions |= {"numpy": "2.4.6", "scipy": "1.17.1", "SimpleITK": "2.5.0-gb9f1"}
    modules = {each.module: each.name for each in (TORCH, *WORKER, SAM2, *SAM2_NEEDS)}

    def version(name: str) -> str:
        if versions.get(name, "?") == "?":
            raise requirements.importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    metadata = types.SimpleNamespace(
        version=version,
        PackageNotFoundError=requirements.importlib.metadata.PackageNotFoundError,
    )
    util = types.SimpleNamespace(
        find_spec=lambda name: object() if modules.get(name, name) in versions else None
    )
    importlib = types.SimpleNamespace(metadata=metadata, util=util, invalidate_caches=lambda: None)
    monkeypatch.setattr(requirements, "importlib", importlib)
    return versions


@pytest.fixture
def a_pytorch_extension(monkeypatch: pytest.MonkeyPatch, a_python) -> types.ModuleType:
    """PyTorchUtils, the extension's module; `outcome` is called when it installs."""
    module = types.ModuleType("PyTorchUtils")
    module.__spec__ = ModuleSpec("PyTorchUtils", None)
    module.calls = []
    module.outcome = lambda: a_python.update(torch="2.9.1+cu128")

    class Logic:
        def installTorch(  # noqa: N802
            self,
            askConfirmation: bool = False,  # noqa: FBT002 - as the extension has it
            forceComputationBackend=None,
            torchVersionRequirement=None,
        ):
            assert forceComputationBackend is None
            module.calls.append((askConfirmation, torchVersionRequirement))
            module.outcome()
            return object()

    module.PyTorchUtilsLogic = Logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return module


@pytest.fixture
def an_installer(a_slicer, a_python, a_fresh_module, monkeypatch):
    monkeypatch.delitem(sys.modules, "PyTorchUtils", raising=False)
    a_fresh_module("child")
    a_fresh_module("pip")
    return a_fresh_module("install")


@pytest.fixture
def a_python_to_try(monkeypatch, an_installer) -> list[str]:
    """This Python in place of Slicer's; returns the lines that it is to run instead, if any."""
    lines: list[str] = []
    child = sys.modules["VoxelFeatLib.scene.application.child"]
    run = child.run_python
    monkeypatch.setattr(child, "python_slicer", lambda: sys.executable)
    monkeypatch.setattr(an_installer, "run_python", lambda code: run("\n".join(lines) or code))
    return lines


def without_sam2(versions: dict[str, str]) -> None:
    for each in (SAM2, *SAM2_NEEDS):
        del versions[each.name]


def with_sam2(versions: dict[str, str]) -> None:
    versions.update({each.name: each.least for each in (SAM2, *SAM2_NEEDS)})


def test_nothing_is_missing(an_installer) -> None:
    assert an_installer.plan() == []
    assert an_installer.missing_sentence() == ""


@pytest.mark.parametrize(
    ("there", "least", "met"),
    [
        ("1.1", "1.1", True),
        ("1.1.0", "1.1", True),
        ("1.0.9", "1.1", False),
        ("1.10", "1.9", True),
        ("2.5.1+cu121", "2.5", True),
        ("2.4.1+cu121", "2.5", False),
        ("6", "6.0.0", True),
        ("0.5rc1", "0.4.5", True),
        ("?", "1", True),
    ],
)
def test_versions_are_compared_by_number(a_python, there, least, met) -> None:
    a_python["msgpack"] = there
    assert requirements.is_met(Requirement("msgpack", "msgpack", least)) is met


def test_what_is_missing_or_old_is_planned(an_installer, a_python, a_pytorch_extension) -> None:
    del a_python["torch"], a_python["safetensors"]
    a_python["msgpack"] = "0.6"
    steps = an_installer.plan()
    assert [step.kind for step in steps] == ["torch", "packages"]
    assert steps[1].text == "msgpack>=1.1 (now 0.6), safetensors>=0.4.5 (pip)"
    assert [str(each) for each in steps[1].requirements] == ["msgpack>=1.1", "safetensors>=0.4.5"]
    sentence = "Install what VoxelFeat needs first: torch, msgpack, safetensors."
    assert an_installer.missing_sentence() == sentence


def test_a_remote_worker_needs_only_the_clients_package_here(an_installer, a_python) -> None:
    del a_python["torch"], a_python["safetensors"]
    assert an_installer.plan(local=False) == []
    del a_python["msgpack"]
    (step,) = an_installer.plan(local=False)
    assert step.requirements == CLIENT


def test_without_the_pytorch_extension_the_user_is_told_how_to_get_it(
    an_installer, a_slicer, a_python
) -> None:
    del a_python["torch"], a_python["psutil"]
    steps = an_installer.plan()
    assert [step.kind for step in steps] == ["by hand", "packages"]
    with pytest.raises(an_installer.InstallError, match=r"Extensions Manager.*PyTorch.*restart"):
        an_installer.install(steps, print)
    assert a_slicer.asked == a_slicer.pip_calls == []


def test_an_old_torch_is_left_to_the_user(an_installer, a_python, a_pytorch_extension) -> None:
    a_python["torch"] = "2.1.0+cu118"
    (step,) = an_installer.plan()
    assert step.kind == "by hand"
    assert "2.1.0+cu118" in step.text
    assert "uninstall" in step.text


def test_nothing_is_installed_when_the_user_declines(
    an_installer, a_slicer, a_python, a_pytorch_extension
) -> None:
    a_slicer.agrees = False
    del a_python["torch"], a_python["psutil"]
    with pytest.raises(Cancelled):
        an_installer.install(an_installer.plan(), print)
    assert "PyTorch" in a_slicer.asked[0]
    assert "psutil>=6" in a_slicer.asked[0]
    assert a_pytorch_extension.calls == a_slicer.pip_calls == []


def test_torch_comes_from_the_pytorch_extension_and_never_from_pip(
    an_installer, a_slicer, a_python, a_pytorch_extension
) -> None:
    del a_python["torch"], a_python["psutil"]
    a_slicer.after_pip = lambda: a_python.update(psutil="7.0")
    told: list[str] = []
    an_installer.install(an_installer.plan(), told.append)
    assert len(a_slicer.asked) == 1
    assert a_pytorch_extension.calls == [(False, ">=2.6")]
    (arguments,) = a_slicer.pip_calls
    assert not any(argument.startswith("torch") for argument in arguments)
    assert arguments[0] == "psutil>=6"
    assert told[-1] == "Everything is installed."


def test_numpy_and_torch_stay_as_they_are(an_installer, a_slicer, a_python) -> None:
    a_python["torch"] = "2.9.1+cu128"
    del a_python["psutil"]
    a_slicer.after_pip = lambda: a_python.update(psutil="7.0")
    an_installer.install(an_installer.plan(), print)
    # Slicer's SimpleITK has a version that pip would refuse the whole file for.
    assert a_slicer.constraints == ["numpy==2.4.6", "scipy==1.17.1", "torch==2.9.1+cu128"]
    assert "--no-index" not in a_slicer.pip_calls[0]


def test_newer_slicers_tell_how_far_pip_is(an_installer, a_slicer, a_python, monkeypatch) -> None:
    a_slicer.with_packaging(monkeypatch)
    del a_python["msgpack"]
    a_slicer.after_pip = lambda: a_python.update(msgpack="1.2.4")
    told: list[str] = []
    an_installer.install(an_installer.plan(), told.append)
    assert told == [
        "Installing msgpack>=1.1 (pip) …",
        "Collecting msgpack",
        "Everything is installed.",
    ]


def test_testing_mode_waits_for_no_callback(an_installer, a_slicer, a_python, monkeypatch) -> None:
    a_slicer.with_packaging(monkeypatch)
    a_slicer.testing = True
    del a_python["msgpack"]
    a_slicer.after_pip = lambda: a_python.update(msgpack="1.2.4")
    an_installer.install(an_installer.plan(), print)
    assert len(a_slicer.pip_calls) == 1


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("ERROR: Could not find a version that satisfies the requirement msgpack", "Offline"),
        ("[WinError 5] Access is denied: 'psutil.pyd'", "restart Slicer"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: ResolutionImpossible: for help visit", "log names them"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "not the package"),
        ("Something quite different", "log says why"),
    ],
)
def test_an_error_is_a_sentence_a_hint_and_the_log(
    an_installer, a_slicer, a_python, monkeypatch, line, hint
) -> None:
    a_slicer.with_packaging(monkeypatch)
    a_slicer.pip_output, a_slicer.pip_code = ["Collecting msgpack", line], 1
    del a_python["msgpack"]
    with pytest.raises(an_installer.InstallError) as caught:
        an_installer.install(an_installer.plan(), print)
    assert caught.value.message == "pip could not install msgpack."
    assert hint in caught.value.hint
    assert caught.value.log == f"Collecting msgpack\n{line}"


def test_an_error_of_older_slicers_has_no_log(an_installer, a_slicer, a_python) -> None:
    a_slicer.pip_code = 1
    del a_python["msgpack"]
    with pytest.raises(an_installer.InstallError, match="Python console"):
        an_installer.install(an_installer.plan(), print)


def test_what_is_not_there_afterwards_is_told(an_installer, a_python) -> None:
    del a_python["msgpack"]
    with pytest.raises(an_installer.InstallError, match=r"msgpack>=1.1 cannot be found.*Restart"):
        an_installer.install(an_installer.plan(), print)


def test_a_torch_that_slicer_cannot_load_is_good_enough_for_the_worker(
    an_installer, a_python, a_pytorch_extension
) -> None:
    def outcome() -> None:
        a_python["torch"] = "2.9.1"
        raise OSError("[WinError 1114] a DLL initialization routine failed")

    del a_python["torch"]
    a_pytorch_extension.outcome = outcome
    an_installer.install(an_installer.plan(), print)
    assert an_installer.plan() == []


def test_a_failure_of_the_pytorch_extension_is_told(
    an_installer, a_python, a_pytorch_extension
) -> None:
    def outcome() -> None:
        raise RuntimeError("Max retries exceeded")

    del a_python["torch"]
    a_pytorch_extension.outcome = outcome
    with pytest.raises(an_installer.InstallError, match="was not reached") as caught:
        an_installer.install(an_installer.plan(), print)
    assert caught.value.log == "Max retries exceeded"


def test_wheels_in_a_folder_need_no_network(an_installer, a_slicer, a_python, tmp_path) -> None:
    a_slicer.settings["VoxelFeat/WheelsFolder"] = str(tmp_path)
    del a_python["msgpack"]
    a_slicer.after_pip = lambda: a_python.update(msgpack="1.2.4")
    an_installer.install(an_installer.plan(), print)
    assert a_slicer.pip_calls[0][-3:] == ["--no-index", "--find-links", str(tmp_path)]


def test_a_missing_folder_of_wheels_is_told(an_installer, a_slicer, a_python, tmp_path) -> None:
    a_slicer.settings["VoxelFeat/WheelsFolder"] = str(tmp_path / "no")
    del a_python["msgpack"]
    with pytest.raises(an_installer.InstallError, match="no folder of wheels"):
        an_installer.install(an_installer.plan(), print)
    assert a_slicer.pip_calls == []


def test_sam2_is_only_for_those_who_want_it(an_installer, a_python) -> None:
    without_sam2(a_python)
    assert an_installer.plan() == []
    assert an_installer.plan(local=False, sam2=True) == []
    packages, itself = an_installer.plan(sam2=True)
    assert packages.requirements == SAM2_NEEDS
    assert itself.text == "sam2==1.1.0 (pip; the encoders of SAM 2.1)"
    with_sam2(a_python)
    assert an_installer.plan(sam2=True) == []


@pytest.mark.usefixtures("a_python_to_try")
def test_sam2_comes_checked_without_torchvision_or_cuda(
    an_installer, a_slicer, a_python, monkeypatch
) -> None:
    monkeypatch.delenv("SAM2_BUILD_CUDA", raising=False)
    a_slicer.with_packaging(monkeypatch)
    without_sam2(a_python)
    a_slicer.after_pip = lambda: with_sam2(a_python)
    told: list[str] = []
    an_installer.install(an_installer.plan(sam2=True), told.append)
    needs, itself = a_slicer.pip_calls
    assert needs[:4] == ["hydra-core>=1.3.2", "iopath>=0.1.10", "setuptools>=70.1", "tqdm>=4.66.1"]
    assert itself[0] == "--requirement"
    assert itself[2:] == ["--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    assert a_slicer.requirements == SAM2_SOURCE
    assert a_slicer.cuda == "0"
    assert "SAM2_BUILD_CUDA" not in os.environ
    assert told[-2:] == ["Trying the encoders …", "Everything is installed."]


def test_encoders_that_cannot_be_loaded_are_told(
    an_installer, a_slicer, a_python, a_python_to_try
) -> None:
    del a_python["sam2"]
    a_slicer.after_pip = lambda: with_sam2(a_python)
    a_python_to_try.append("import sam2_of_another_kind")
    with pytest.raises(an_installer.InstallError) as caught:
        an_installer.install(an_installer.plan(sam2=True), print)
    assert caught.value.message == "SAM 2 is installed, but its encoders cannot be loaded."
    assert caught.value.hint == "ModuleNotFoundError: No module named 'sam2_of_another_kind'"
    assert "Traceback" in caught.value.log


def test_a_python_that_does_not_start_is_an_error(an_installer, a_slicer, a_python) -> None:
    del a_python["sam2"]
    a_slicer.after_pip = lambda: with_sam2(a_python)
    with pytest.raises(an_installer.InstallError, match="PythonSlicer"):
        an_installer.install(an_installer.plan(sam2=True), print)


def test_an_environment_of_ones_own_stays(an_installer, a_slicer, a_python, monkeypatch) -> None:
    monkeypatch.setenv("SAM2_BUILD_CUDA", "1")
    del a_python["sam2"]
    a_slicer.pip_code = 1
    with pytest.raises(an_installer.InstallError, match="could not install sam2"):
        an_installer.install(an_installer.plan(sam2=True), print)
    assert a_slicer.cuda == "0"
    assert os.environ["SAM2_BUILD_CUDA"] == "1"


@pytest.mark.usefixtures("a_python_to_try")
@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("sam2-1.1.0.tar.gz", SAM2_SOURCE),
        ("sam2-1.1.0-py3-none-any.whl", "sam2==1.1.0"),  # of one's own making: no hash is known
    ],
)
def test_sam2_comes_from_a_folder_too(
    an_installer, a_slicer, a_python, tmp_path, file, asked
) -> None:
    a_slicer.settings["VoxelFeat/WheelsFolder"] = str(tmp_path)
    (tmp_path / file).touch()
    del a_python["sam2"]
    a_slicer.after_pip = lambda: with_sam2(a_python)
    an_installer.install(an_installer.plan(sam2=True), print)
    assert a_slicer.requirements == asked
    assert a_slicer.pip_calls[0][-3:] == ["--no-index", "--find-links", str(tmp_path)]


def test_the_tables_agree_with_the_package() -> None:
    root = LIBRARY.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {str(each) for each in (TORCH, *WORKER)} <= set(project["dependencies"])
    extras = project["optional-dependencies"]
    assert sorted(extras["sam2-encoder"]) == [str(each) for each in SAM2_NEEDS]
    assert extras["sam2"] == [SAM2_SOURCE.partition(" ")[0]]
    lines = (root / "requirements-sam2.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [SAM2_SOURCE]
