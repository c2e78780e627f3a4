"""VoxelFeat in 3D Slicer: the module, its panel's life, and its logic.

Nothing heavy is imported here: Slicer reads this file when it starts. The panel itself is in
VoxelFeatLib/scene/panel, what it drives in VoxelFeatLib/scene.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

_LIBRARY = "VoxelFeatLib"

# Installed, the library lies where Slicer looks; run from its source it is in the folder beside.
_SOURCE = Path(__file__).resolve().parents[1]
if (_SOURCE / _LIBRARY / "__init__.py").is_file() and str(_SOURCE) not in sys.path:
    sys.path.insert(0, str(_SOURCE))


def registerSampleData() -> None:
    """Offer the phantom and a public CT in the module Sample Data."""
    from VoxelFeatLib.scene.nodes import sample_data

    sample_data.register()


class VoxelFeat(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "VoxelFeat"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Markups"]
        self.parent.contributors = ["The VoxelFeat developers"]
        self.parent.helpText = _(
            "Fit a field of features to a volume once; then every click in a slice view updates"
            " the segment. Coarse segmentations are refined by the same field."
        )
        self.parent.acknowledgementText = _(
            "VoxelFeat is free software under the Apache License 2.0."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


class VoxelFeatWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel's life: made, shown, left, reloaded, closed."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: VoxelFeatLogic | None = None
        self.ui: Any = None
        self.panel: Any = None

    def setup(self) -> None:
        """Make the panel; called when the module is opened for the first time."""
        from VoxelFeatLib.scene.panel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/VoxelFeat.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = VoxelFeatLogic()
        self.panel = Panel(
            self.ui,
            self.logic.controllers(),
            check_command=self.logic.checkRemoteCommand,
            reconnect=self.logic.reconnect,
            icon_path=lambda name: self.resourcePath(f"Icons/{name}.svg"),
        )
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        slicer.app.connect("aboutToQuit()", self.cleanup)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """End the worker and let go of everything; before a reload and when Slicer closes."""
        self.removeObservers()
        if self.panel is not None:
            slicer.app.disconnect("aboutToQuit()", self.cleanup)
            self.panel.close()
            self.panel = None
        if self.logic is not None:
            self.logic.close()
            self.logic = None

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self) -> None:
        """Called each time the user opens another module."""
        if self.panel is not None:
            self.panel.exit()

    def onReload(self) -> None:
        """Read the library's files anew, too."""
        for name in [name for name in sys.modules if name.split(".")[0] == _LIBRARY]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, _caller: Any, _event: str) -> None:
        """The nodes in use are about to go."""
        self.panel.set_parameters(None)

    def onSceneEndClose(self, _caller: Any, _event: str) -> None:
        """Begin anew, if the panel is being looked at."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneStartImport(self, _caller: Any, _event: str) -> None:
        """A scene is about to be read: its nodes come before what they refer to."""
        self.panel.suspend()

    def onSceneEndImport(self, _caller: Any, _event: str) -> None:
        """A scene has been read: what it says counts from now on."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that there is a parameter node, and something chosen where it is obvious."""
        parameters = self.logic.getParameterNode()
        if self.panel.parameters is None or (
            self.panel.parameters.parameterNode is not parameters.parameterNode
        ):
            if parameters.volume is None:
                parameters.volume = self.logic.volumeInView()
            self.panel.set_parameters(parameters)


class VoxelFeatLogic(ScriptedLoadableModuleLogic):
    """Makes and owns what the panel drives; scripts may do the same without a panel."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._controllers: Any = None

    def getParameterNode(self) -> Any:
        """Return the module's one parameter node, typed."""
        from VoxelFeatLib.scene.parameters import Parameters

        return Parameters(super().getParameterNode())

    def controllers(self) -> Any:
        """Return all that the panel drives, made when first asked for."""
        if self._controllers is None:
            from VoxelFeatLib.scene.application.qprocess import QtTimers
            from VoxelFeatLib.scene.controllers.field_controller import FieldController
            from VoxelFeatLib.scene.controllers.overlay_controller import OverlayController
            from VoxelFeatLib.scene.controllers.refine_controller import RefineController
            from VoxelFeatLib.scene.controllers.segment_controller import SegmentController
            from VoxelFeatLib.scene.controllers.suggestion_controller import SuggestionController
            from VoxelFeatLib.scene.controllers.worker_link import WorkerLink
            from VoxelFeatLib.scene.panel.panel import Controllers
            from VoxelFeatLib.scene.panel.worker_section import missing

            timers = QtTimers()
            link = WorkerLink(self._makeTransport, timers, missing=missing)
            field = FieldController(link, timers)
            scene, views = slicer.mrmlScene, self.sliceViews
            segment = SegmentController(link, field, timers, scene, views)
            self._controllers = Controllers(
                link=link,
                field=field,
                segment=segment,
                suggestion=SuggestionController(segment, field, scene, views),
                refine=RefineController(link, field, timers),
                overlay=OverlayController(link, field, timers, scene),
            )
        return self._controllers

    def close(self) -> None:
        """End the worker."""
        if self._controllers is not None:
            self._controllers.close()
            self._controllers = None

    @staticmethod
    def checkRemoteCommand(command: str) -> None:
        """Raise an InputError if a command for the worker cannot be split into words."""
        from VoxelFeatLib.scene.application.qprocess import split_command

        split_command(command)

    def reconnect(self) -> None:
        """Have the worker started by the command that is set now; the volume goes there anew."""
        self.controllers().link.use_transport(self._makeTransport)
        field = self.controllers().field
        volume = field.volume
        field.set_volume(None)
        field.set_volume(volume)

    @staticmethod
    def _makeTransport() -> Any:
        from VoxelFeatLib.scene.application.qprocess import worker_transport
        from VoxelFeatLib.scene.panel.worker_section import remote_command

        return worker_transport(remote_command())

    @staticmethod
    def sliceViews() -> list[tuple[Any, Any]]:
        """Return interactor and node of every slice view; none without a main window."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return []
        widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames()]
        return [(each.sliceView().interactor(), each.mrmlSliceNode()) for each in widgets]

    @staticmethod
    def volumeInView() -> Any:
        """Return the volume that the slice views show, else the scene's only one, else None."""
        selection = slicer.app.applicationLogic().GetSelectionNode()
        active = slicer.mrmlScene.GetNodeByID(selection.GetActiveVolumeID() or "")
        if active is not None and not active.IsA("vtkMRMLLabelMapVolumeNode"):
            return active
        volumes = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if not node.IsA("vtkMRMLLabelMapVolumeNode")
        ]
        return volumes[0] if len(volumes) == 1 else None


class VoxelFeatTest(ScriptedLoadableModuleTest):
    """The self-test: on a phantom, without network or GPU."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self, **_options: Any) -> None:
        """Fit, click, refine, save and open again."""
        from VoxelFeatLib.scene import selftest

        self.setUp()
        selftest.run(self.delayDisplay)
