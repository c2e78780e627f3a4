"""The table of requirements is what the worker imports, and no more is needed to open the panel."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import VoxelFeatLib
from VoxelFeatLib.scene.application.requirements import CLIENT, TORCH, WORKER

LIBRARY = Path(VoxelFeatLib.__file__).parent
# What every Slicer has.
SLICERS_OWN = {"SimpleITK", "ctk", "mrml", "numpy", "pydicom", "qt", "scipy", "slicer", "vtk"}


def imported_by(path: Path, *, when_needed: bool) -> set[str]:
    """Return the dotted names that a file imports; those inside functions only `when_needed`."""
    names: set[str] = set()
    for node in walk(ast.parse(path.read_text(encoding="utf-8")), into_functions=when_needed):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def walk(node: ast.AST, *, into_functions: bool):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        if into_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from walk(child, into_functions=into_functions)


def file_of(name: str) -> Path | None:
    """Return the file of a module of the library, also for a name inside of one."""
    parts = name.split(".")[1:]
    for count in range(len(parts), -1, -1):
        place = LIBRARY.joinpath(*parts[:count])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None


def packages_reached(*folders: str, when_needed: bool) -> set[str]:
    """Return the foreign packages that the files of some folders import, by whatever way."""
    waiting = [path for folder in folders for path in sorted((LIBRARY / folder).rglob("*.py"))]
    seen: set[Path] = set()
    packages: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imported_by(path, when_needed=when_needed):
            if not name.startswith("VoxelFeatLib"):
                packages.add(name.partition(".")[0])
            elif (found := file_of(name)) is not None:
                waiting.append(found)
    return packages - set(sys.stdlib_module_names)


def test_the_table_is_what_the_worker_imports() -> None:
    reached = packages_reached("worker", when_needed=True) - SLICERS_OWN - {"sam2"}
    assert reached == {each.module for each in (TORCH, *WORKER)}


def test_the_client_needs_no_more_than_its_own_requirement() -> None:
    worker = LIBRARY / "worker"
    files = [worker / "framing.py", worker / "protocol.py", *(worker / "client").glob("*.py")]
    reached = set()
    for file in files:
        reached |= {name.partition(".")[0] for name in imported_by(file, when_needed=True)}
    foreign = reached - set(sys.stdlib_module_names) - SLICERS_OWN - {"VoxelFeatLib"}
    assert foreign == {each.module for each in CLIENT}


def test_the_panel_opens_before_anything_is_installed() -> None:
    assert packages_reached("scene", when_needed=False) <= SLICERS_OWN
