"""The panel with the real controllers and a real worker process: a volume, a fit, a segment."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slicer


@pytest.fixture
def a_session(the_application, monkeypatch, tmp_path):
    """The module opened on a small phantom, its worker run by this Python."""
    import qt
    from panel.conftest import MODULE
    from PySide6 import QtCore, QtWidgets
    from slicer_standin.application import load_module

    from VoxelFeatLib.scene.application import qprocess

    monkeypatch.setenv("VOXELFEAT_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(qprocess, "python_slicer", lambda: sys.executable)
    voxels = np.full((24, 40, 40), -50, np.int16)
    voxels[6:18, 10:30, 10:30] = 120
    slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([2.0, 2.0, 3.0, 1.0]), name="block")
    window = qt.QMainWindow()
    window.objectName = "qSlicerMainWindow"
    _module, widget = load_module(Path(MODULE))
    window.setCentralWidget(widget)
    window.resize(430, 900)
    window.show()
    widget.enter()
    yield slicer.modules.VoxelFeatWidget
    slicer.modules.VoxelFeatWidget.cleanup()
    window.close()
    window.deleteLater()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    slicer.mrmlScene.Clear(0)
    QtWidgets.QApplication.processEvents()
    sys.modules.pop("VoxelFeat", None)


def _until(condition, seconds=60.0):
    from PySide6 import QtWidgets

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened for too long"
        QtWidgets.QApplication.processEvents()
        time.sleep(0.005)


@pytest.mark.slow
def test_fit_click_and_segment(a_session):
    ui, controllers = a_session.ui, a_session.logic.controllers()
    _until(lambda: controllers.field.status.kind == "no_field")
    assert ui.presetCombo.currentText
    assert ui.fitButton.enabled
    presets = getattr(ui.presetCombo, "_combo", ui.presetCombo)
    presets.setCurrentIndex(presets.findText("draft"))
    ui.fitButton.click()
    _until(lambda: controllers.field.status.kind in {"ready", "error"}, 180.0)
    assert controllers.field.status.kind == "ready", controllers.field.status
    assert ui.agreementLabel.visible
    assert a_session.panel.parameters.field_path
    ui.clickPositiveButton.click()
    assert controllers.segment.placing is True
    selection = slicer.app.applicationLogic().GetSelectionNode()
    clicks = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID())
    clicks.AddControlPoint(40.0, 40.0, 36.0)
    _until(lambda: controllers.segment.last_change is not None and not controllers.segment.busy)
    _until(lambda: "1 inside, 0 outside" in ui.segmentStatusLabel.text, 5.0)
    assert " ml" in ui.segmentStatusLabel.text
    ui.undoButton.click()
    _until(lambda: controllers.segment.click_counts(controllers.segment.segment_id) == (0, 0))
    assert controllers.segment.can_redo
    a_session.parent.exit()
    assert controllers.segment.placing is None
