"""Answers to clicks on small volumes of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from library.steps import done
from scipy.ndimage import gaussian_filter

from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting import graph, prediction, walker
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.evidence import Evidence
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.prediction import predict
from VoxelFeatLib.segmenting.segment import Wish
from VoxelFeatLib.segmenting.session import Session

SHAPE = (12, 20, 24)


def oblique(shape, spacing=(1.0, 1.0, 1.0)):
    a = 0.4
    turn = [np.cos(a), -np.sin(a), 0, np.sin(a), np.cos(a), 0, 0, 0, -1]
    return Geometry.from_lps(shape, spacing, (-31.0, 12.0, 100.0), turn)


def make_case(a_field_of, shape=SHAPE, geometry=None, modality="CT", dtype=np.int16, seed=0):
    """Smooth noise, which the field knows but for some of its own."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal(shape), 2)
    smooth /= smooth.std() or 1.0
    geometry = geometry or Geometry(shape, np.eye(4))
    voxels = np.clip(100 + 60 * smooth, 0, 255).astype(dtype)
    features = np.stack([smooth, rng.standard_normal(shape)], axis=-1)
    return Volume(voxels, geometry, modality), a_field_of(geometry, features)


def at(volume, *voxels_kji):
    return tuple(tuple(volume.geometry.to_ras(v[::-1]).tolist()) for v in voxels_kji)


def chunks_of(case, wish, **options):
    volume, field = case
    head = Evidence(volume, field, 0).fit(wish)
    return list(predict(wish, head, VolumeInference(field, volume), **options))


def mask_of(case, wish, **options):
    mask = np.zeros(case[0].voxels.shape, dtype=bool)
    for chunk in chunks_of(case, wish, **options):
        mask[chunk.extent.slices] = chunk.mask
    return mask


@pytest.fixture
def a_case(a_field_of):
    return make_case(a_field_of)


@pytest.fixture
def a_wish(a_case):
    volume, _ = a_case
    inside, outside = (np.unravel_index(f(volume.voxels), SHAPE) for f in (np.argmax, np.argmin))
    return Wish(at(volume, inside), at(volume, outside))


@pytest.fixture
def small_graphs(monkeypatch):
    """As few nodes for few voxels as there usually are for many."""
    monkeypatch.setattr(prediction, "_NODES", (60, 400))
    monkeypatch.setattr(prediction, "_NODES_OF_BOX", 1500)
    monkeypatch.setattr(prediction, "_VOXELS_AT_ONCE", 1000)


@pytest.mark.usefixtures("small_graphs")
def test_visible_parts_come_first_and_change_nothing(a_case, a_wish):
    visible = [Extent((5, 0, 0), (6, 20, 24)), Extent((0, 9, 0), (12, 10, 24))]
    chunks = chunks_of(a_case, a_wish, visible=[*visible, Extent((90, 0, 0), (91, 1, 1))])
    told = [chunk for chunk in chunks if chunk.extent.size]
    assert len(chunks) > len(told) > 3
    assert [chunk.extent for chunk in told[:2]] == visible
    assert [chunk.extent for chunk in told[2:]] == list(Extent.whole(SHAPE).pieces(1000))
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(chunk.mask.shape == chunk.extent.shape for chunk in chunks)
    mask = mask_of(a_case, a_wish, visible=visible)
    np.testing.assert_array_equal(mask, mask_of(a_case, a_wish))
    assert 0 < mask.sum() < mask.size


@pytest.mark.usefixtures("small_graphs")
def test_cancelled_between_any_two_pieces_it_ends(a_case, a_wish):
    every = chunks_of(a_case, a_wish)
    for most in range(len(every)):
        looks = iter(range(most, -1, -1))
        chunks = chunks_of(a_case, a_wish, cancelled=lambda looks=looks: next(looks) == 0)
        assert len(chunks) == most
        assert not any(chunk.final for chunk in chunks)


def test_pieces_of_work_are_small(a_case, a_wish, monkeypatch):
    monkeypatch.setattr(graph, "_VOXELS_AT_ONCE", 1000)
    monkeypatch.setattr(prediction, "_NODES", (500,))
    monkeypatch.setattr(walker, "_STEPS_BETWEEN_LOOKS", 1)
    fine = chunks_of(a_case, a_wish)
    monkeypatch.undo()
    assert len(fine) > len(chunks_of(a_case, a_wish)) + 5


