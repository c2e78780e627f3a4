"""The extension as CMake packages it: every file of module and library, and the tests for CTest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("CMakeLists.txt", "VoxelFeat", "VoxelFeatLib", "Testing/CMakeLists.txt", "Testing/Python")
MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")
# The project has nothing to compile; without these CMake would look for a compiler all the same.
NO_COMPILER = [
    f"-DCMAKE_{language}_COMPILER{variable}"
    for language in ("C", "CXX")
    for variable in (f"={sys.executable}", "_ID_RUN=1", "_FORCED=1", "_WORKS=1")
]


def program(name: str) -> str:
    """Return cmake or ctest: of this Python's environment, else the system's."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(name)
    assert found, f"install {name}: pip install cmake"
    return found


@pytest.fixture
def a_checkout(tmp_path: Path) -> Path:
    """What CMake reads of the sources, free to be spoilt."""
    folder = tmp_path / "sources"
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


@pytest.fixture
def configure(a_checkout: Path, tmp_path: Path):
    """Configure the extension against the stand-in of Slicer's CMake package."""

    def run() -> subprocess.CompletedProcess[str]:
        command = [program("cmake"), "-S", a_checkout, "-B", tmp_path / "build"]
        command += ["-G", "Unix Makefiles", "-DCMAKE_MAKE_PROGRAM=make", *NO_COMPILER]
        command += [f"-DSlicer_DIR={Path(__file__).parent / 'slicer'}", "-DBUILD_TESTING=ON"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def files_of(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def test_the_extension_holds_every_file_of_module_and_library(
    configure, a_checkout, tmp_path
) -> None:
    result = configure()
    assert result.returncode == 0, result.stderr
    command = [program("cmake"), "--install", tmp_path / "build", "--prefix", tmp_path / "slicer"]
    subprocess.run(command, check=True, capture_output=True)
    installed = tmp_path / "slicer" / MODULES
    library = [f"VoxelFeatLib/{name}" for name in files_of(a_checkout / "VoxelFeatLib")]
    module = files_of(a_checkout / "VoxelFeat")
    expected = sorted(name for name in module + library if not name.endswith("CMakeLists.txt"))
    assert files_of(installed) == expected
    # The library works from there, away from the sources.
    code = "import VoxelFeatLib.worker.protocol as p; print(p.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(installed)


def test_ctest_knows_the_tests_that_run_inside_slicer(configure, tmp_path) -> None:
    assert configure().returncode == 0
    command = [program("ctest"), "--test-dir", tmp_path / "build", "--show-only=json-v1"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    names = {test["name"] for test in json.loads(listed.stdout)["tests"]}
    assert names >= {"py_VoxelFeat", "py_VoxelFeatSceneTest"}


@pytest.mark.parametrize(
    ("forgotten", "told"),
    [
        ("VoxelFeatLib/imaging/forgotten.py", "imaging/forgotten.py"),
        ("VoxelFeatLib/fresh/__init__.py", "fresh/__init__.py"),
        ("VoxelFeat/Helpers.py", "Helpers.py"),
        ("VoxelFeat/Resources/UI/forgotten.ui", "Resources/UI/forgotten.ui"),
    ],
)
def test_a_file_that_is_not_listed_is_refused(configure, a_checkout, forgotten, told) -> None:
    (a_checkout / forgotten).parent.mkdir(exist_ok=True)
    (a_checkout / forgotten).write_text("")
    result = configure()
    assert result.returncode != 0
    assert told in result.stderr
    assert f"{forgotten.partition('/')[0]}/CMakeLists.txt" in result.stderr


def test_a_listed_file_that_is_missing_is_refused(configure, a_checkout) -> None:
    (a_checkout / "VoxelFeatLib" / "errors.py").unlink()
    result = configure()
    assert result.returncode != 0
    assert "errors.py" in result.stderr


@pytest.mark.parametrize(
    "name",
    [
        "test_the_phantom_becomes_nodes_and_comes_back",
        "test_nothing_of_the_scene_layer_loads_torch",
    ],
)
def test_the_scene_test_for_slicer_runs_on_slicers_core(name: str) -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    script = f"""
import sys, unittest
import slicer
slicer.mrmlScene = slicer.vtkMRMLScene()
logics = [slicer.vtkMRMLApplicationLogic(), slicer.vtkSlicerSegmentationsModuleLogic()]
for logic in logics:
    logic.SetMRMLScene(slicer.mrmlScene)
sys.path.append({str(ROOT / "Testing" / "Python")!r})
suite = unittest.TestLoader().loadTestsFromName("VoxelFeatSceneTest.VoxelFeatSceneTest.{name}")
result = unittest.TextTestRunner().run(suite)
sys.exit(not (result.wasSuccessful() and result.testsRun == 1 and not result.skipped))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
