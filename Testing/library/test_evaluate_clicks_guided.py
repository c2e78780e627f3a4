"""A simulated user who clicks where the method says."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from library.click_results import whole_run
from typer.testing import CliRunner

from VoxelFeatLib.cli.app import full_program
from VoxelFeatLib.evaluation.clicks.methods.suggested import SuggestedVoxelFeat
from VoxelFeatLib.evaluation.clicks.user import Habits, SimulatedUser
from VoxelFeatLib.evaluation.grouping import ALL
from VoxelFeatLib.fitting import presets
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.writing import write_labelmap, write_volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.session import Session

SHAPE = (8, 12, 16)
# 3 mm slices of 2 mm pixels; RAS is -i, -j, k.
GEOMETRY = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))
TARGET = np.zeros(SHAPE, dtype=bool)
TARGET[2:6, 3:10, 2:8] = True


def at(k: int, j: int, i: int) -> Click:
    return Click((-2.0 * i, -2.0 * j, 3.0 * k), True)


def voxels(clicks) -> list[list[int]]:
    return GEOMETRY.voxels_of([click.ras for click in clicks]).tolist()


@pytest.fixture
def a_two_part_volume() -> Volume:
    """Grey level 100 where TARGET is, else 0."""
    return Volume(np.where(TARGET, 100, 0).astype(np.int16), GEOMETRY)


class Guiding:
    """Gives one mask, and says where the next click should go: one place after the other."""

    name = "guiding"

    def __init__(self, mask: np.ndarray, places: list[Click]) -> None:
        self.settings: dict[str, object] = {}
        self.mask = mask
        self.asked: list[int] = []
        self.places = [click.ras for click in places]

    def start(self, volume):
        assert volume.voxels.shape == SHAPE

    def segment(self, clicks):
        self.asked.append(len(clicks))
        return self.mask

    def place(self):
        number = len(self.asked) - 1
        return self.places[number] if number < len(self.places) else None


def test_a_method_that_guides_gets_true_labels_where_it_wants_clicks(a_two_part_volume):
    # In the target and beside it; neither is where the user would click.
    places = [at(2, 3, 2), at(7, 0, 15)]
    method = Guiding(~TARGET, places)
    run = whole_run(a_two_part_volume, TARGET, method, Habits(9, negative=True))
    first = SimulatedUser(TARGET, GEOMETRY, Habits(9)).next(None)
    assert voxels(run.clicks[1:]) == [*voxels(first), *voxels(places)]
    assert [click.positive for click in run.clicks] == [False, True, True, False]
    # There is no third place.
    assert method.asked == [2, 3, 4]


def test_a_guided_user_is_content_when_all_is_well(a_two_part_volume):
    method = Guiding(TARGET, [at(2, 3, 2)])
    assert whole_run(a_two_part_volume, TARGET, method, Habits(5)).dice == [1.0]


def test_a_guided_user_has_the_same_habits():
    user = SimulatedUser(TARGET, GEOMETRY, Habits(5, noise_mm=4.0, stroke_mm=8.0))
    outside = at(6, 11, 12).ras
    drawn = [user.told(~TARGET, outside) for _ in range(6)]
    for clicks in drawn:
        assert len(clicks) > 1
        assert not any(click.positive for click in clicks)
        assert not TARGET[tuple(np.array(voxels(clicks)).T)].any()
    assert drawn[0] != drawn[1]  # the hand is unsteady


def test_ours_guided_follows_the_sessions_suggestions(a_two_part_volume, a_field_of):
    # The field knows nothing, so that there is doubt everywhere.
    features = np.random.default_rng(0).normal(0, 1, (*SHAPE, 2)).astype(np.float32)
    field = a_field_of(GEOMETRY, features)
    method = SuggestedVoxelFeat(lambda _: field, {"preset": "p"}, seed=3)
    assert (method.name, method.settings) == ("voxelfeat-suggest", {"preset": "p", "seed": 3})
    run = whole_run(a_two_part_volume, TARGET, method, Habits(3, negative=True))
    session = Session(a_two_part_volume, field, seed=3)
    for count in (2, 3):
        session.set_segment("again", run.clicks[:count])
        deque(session.update("again"), maxlen=0)
        assert run.clicks[count].ras == session.suggestions("again")[0].ras
    assert [click.positive for click in run.clicks] == [
        bool(TARGET[tuple(voxel)]) for voxel in voxels(run.clicks)
    ]


def test_suggestions_are_a_curve_of_their_own(tmp_path, monkeypatch):
    few = {"views": 2, "pool": 2, "first_views": 2, "steps": 2, "planes": 1, "heldout_views": 1}
    few = replace(presets.PRESETS["draft"], name="few", **few)
    monkeypatch.setattr(presets, "PRESETS", {"few": few})
    phantom = make_phantom((10, 40, 40), (9.0, 9.0, 30.0))
    data = tmp_path / "data"
    data.mkdir()
    write_volume(data / "p.nii.gz", phantom.volume)
    write_labelmap(data / "p_labels.nii.gz", phantom.labels, phantom.volume.geometry)
    (liver,) = (number for number, name in phantom.names.items() if name == "liver")
    out = tmp_path / "out"
    base = (data, "--labels", liver, "--methods", "voxelfeat", "--clicks", "4", "-o", out)
    arguments = (*base, "--preset", "few", "--device", "cpu", "--suggest", "--json")
    done = CliRunner().invoke(full_program(), ["evaluate", "clicks", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    whole = [line for line in json.loads(done.stdout)["lines"] if line["label"] == ALL]
    assert [line["method"] for line in whole] == ["voxelfeat", "voxelfeat-suggest"]
    assert whole[0]["dice"][0] == whole[1]["dice"][0]  # the first click is the same
    files = {path.stem: json.loads(path.read_text("utf-8")) for path in out.rglob("p/*/*.json")}
    user, guided = (files[name]["result"]["clicks"] for name in ("voxelfeat", "voxelfeat-suggest"))
    assert user[:2] == guided[:2]
    assert len(guided) > 3
    assert user[2:] != guided[2:]
    places = phantom.volume.geometry.voxels_of([click[:3] for click in guided])
    inside = phantom.labels[tuple(places.T)] == liver
    assert inside.tolist() == [click[3] for click in guided]
    assert "With voxelfeat-suggest each further one is where" in (out / "summary.md").read_text()