def test_where_memory_is_short_pieces_are_smaller_and_nodes_fewer(a_case, a_wish, monkeypatch):
    monkeypatch.setattr(prediction, "_VOXELS_AT_ONCE", 4 * SHAPE[1] * SHAPE[2])
    monkeypatch.setattr(prediction, "_NODES", (400,))  # coarse enough for a closer graph
    asked = []
    real = prediction.graph_of
    monkeypatch.setattr(prediction, "graph_of", lambda *a: asked.append(a[2]) or real(*a))
    volume, field = a_case
    inference = VolumeInference(field, volume, frugality=4)
    head = Evidence(volume, field, 0).fit(a_wish)
    chunks = [chunk for chunk in predict(a_wish, head, inference) if chunk.extent.size]
    assert [chunk.extent.shape[0] for chunk in chunks] == [1] * SHAPE[0]
    assert chunks[-1].final
    assert asked == [prediction._NODES_OF_BOX // 4]


def test_what_the_segment_was_stays_where_nothing_says_otherwise(a_case, a_wish):
    """A few voxels more where it was so far, and fewer where it was not; never against a click."""
    first = mask_of(a_case, a_wish)
    half = np.indices(SHAPE)[2] < SHAPE[2] // 2
    second = mask_of(a_case, a_wish, so_far=half)
    assert (first & half <= second & half).all()
    assert (second & ~half <= first & ~half).all()
    assert (second != first).any()
    assert (second != half).any()
    volume, _ = a_case
    for places, label in ((a_wish.positive, True), (a_wish.negative, False)):
        (voxel,) = volume.geometry.voxels_of(places)
        assert mask_of(a_case, a_wish, so_far=np.full(SHAPE, not label))[tuple(voxel)] == label


def test_graphs_of_the_whole_volume_are_made_once_whatever_the_field(a_case, monkeypatch):
    volume, field = a_case
    inference = VolumeInference(field, volume)
    first, _ = done(inference.graph(100))
    monkeypatch.setattr("VoxelFeatLib.segmenting.inference.graph_of", None)
    assert done(inference.renewed(field).graph(100)) == (first, 0)


@pytest.mark.usefixtures("small_graphs")
def test_nothing_is_said_outside_the_box(a_case, a_wish):
    box = Extent((2, 3, 4), (99, 10, 20))
    inside = box.clipped(Extent.whole(SHAPE))
    chunks = chunks_of(a_case, a_wish, box=box, visible=[Extent((5, 0, 0), (6, 20, 24))])
    assert next(c.extent for c in chunks if c.extent.size) == Extent((5, 3, 4), (6, 10, 20))
    said = np.zeros(SHAPE, dtype=int)
    for chunk in chunks:
        if not chunk.extent.size or chunk.extent.shape[0] == 1:
            continue
        said[chunk.extent.slices] += 1
    assert (said[inside.slices] == 1).all()
    assert said.sum() == inside.size
    expected = mask_of(a_case, a_wish)[inside.slices]
    np.testing.assert_array_equal(mask_of(a_case, a_wish, box=box)[inside.slices], expected)
    assert chunks_of(a_case, a_wish, box=Extent((20, 0, 0), (30, 5, 5))) == []


@pytest.mark.usefixtures("small_graphs")
def test_clicked_voxels_are_as_told_whatever_lies_around_them(a_case):
    volume, _ = a_case
    voxels = np.stack(np.unravel_index(np.arange(0, volume.voxels.size, 37), SHAPE), axis=1)
    wish = Wish(at(volume, *voxels[::2]), at(volume, *voxels[1::2]))
    mask = mask_of(a_case, wish)
    assert mask[tuple(voxels[::2].T)].all()
    assert not mask[tuple(voxels[1::2].T)].any()


def test_what_is_joined_to_a_click_belongs_to_it_what_looks_the_same_elsewhere_does_not(a_field_of):
    # Two rods of one material, in a field that shows nothing: only the graph tells them apart.
    voxels = np.zeros((1, 9, 120), dtype=np.int16)
    voxels[:, 1:4], voxels[:, 5:8] = 200, 200
    geometry = Geometry(voxels.shape, np.eye(4))
    volume = Volume(voxels, geometry, "CT")
    case = (volume, a_field_of(geometry, np.zeros((1, 9, 120, 2))))
    mask = mask_of(case, Wish(at(volume, (0, 2, 60)), at(volume, (0, 6, 60))))
    # A click's ball reaches 3 voxels, the walk some more.
    assert mask[0, 1:4, 54:67].all()
    assert not mask[0, 4:8, 54:67].any()


@pytest.mark.parametrize("shape", [(1, 30, 40), (5, 1, 30), (30, 1, 1), (1, 1, 2), (2, 2, 2)])
@pytest.mark.parametrize("modality", ["CT", "MR", "other"])
def test_volumes_of_any_shape(a_field_of, shape, modality):
    volume, field = make_case(a_field_of, shape, modality=modality)
    last = tuple(n - 1 for n in shape)
    wish = Wish(at(volume, (0, 0, 0)), at(volume, last))
    with np.errstate(all="raise", under="ignore"):
        mask = mask_of((volume, field), wish)
    assert mask[0, 0, 0]
    assert not mask[last]


def test_a_volume_of_one_voxel(a_field_of):
    case = make_case(a_field_of, (1, 1, 1))
    assert mask_of(case, Wish(at(case[0], (0, 0, 0)))).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.float32])
