"""What a checkout, a wheel and the Slicer extension need to agree on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import VoxelFeatLib

LIBRARY = Path(VoxelFeatLib.__file__).parent
ROOT = LIBRARY.parent


def scripts_listed_in(text: str) -> list[str]:
    match = re.search(r"set\(MODULE_PYTHON_SCRIPTS\n(.*?)\)", text, re.DOTALL)
    assert match is not None
    return match.group(1).split()


def test_the_extension_installs_every_file_of_the_library() -> None:
    listed = scripts_listed_in((LIBRARY / "CMakeLists.txt").read_text(encoding="utf-8"))
    present = [path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*.py")]
    assert listed == sorted(present)


def test_every_folder_of_the_library_is_a_package() -> None:
    folders = {path.parent for path in LIBRARY.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_package_asks_for_any_recent_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "torch>=2.6" in project["dependencies"]
    assert project["scripts"] == {"voxelfeat": "VoxelFeatLib.__main__:main"}
