"""The library's layers: who may import whom, and who may import torch, sam2 and Slicer."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import VoxelFeatLib

LIBRARY = Path(VoxelFeatLib.__file__).parent
LAYERS = (
    "errors",
    "environment",
    "cache",
    "imaging",
    "devices",
    "backbones",
    "field",
    "fitting",
    "segmenting",
    "evaluation",
    "worker",
    "scene",
)
SCENE_FOLDERS = ("application", "nodes", "segments", "views", "controllers", "panel")
TOP = ("cli", "demo", "__main__")  # import anything, are imported by nobody but each other
# What a segment is and was asked for; only what asks the field needs torch.
TORCH_FREE_SEGMENTING = {"segmenting"} | {
    f"segmenting.{name}"
    for name in (
        "changes",
        "clicks",
        "components",
        "correction",
        "extent",
        "history",
        "scribbles",
        "segment",
        "suggestion",
        "updating",
    )
}
SLICER = {"slicer", "qt", "ctk", "vtk", "mrml"}
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "shelve"}


class Module:
    """One file of the library: its dotted name below the library, and what it imports."""

    def __init__(self, path: Path, root: Path) -> None:
        parts = path.relative_to(root).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.layer = parts[0] if parts[0] != "__init__" else ""
        self.torch_free = is_torch_free(self.name)
        self.inside: set[str] = set()
        self.outside: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{self.name}: relative imports hide the layer"
            # `from VoxelFeatLib.imaging import volume` names a module, or something inside one
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "VoxelFeatLib":
                self.inside.add(rest)
            else:
                self.outside.add(package)


def is_torch_free(name: str) -> bool:
    """Whether Slicer's own process imports this module."""
    return name in {
        *("", "errors", "environment", "cache", "backbones", "worker"),
        *TORCH_FREE_SEGMENTING,
    } or name.startswith(
        (
            *("backbones.weights", "imaging", "scene"),
            *("worker.protocol", "worker.framing", "worker.client"),
        )
    )


def modules_of(root: Path) -> dict[str, Module]:
    return {m.name: m for m in (Module(path, root) for path in sorted(root.rglob("*.py")))}


def layer_violations(modules: dict[str, Module]) -> list[str]:
    found = []
    for module in modules.values():
        if module.layer in TOP or module.layer == "":
            continue
        if module.layer not in LAYERS:
            found.append(f"{module.name}: no layer of that name")
            continue
        own = LAYERS.index(module.layer)
        for imported in sorted(module.inside - {""}):
            layer = imported.split(".")[0]
            if layer in TOP or (layer in LAYERS and LAYERS.index(layer) > own):
                found.append(f"{module.name} imports {imported}")
    return found


def scene_violations(modules: dict[str, Module]) -> list[str]:
    """What a folder of the scene imports from folders below it in the architecture's table."""
    found = []
    for module in modules.values():
        folder = module.name.partition(".")[2].partition(".")[0]
        if module.layer != "scene" or folder not in SCENE_FOLDERS:
            continue
        below = SCENE_FOLDERS[SCENE_FOLDERS.index(folder) + 1 :]
        found += [
            f"{module.name} imports {imported}"
            for imported in sorted(module.inside)
            if imported.startswith(tuple(f"scene.{name}" for name in below))
        ]
    return found


def banned_imports(modules: dict[str, Module]) -> list[str]:
    found = []
    for module in modules.values():
        banned = set(NEVER)
        if module.layer != "scene":
            banned |= SLICER
        if module.layer != "backbones":
            banned |= {"sam2"}
        if module.torch_free:
            banned |= {"torch", "torchvision"}
        found += [f"{module.name} imports {name}" for name in sorted(module.outside & banned)]
        if module.torch_free:
            reached = {name for name in module.inside if name in modules}
            found += [
                f"{module.name} reaches torch by {name}"
                for name in sorted(reached)
                if not is_torch_free(name)
            ]
    return found


