"""A stand-in for Slicer's GUI: PythonQt's ``qt``, ``ctk`` and ``slicer`` over PySide6.

MRML, its logics and ``slicer.util`` are Slicer's own, from the package slicer-core. Only what the
panel uses is here; what the real class does not have is refused.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import slicer
from PySide6 import QtWidgets

_SUBMODULES = {
    "slicer.parameterNodeWrapper": "slicer_standin.parameter_node",
    "slicer.ScriptedLoadableModule": "slicer_standin.scripted",
}
# What has taken hold of the modules below when it was imported.
_BOUND = (
    "VoxelFeatLib.scene.panel",
    "VoxelFeatLib.scene.parameters",
    "VoxelFeatLib.scene.application.qprocess",
)


def install() -> Any:
    """Make ``qt``, ``ctk`` and what ``slicer`` lacks importable; returns ``slicer.app``."""
    q_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    q_application.setOrganizationName("VoxelFeat")
    q_application.setApplicationName("Tests")
    q_application.setStyle("Fusion")
    for name in ("qt", "ctk"):
        sys.modules[name] = importlib.import_module(f"slicer_standin.{name}")
    widgets = importlib.import_module("slicer_standin.mrml_widgets")
    for name in vars(widgets):
        if name.startswith("qMRML"):
            setattr(slicer, name, getattr(widgets, name))
    scene, logic = slicer.vtkMRMLScene(), slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    slicer.mrmlScene = scene
    _load_modules(scene, logic)
    for name, source in _SUBMODULES.items():
        sys.modules[name] = importlib.import_module(source)
    translation = ModuleType("slicer.i18n")
    translation.tr = lambda text: text
    translation.translate = lambda _context, text: text
    sys.modules["slicer.i18n"] = translation
    application = importlib.import_module("slicer_standin.application")
    slicer.modules = application.Modules()
    slicer.app = application.Application(q_application, logic)
    return slicer.app


def _load_modules(scene: Any, logic: Any) -> None:
    """Have the loadable modules register their nodes, as they do when Slicer starts."""
    logics = (
        slicer.vtkSlicerSegmentationsModuleLogic(),
        slicer.vtkSlicerMarkupsLogic(),
    )
    for module_logic in logics:
        module_logic.SetMRMLApplicationLogic(logic)
        module_logic.SetMRMLScene(scene)
    scene.AddNode(slicer.vtkMRMLCrosshairNode())
    slicer.module_logics = logics


def uninstall() -> None:
    """Leave nothing to other tests, which may have stand-ins of their own."""
    slicer.mrmlScene.Clear(1)
    for module_logic in slicer.module_logics:
        module_logic.SetMRMLScene(None)
    for name in [*_SUBMODULES, "slicer.i18n", "qt", "ctk"]:
        sys.modules.pop(name, None)
    for name in [name for name in sys.modules if name.startswith(("slicer_standin.", *_BOUND))]:
        del sys.modules[name]
    for name in (
        "app",
        "module_logics",
        "modules",
        "mrmlScene",
        *(n for n in vars(slicer) if n.startswith("qMRML")),
    ):
        delattr(slicer, name)
