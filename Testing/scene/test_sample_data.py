"""The sample data: a phantom whose organs are known, and what is told to Sample Data."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from VoxelFeatLib.imaging.phantom import make_phantom

pytest.importorskip("slicer")
from VoxelFeatLib.scene.nodes import sample_data
from VoxelFeatLib.scene.nodes.volume_nodes import VolumeSource, check_volume, geometry_of
from VoxelFeatLib.scene.segments.labelmaps import Grid, labels_on
from VoxelFeatLib.segmenting.extent import Extent

SHAPE, SPACING = (8, 40, 48), (8.0, 8.0, 20.0)


class Source:
    """SampleData.SampleDataSource, as far as it matters here."""

    def __init__(self, **arguments) -> None:
        self.__dict__.update(arguments)
        for name in ("uris", "fileNames"):
            assert isinstance(arguments[name], str), "Slicer refuses a source without"


class Logic:
    sources: dict[str, list[Source]]

    @classmethod
    def sampleDataSourcesByCategory(cls, category):  # noqa: N802
        return cls.sources.get(category, [])

    @classmethod
    def registerCustomSampleDataSource(cls, category="Custom", **arguments):  # noqa: N802
        cls.sources.setdefault(category, []).append(Source(**arguments))


@pytest.fixture
def the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, list[Source]]:
    module = types.ModuleType("SampleData")
    module.__file__ = str(tmp_path / "SampleData.py")
    module.SampleDataLogic = Logic
    Logic.sources = {}
    monkeypatch.setitem(sys.modules, "SampleData", module)
    return Logic.sources


def test_the_phantom_is_a_usable_volume_with_its_own_voxels(a_scene) -> None:
    volume, _ = sample_data.load_phantom(a_scene, SHAPE, SPACING)
    expected = make_phantom(SHAPE, SPACING).volume
    check_volume(volume)
    assert geometry_of(volume).matches(expected.geometry)
    source = VolumeSource(volume)
    assert source.modality == "CT"
    voxels = np.frombuffer(b"".join(source.parts()), dtype=source.dtype).reshape(SHAPE)
    assert np.array_equal(voxels, expected.voxels)


def test_every_organ_is_a_segment_in_its_place(a_scene) -> None:
    volume, segmentation = sample_data.load_phantom(a_scene, SHAPE, SPACING)
    expected = make_phantom(SHAPE, SPACING)
    segments = segmentation.GetSegmentation()
    found = {}
    for n in range(segments.GetNumberOfSegments()):
        segment = segments.GetNthSegment(n)
        image = segment.GetRepresentation("Binary labelmap")
        labels = labels_on(image, Grid.of(segmentation, volume), Extent.whole(SHAPE))
        found[segment.GetName()] = labels == segment.GetLabelValue()
        value = next(v for v, name in expected.names.items() if name == segment.GetName())
        assert np.allclose(np.array(segment.GetColor()) * 255, expected.colors[value])
    present = {expected.names[int(value)] for value in np.unique(expected.labels) if value}
    assert set(found) == present
    assert "liver" in present
    for name in present:
        assert np.array_equal(found[name], expected.mask(name)), name
    # No organ overlaps another, so that they share one labelmap.
    assert segments.GetNumberOfLayers("Binary labelmap") == 1


def test_two_phantoms_have_two_names(a_scene) -> None:
    first, _ = sample_data.load_phantom(a_scene, SHAPE, SPACING)
    second, _ = sample_data.load_phantom(a_scene, SHAPE, SPACING)
    assert first.GetName() != second.GetName()


def test_both_are_offered_once_however_often_they_are_registered(the_sources) -> None:
    sample_data.register()
    sample_data.register()
    assert list(the_sources) == ["VoxelFeat"]
    phantom, ct = the_sources["VoxelFeat"]
    assert callable(phantom.customDownloader)
    assert Path(phantom.thumbnailFileName).is_file()
    assert re.fullmatch("SHA256:[0-9a-f]{64}", ct.checksums)
    assert ct.uris.endswith("/SHA256/" + ct.checksums.removeprefix("SHA256:"))
    assert ct.fileNames == "CTLiver.nrrd"


def test_the_phantoms_button_makes_and_shows_it(a_scene, the_sources, monkeypatch) -> None:
    shown = []

    class WaitCursor:
        def __enter__(self) -> None:
            shown.append("wait")

        def __exit__(self, *_) -> None:
            shown.append("done")

    util = types.SimpleNamespace(
        WaitCursor=WaitCursor,
        setSliceViewerLayers=lambda *, background, fit: shown.append((background, fit)),
    )
    monkeypatch.setattr(sample_data.slicer, "util", util, raising=False)
    monkeypatch.setattr(sample_data.slicer, "mrmlScene", a_scene, raising=False)
    small = sample_data.load_phantom
    monkeypatch.setattr(sample_data, "load_phantom", lambda scene: small(scene, SHAPE, SPACING))
    sample_data.register()
    phantom = the_sources["VoxelFeat"][0]
    volume, segmentation = phantom.customDownloader(phantom)
    assert shown == ["wait", "done", (volume, True)]
    assert a_scene.GetNodeByID(volume.GetID()) is volume
    assert not segmentation.GetDisplayNode().GetVisibility()