@pytest.fixture
def a_library(tmp_path: Path) -> Path:
    for folder in ("imaging", "field", "scene", "segmenting"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text('"""A layer."""\n')
    (tmp_path / "__init__.py").write_text("")
    return tmp_path


def test_a_layer_imports_only_layers_above_it() -> None:
    assert layer_violations(modules_of(LIBRARY)) == []


def test_a_folder_of_the_scene_imports_only_folders_above_it() -> None:
    assert scene_violations(modules_of(LIBRARY)) == []


def test_a_wrong_import_between_folders_of_the_scene_is_found(a_library: Path) -> None:
    for folder in ("views", "controllers"):
        (a_library / "scene" / folder).mkdir()
    (a_library / "scene" / "controllers" / "a.py").write_text(
        "from VoxelFeatLib.scene.views import b"
    )
    (a_library / "scene" / "views" / "b.py").write_text(
        "def f():\n    import VoxelFeatLib.scene.controllers.a"
    )
    assert scene_violations(modules_of(a_library)) == ["scene.views.b imports scene.controllers.a"]


def test_nothing_banned_is_imported() -> None:
    assert banned_imports(modules_of(LIBRARY)) == []


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        (
            "imaging/volume.py",
            "from VoxelFeatLib.field import network",
            "imaging.volume imports field",
        ),
        ("field/a.py", "import VoxelFeatLib.segmenting.probe", "field.a imports segmenting.probe"),
        ("segmenting/a.py", "def f():\n    import VoxelFeatLib.cli", "segmenting.a imports cli"),
        ("extra/a.py", "import os", "extra.a: no layer of that name"),
    ],
)
def test_a_wrong_layer_is_found(a_library: Path, file: str, source: str, expected: str) -> None:
    (a_library / file).parent.mkdir(exist_ok=True)
    (a_library / file).write_text(source)
    assert expected in layer_violations(modules_of(a_library))


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("imaging/a.py", "import torch.nn as nn", "imaging.a imports torch"),
        ("imaging/a.py", "def f():\n    from torch import nn", "imaging.a imports torch"),
        ("segmenting/clicks.py", "import torch", "segmenting.clicks imports torch"),
        ("scene/a.py", "import sam2", "scene.a imports sam2"),
        ("field/a.py", "import slicer.util", "field.a imports slicer"),
        ("field/a.py", "import pickle", "field.a imports pickle"),
    ],
)
def test_a_banned_import_is_found(a_library: Path, file: str, source: str, expected: str) -> None:
    (a_library / file).write_text(source)
    assert banned_imports(modules_of(a_library)) == [expected]


def test_a_way_round_to_torch_is_found(a_library: Path) -> None:
    (a_library / "field" / "network.py").write_text("import torch")
    (a_library / "scene" / "a.py").write_text("from VoxelFeatLib.field import network")
    assert banned_imports(modules_of(a_library)) == [
        "scene.a reaches torch by field",
        "scene.a reaches torch by field.network",
    ]


def test_allowed_imports_are_not_reported(a_library: Path) -> None:
    (a_library / "field" / "network.py").write_text("import torch")
    (a_library / "segmenting" / "probe.py").write_text(
        "import torch\nfrom VoxelFeatLib.field import network\nfrom VoxelFeatLib import errors"
    )
    (a_library / "scene" / "a.py").write_text("import slicer, qt, ctk")
    (a_library / "cli.py").write_text("import VoxelFeatLib.segmenting.probe")
    modules = modules_of(a_library)
    assert layer_violations(modules) == []
    assert banned_imports(modules) == []


def test_importing_the_torch_free_modules_loads_no_torch() -> None:
    names = [
        f"VoxelFeatLib.{name}".rstrip(".")
        for name, module in modules_of(LIBRARY).items()
        if module.torch_free and module.layer != "scene"  # scene needs Slicer to be imported
    ]
    script = f"import {', '.join(names)}, sys; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
