"""Fixtures for tests of what runs in Qt's event loop: Qt by PySide6, with PythonQt's habits."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from time import monotonic, sleep

import pytest

QtCore = pytest.importorskip("PySide6.QtCore", reason="PySide6-Essentials is not installed")


class Process(QtCore.QProcess):
    """PythonQt takes bytes only: it would write the printed text of anything else."""

    def write(self, data: bytes) -> int:
        assert type(data) is bytes
        return super().write(data)


@pytest.fixture
def a_qt(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The module `qt`, with an application that has an event loop."""
    module = types.ModuleType("qt")
    for name in ("QCoreApplication", "QEvent", "QProcessEnvironment", "QTimer"):
        setattr(module, name, getattr(QtCore, name))
    module.QProcess = Process
    monkeypatch.setitem(sys.modules, "qt", module)
    module.application = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
    return module


@pytest.fixture
def a_slicer(monkeypatch: pytest.MonkeyPatch, tmp_path) -> types.ModuleType:
    """The module `slicer`, as far as starting a worker needs it."""
    module = types.ModuleType("slicer")
    module.app = types.SimpleNamespace(slicerHome=str(tmp_path / "slicer home"))
    module.util = types.SimpleNamespace(startupEnvironment=lambda: {"PATH": "/usr/bin"})
    monkeypatch.setitem(sys.modules, "slicer", module)
    return module


@pytest.fixture
def a_qprocess_module(monkeypatch: pytest.MonkeyPatch, a_qt, a_slicer) -> types.ModuleType:
    """The module under test, bound to these stand-ins and forgotten afterwards."""
    package = importlib.import_module("VoxelFeatLib.scene.application")
    for part in ("child", "qprocess"):
        name = f"{package.__name__}.{part}"
        # The setters restore what was there; else another test would find this one's module.
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setattr(package, part, None, raising=False)
        del sys.modules[name]
    return importlib.import_module(f"{package.__name__}.qprocess")


@pytest.fixture
def until(a_qt) -> Callable[[Callable[[], object]], None]:
    """Let Qt work until a condition holds; the test fails after ten seconds."""

    def wait(holds: Callable[[], object], seconds: float = 10.0) -> None:
        end = monotonic() + seconds
        while not holds():
            assert monotonic() < end, "nothing happened"
            a_qt.application.processEvents()
            sleep(0.001)

    return wait
