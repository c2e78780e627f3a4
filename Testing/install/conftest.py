"""Fixtures for installation and sample data: a Slicer that asks, installs and remembers."""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError

import pytest


class Slicer(types.ModuleType):
    """The module `slicer`, as far as installing needs it: answers are set, calls are kept."""

    def __init__(self) -> None:
        super().__init__("slicer")
        self.__path__: list[str] = []
        self.agrees = True
        self.asked: list[str] = []
        self.settings: dict[str, str] = {}
        self.pip_calls: list[list[str]] = []
        self.constraints: list[str] = []
        self.requirements = ""
        self.cuda = ""
        self.pip_output: list[str] = ["Collecting msgpack"]
        self.pip_code = 0
        self.after_pip: Callable[[], object] = lambda: None
        self.testing = False
        self.events: list[Callable[[], object]] = []
        self.app = types.SimpleNamespace(
            testingEnabled=lambda: self.testing,
            processEvents=self._process_events,
            slicerHome="/no/slicer",
        )
        self.util = types.SimpleNamespace(
            confirmOkCancelDisplay=self._confirm,
            settingsValue=self.settings.get,
            pip_install=self._pip_blocking,
        )

    def with_packaging(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Slicer 5.12 and newer have slicer.packaging; what it calls back comes with events."""
        packaging = types.ModuleType("slicer.packaging")
        packaging.pip_install = self._pip_with_callbacks
        monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)

    def _confirm(self, text: str, windowTitle: str | None = None) -> bool:
        assert windowTitle == "VoxelFeat"
        self.asked.append(text)
        return self.agrees

    def _process_events(self) -> None:
        for event in self.events:
            event()
        self.events = []

    def _note(self, arguments: list[str]) -> None:
        assert type(arguments) is list
        self.pip_calls.append(arguments)
        if "--constraint" in arguments:
            kept = Path(arguments[arguments.index("--constraint") + 1])
            self.constraints = kept.read_text(encoding="utf-8").split()
        else:
            listed = Path(arguments[arguments.index("--requirement") + 1])
            self.requirements = listed.read_text(encoding="utf-8").strip()
        # Slicer starts pip with its own environment.
        self.cuda = os.environ.get("SAM2_BUILD_CUDA", "")

    def _pip_blocking(self, arguments: list[str]) -> None:
        self._note(arguments)
        if self.pip_code:
            raise CalledProcessError(self.pip_code, "pip install")
        self.after_pip()

    def _pip_with_callbacks(
        self,
        requirements,
        *,
        blocking,
        show_progress,
        requester,
        logCallback,
        completedCallback,
    ) -> None:
        assert (blocking, show_progress, requester) == (False, False, "VoxelFeat")
        self._note(requirements)

        def happen() -> None:
            for line in self.pip_output:
                logCallback(line)
            if not self.pip_code:
                self.after_pip()
            completedCallback(self.pip_code)

        self.events.append(happen)


@pytest.fixture
def a_slicer(monkeypatch: pytest.MonkeyPatch) -> Slicer:
    module = Slicer()
    monkeypatch.setitem(sys.modules, "slicer", module)
    monkeypatch.delitem(sys.modules, "slicer.packaging", raising=False)
    return module


@pytest.fixture
def a_fresh_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], types.ModuleType]:
    """Import a module of the scene against the stand-ins; it is forgotten afterwards.

    What it imports of the same folder is to be loaded before it.
    """

    def load(name: str) -> types.ModuleType:
        full = f"VoxelFeatLib.scene.application.{name}"
        # The setters restore what was there; else another test would find this one's module.
        monkeypatch.setitem(sys.modules, full, types.ModuleType(full))
        package = importlib.import_module("VoxelFeatLib.scene.application")
        monkeypatch.setattr(package, name, None, raising=False)
        del sys.modules[full]
        return importlib.import_module(full)

    return load
