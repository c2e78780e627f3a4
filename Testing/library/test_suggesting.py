"""Where one more click would tell most."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch

from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.graph import Graph
from VoxelFeatLib.segmenting.potential import Potential
from VoxelFeatLib.segmenting.segment import Wish
from VoxelFeatLib.segmenting.session import Session
from VoxelFeatLib.segmenting.suggesting import suggest

SHAPE = (24, 40, 48)
# Voxels of 1.25 mm: half of the longest side is 30 mm, a ball 1.5 mm; RAS = 1.25 (i, j, k).
SPACING = 1.25
RADIUS = 1.5
ORGAN = np.s_[8:16, 12:28, 8:24]
# Two more parts, that the potential says less and less of: the second is far off.
NEXT_TO_IT = np.s_[8:16, 12:28, 24:32]
FAR_AWAY = np.s_[9:15, 14:20, 40:46]


def make_potential(values: np.ndarray, step: int = 1) -> Potential:
    """Nodes at every `step`-th voxel, with the values there."""
    volume = Volume(
        np.zeros(SHAPE, dtype=np.int16), Geometry(SHAPE, np.diag([SPACING] * 3 + [1])), "CT"
    )
    values = values[::step, ::step, ::step].astype(np.float32)
    lattice = Lattice((0.0,) * 3, (float(step),) * 3, values.shape)
    seen = torch.zeros(values.shape)
    graph = Graph(lattice, seen, seen, (step * SPACING,) * 3)
    return Potential(volume, graph, Extent.whole(SHAPE), values)


@pytest.fixture
def a_sure_answer() -> np.ndarray:
    """(K, J, I) potential of the organ alone: certain."""
    values = np.zeros(SHAPE)
    values[ORGAN] = 1
    return values


@pytest.fixture
def a_doubtful_answer(a_sure_answer: np.ndarray) -> np.ndarray:
    """The same with the two other parts, both left out of the answer."""
    values = a_sure_answer.copy()
    values[NEXT_TO_IT], values[FAR_AWAY] = 0.4, 0.45
    return values


def found(values: np.ndarray, step: int = 1, **wish) -> tuple[list[list[int]], list[float]]:
    """Voxels k, j, i of the suggestions for the answer that a potential gives, and the doubts."""
    potential = make_potential(values, step)
    suggestions = suggest(potential, values > 0.5, Wish(**wish))
    places = np.array([one.ras for one in suggestions]).reshape(-1, 3) / SPACING
    assert np.array_equal(places, np.rint(places))  # voxel centres
    return places[:, ::-1].astype(int).tolist(), [one.doubt for one in suggestions]


def within(place: list[int], part: tuple[slice, ...]) -> bool:
    return all(s.start <= at < s.stop for at, s in zip(place, part, strict=True))


def test_a_sure_answer_has_no_suggestions(a_sure_answer: np.ndarray) -> None:
    assert found(a_sure_answer) == ([], [])
    assert found(np.zeros(SHAPE)) == ([], [])


@pytest.mark.parametrize("step", [1, 2])
def test_the_most_doubtful_places_come_first(a_doubtful_answer: np.ndarray, step: int) -> None:
    places, doubts = found(a_doubtful_answer, step)
    assert len(places) == 5
    assert doubts == sorted(doubts, reverse=True)
    assert all(0 < doubt <= 1 for doubt in doubts)
    assert within(places[0], NEXT_TO_IT)


def test_what_is_near_the_segment_comes_before_what_looks_more_like_it(
    a_doubtful_answer: np.ndarray,
) -> None:
    assert within(found(a_doubtful_answer)[0][0], NEXT_TO_IT)
    nowhere = a_doubtful_answer.copy()
    nowhere[ORGAN] = 0
    places, doubts = found(nowhere)
    assert within(places[0], FAR_AWAY)
    # No ball around it reaches beyond the part, whose voxels are each wrong with this chance.
    assert doubts[0] == pytest.approx(0.45)


def test_the_doubt_of_a_place_is_a_mean_around_it_and_falls_away_from_the_segment() -> None:
    values = np.zeros(SHAPE)
    values[10, 20, 20] = 0.9  # the segment: one voxel
    values[10:13, 20:23, 28:31] = 0.45
    # A ball of 1.5 mm comes to 3 x 3 x 3 voxels of 1.25 mm, and doubt falls by 1/e in 10.5 mm.
    # Distances are those of every second voxel.
    away = np.linalg.norm(np.multiply((0, 0, 8), SPACING))
    places, doubts = found(values)
    assert places == [[11, 21, 29]]
    assert doubts == pytest.approx([0.45 * np.exp(-away / 10.5)])


def test_where_the_answer_is_not_what_the_potential_says_it_is_in_doubt(
    a_sure_answer: np.ndarray,
) -> None:
    answer = a_sure_answer > 0.5
    answer[ORGAN][:, :, :6] = False  # as locality or an earlier click may have it
    first, *_ = suggest(make_potential(a_sure_answer), answer, Wish())
    k, j, i = (np.array(first.ras) / SPACING)[::-1].astype(int)
    assert within([k, j, i], np.s_[8:16, 12:28, 8:14])
    assert first.doubt > 0.7


def test_they_lie_apart_and_away_from_clicks(a_doubtful_answer: np.ndarray) -> None:
    first = found(a_doubtful_answer)[0][0]
    ras = tuple(SPACING * n for n in first[::-1])
    for clicks in ({"positive": (ras,)}, {"negative": (ras,)}):
        places, _ = found(a_doubtful_answer, **clicks)
        assert len(places) == 5
        assert first not in places
        every = SPACING * np.array(places)
        apart = np.linalg.norm(every[:, None] - every, axis=2)[~np.eye(5, dtype=bool)]
        assert apart.min() >= 2 * RADIUS


def test_never_on_a_click_even_where_nodes_are_larger_than_balls(
    a_doubtful_answer: np.ndarray,
) -> None:
    (first, *_), _ = found(a_doubtful_answer, 4)
    # Nodes are 5 mm apart; the click is 2.5 mm beside one of them along an axis.
    beside = tuple(SPACING * (n + d) for n, d in zip(first[::-1], (1, 0, 0), strict=True))
    assert first not in found(a_doubtful_answer, 4, positive=(beside,))[0]


def test_never_on_a_click_of_a_scribble(a_doubtful_answer: np.ndarray) -> None:
    (k, j, _), *_ = found(a_doubtful_answer)[0]
    scribble = tuple((SPACING * i, SPACING * j, SPACING * k) for i in np.arange(24, 32, 0.25))
    places, _ = found(a_doubtful_answer, positive=scribble)
    assert len(places) == 5
    every = SPACING * np.array(places)[:, None, ::-1]
    assert np.linalg.norm(every - np.array(scribble), axis=2).min() > RADIUS / 4


@pytest.mark.parametrize("step", [1, 3])
def test_they_lie_in_the_box(a_doubtful_answer: np.ndarray, step: int) -> None:
    box = Extent((9, 14, 26), (12, 18, 44))
    places, _ = found(a_doubtful_answer, step, box=box)
    assert places
    assert all(within(place, box.slices) for place in places)
    assert found(a_doubtful_answer, step, box=Extent((0, 0, 0), (4, 4, 4))) == ([], [])


def test_a_volume_of_one_slice_has_suggestions_too() -> None:
    volume = Volume(np.zeros((1, 40, 48), dtype=np.int16), Geometry((1, 40, 48), np.eye(4)), "CT")
    values = np.zeros((1, 40, 48), dtype=np.float32)
    values[0, 10:20, 10:20] = 0.4
    seen = torch.zeros(values.shape)
    graph = Graph(Lattice((0.0,) * 3, (1.0,) * 3, values.shape), seen, seen, (1.0,) * 3)
    potential = Potential(volume, graph, Extent.whole(values.shape), values)
    first, *_ = suggest(potential, values > 0.5, Wish())
    assert first.ras[2] == 0
    assert 10 <= first.ras[0] < 20
    assert 10 <= first.ras[1] < 20


# ---------------------------------------------------------------------------- in a session


@pytest.fixture
def a_session(a_field_of) -> Session:
    """A bright organ, clicked, and beside it a part whose features are half-way to its own."""
    geometry = Geometry(SHAPE, np.diag([SPACING] * 3 + [1]))
    features = np.random.default_rng(0).normal(scale=0.01, size=(*SHAPE, 2))
    voxels = np.zeros(SHAPE, dtype=np.int16)
    features[ORGAN] += (1, 0)
    features[NEXT_TO_IT] += (0.5, 0)
    voxels[ORGAN] = voxels[NEXT_TO_IT] = 100
    voxels[NEXT_TO_IT] += 40  # an edge between the two
    session = Session(Volume(voxels, geometry, "CT"), a_field_of(geometry, features))
    session.set_segment("organ", [Click((20.0, 25.0, 15.0), positive=True)])
    return session


def test_a_session_suggests_its_ambiguous_part(a_session: Session) -> None:
    assert a_session.suggestions("organ") == ()
    deque(a_session.update("organ"), maxlen=0)
    suggestions = a_session.suggestions("organ")
    (k, j, i) = np.rint(np.array(suggestions[0].ras)[::-1] / SPACING).astype(int)
    assert within([k, j, i], NEXT_TO_IT)
    a_session.add_click("organ", Click(suggestions[0].ras, positive=False))
    assert a_session.suggestions("organ") == ()  # not of this state
    deque(a_session.update("organ"), maxlen=0)
    after = a_session.suggestions("organ")
    assert suggestions[0].ras not in [one.ras for one in after]


def test_undo_and_redo_bring_matching_suggestions_back(a_session: Session) -> None:
    deque(a_session.update("organ"), maxlen=0)
    first = a_session.suggestions("organ")
    a_session.add_click("organ", Click(first[0].ras, positive=False))
    deque(a_session.update("organ"), maxlen=0)
    second = a_session.suggestions("organ")
    assert first != second
    a_session.undo()
    assert a_session.suggestions("organ") == first
    a_session.redo()
    assert a_session.suggestions("organ") == second
    a_session.clear("organ")
    deque(a_session.update("organ"), maxlen=0)
    assert a_session.suggestions("organ") == ()