def test_the_type_of_voxels_does_not_matter(a_field_of, dtype):
    cases = [make_case(a_field_of, dtype=kind) for kind in (np.int16, dtype)]
    voxels = cases[0][0].voxels.astype(dtype)
    volume = Volume(voxels, cases[0][0].geometry, "MR")
    other = Volume(voxels.astype(np.int16), volume.geometry, "MR")
    wish = Wish(at(volume, (6, 10, 12)))
    masks = [mask_of((v, cases[0][1]), wish) for v in (volume, other)]
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("value", [-1024, 0, 7])
def test_constant_volumes_have_an_answer(a_field_of, modality, value):
    voxels = np.full((4, 6, 8), value, dtype=np.int16)
    geometry = Geometry(voxels.shape, np.diag([0.7, 0.7, 5.0, 1.0]))
    volume = Volume(voxels, geometry, modality)
    case = (volume, a_field_of(geometry, np.zeros((4, 6, 8, 2))))
    with np.errstate(all="raise", under="ignore"):
        mask = mask_of(case, Wish(at(volume, (0, 0, 0)), at(volume, (3, 5, 7))))
    assert mask[0, 0, 0]
    assert not mask[3, 5, 7]


@pytest.mark.usefixtures("small_graphs")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0), (4.0, 0.5, 1.0)])
def test_an_oblique_volume_has_the_answer_of_an_upright_one(a_field_of, spacing):
    upright = Geometry(SHAPE, np.diag([*spacing, 1.0]))
    masks = []
    for geometry in (upright, oblique(SHAPE, spacing)):
        volume, field = make_case(a_field_of, geometry=geometry)
        # A click's neighbourhood is a star along R, A and S: the probes are not quite the same.
        inside = [(k, 10, 12) for k in range(4, 8)]
        wish = Wish(at(volume, *inside), at(volume, *((k, 2, 3) for k in range(12))))
        masks.append(mask_of((volume, field), wish))
    assert 0 < masks[0].sum() < masks[0].size
    assert (masks[0] != masks[1]).mean() < 0.03


@pytest.mark.usefixtures("small_graphs")
def test_thousands_of_scribbled_clicks(a_case):
    volume, field = a_case
    session = Session(volume, field)
    session.add_segment("a")
    bright = np.argwhere(volume.voxels > 110)
    dark = np.argwhere(volume.voxels < 90)
    clicks = [Click(ras, positive=True) for ras in at(volume, *bright)]
    clicks += [Click(ras, positive=False) for ras in at(volume, *dark)]
    assert len(clicks) > 3000
    session.set_segment("a", clicks)
    *_, last = session.update("a")
    assert last.final
    assert last.mask[tuple(bright.T)].all()
    assert not last.mask[tuple(dark.T)].any()


@pytest.mark.usefixtures("small_graphs")
def test_the_same_wish_has_the_same_answer_with_previews_or_without(a_case, a_wish):
    volume, field = a_case
    masks = []
    for visible in ([], [Extent((3, 0, 0), (4, 20, 24))], []):
        session = Session(volume, field)
        clicks = [Click(ras, positive=True) for ras in a_wish.positive]
        clicks += [Click(ras, positive=False) for ras in a_wish.negative]
        session.set_segment("a", clicks)
        *_, last = session.update("a", visible=visible)
        masks.append(last.mask)
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


@pytest.mark.usefixtures("small_graphs")
def test_an_existing_mask_is_corrected_by_negative_clicks_alone(a_case):
    volume, field = a_case
    base = volume.voxels > 110
    session = Session(volume, field)
    session.add_segment("a")
    session.start_from("a", base)
    click = at(volume, np.argwhere(base)[0])[0]
    session.add_click("a", Click(click, positive=False))
    *_, last = session.update("a")
    assert last.final
    assert not last.mask[tuple(np.argwhere(base)[0])]
    assert last.mask.any()
    assert not (last.mask & ~base).any()


@pytest.mark.usefixtures("small_graphs")
def test_negative_clicks_alone_select_nothing(a_case):
    volume, field = a_case
    session = Session(volume, field)
    session.set_segment("a", [Click(at(volume, (6, 10, 12))[0], positive=False)])
    *_, last = session.update("a")
    assert last.final
    assert not last.mask.any()


@pytest.mark.usefixtures("small_graphs")
def test_two_segments_keep_each_others_clicks_out(a_case, a_wish):
    volume, field = a_case
    session = Session(volume, field)
    places = {"a": a_wish.positive[0], "b": a_wish.negative[0]}
    for name, ras in places.items():
        session.set_segment(name, [Click(ras, positive=True)])
    for name, ras in places.items():
        *_, last = session.update(name)
        other = next(place for place in places.values() if place != ras)
        assert last.mask[tuple(volume.geometry.voxels_of(ras)[0])]
        assert not last.mask[tuple(volume.geometry.voxels_of(other)[0])]
