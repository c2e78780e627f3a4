"""From a volume node to a field in a real worker."""

from __future__ import annotations

import numpy as np
from vtk.util import numpy_support

from VoxelFeatLib.scene.controllers.field_controller import FieldController
from VoxelFeatLib.scene.controllers.worker_link import WorkerLink


def fit(field, loop) -> None:
    field.fit("filters", "draft", "cpu")
    loop.run_until(lambda: field.status.kind in {"ready", "error"})


def test_a_volume_is_fitted_and_found_again(a_field, a_loop, a_volume_node):
    seen = []
    a_field.changed.connect(lambda: seen.append(a_field.status))
    a_field.set_volume(a_volume_node)
    a_loop.run_until(lambda: a_field.status.kind == "no_field")
    fit(a_field, a_loop)
    assert a_field.status.kind == "ready", a_field.status.text
    assert a_field.usable
    assert 0.5 < a_field.status.agreement <= 1
    kinds = [status.kind for status in seen]
    assert kinds[0] == "uploading"
    assert "fitting" in kinds
    early = [status for status in seen if status.kind == "fitting" and status.usable]
    assert early, "clicks must be possible before the end of the fit"
    assert any(status.seconds_left is not None for status in early)

    a_field.set_volume(None)
    assert not a_field.usable
    a_field.set_volume(a_volume_node)
    a_loop.run_until(lambda: a_field.status.kind in {"ready", "error"})
    assert a_field.status.kind == "ready"
    assert [found["preset"] for found in a_field.cached] == ["draft"]


def test_a_changed_volume_is_stale_and_can_be_fitted_anew(a_field, a_loop, a_volume_node):
    a_field.set_volume(a_volume_node)
    a_loop.run_until(lambda: a_field.status.kind in {"ready", "no_field"})
    voxels = numpy_support.vtk_to_numpy(a_volume_node.GetImageData().GetPointData().GetScalars())
    voxels += 7
    a_volume_node.GetImageData().GetPointData().GetScalars().Modified()
    a_volume_node.Modified()
    a_loop.run_until(lambda: a_field.status.kind != "ready")
    if a_field.status.kind == "stale":
        assert not a_field.usable
        fit(a_field, a_loop)
        assert a_field.status.kind == "ready"


def test_renaming_a_volume_changes_nothing(a_field, a_loop, a_volume_node):
    a_field.set_volume(a_volume_node)
    a_loop.run_until(lambda: a_field.status.kind in {"ready", "no_field"})
    before = a_field.status
    a_volume_node.SetName("another name")
    a_loop.run_for(0.5)
    assert a_field.status == before


def test_a_cancelled_fit_leaves_a_state_to_go_on_from(a_field, a_loop, a_volume_node):
    voxels = numpy_support.vtk_to_numpy(a_volume_node.GetImageData().GetPointData().GetScalars())
    voxels[:] = np.roll(voxels, 1)
    a_field.set_volume(a_volume_node)
    a_loop.run_until(lambda: a_field.status.kind == "no_field")
    a_field.fit("filters", "draft", "cpu")
    a_loop.run_until(lambda: (a_field.status.fraction or 0) > 0.05)
    a_field.cancel()
    a_loop.run_until(lambda: a_field.status.kind != "fitting")
    assert a_field.status.kind in {"no_field", "ready"}
    fit(a_field, a_loop)
    assert a_field.status.kind == "ready"


def test_a_field_file_is_saved_and_opened(a_field, a_loop, a_volume_node, tmp_path):
    a_field.set_volume(a_volume_node)
    a_loop.run_until(lambda: a_field.status.kind in {"ready", "no_field"})
    if not a_field.usable:
        fit(a_field, a_loop)
    said: list[str] = []
    file = tmp_path / "field.voxelfeat"
    a_field.save(str(file), said.append)
    a_loop.run_until(lambda: said)
    assert said == [""]
    a_field.load(str(file))
    a_loop.run_until(lambda: a_field.status.kind in {"ready", "error"})
    assert a_field.status.kind == "ready"
    file.write_bytes(b"no field")
    a_field.load(str(file))
    a_loop.run_until(lambda: a_field.status.kind == "error")
    assert "field" in a_field.status.text


def test_an_unsuitable_volume_is_refused_in_words(a_field, a_scene):
    node = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    a_field.set_volume(node)
    assert a_field.status.kind == "unsuitable"
    assert a_field.status.text


def test_without_what_the_worker_needs_the_status_says_so(a_loop, a_volume_node):
    link = WorkerLink(a_loop.transport, a_loop, missing=lambda: "Install msgpack first.")
    field = FieldController(link, a_loop)
    field.set_volume(a_volume_node)
    assert field.status.kind == "error"
    assert field.status.text == "Install msgpack first."
    assert link.state == "failed"


def test_voxels_that_are_no_numbers_are_told(a_field, a_loop, add_volume_of, a_phantom):
    voxels = a_phantom.volume.voxels.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    matrix = a_phantom.volume.geometry.ijk_to_ras
    a_field.set_volume(add_volume_of("vtkMRMLScalarVolumeNode", voxels, matrix, "broken"))
    a_loop.run_until(lambda: not a_field.status.busy)
    assert a_field.status.kind in {"error", "unsuitable"}
    assert "finite" in a_field.status.text or "number" in a_field.status.text
