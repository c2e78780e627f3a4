"""Clicks from Slicer's markups files and from tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.segmenting.clicks import Click, read_clicks, write_clicks

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)
Writer = Callable[..., Path]


def a_point(position: Any = (1.0, 2.0, 3.0), label: str = "F-1", **more: Any) -> dict[str, Any]:
    """A control point as Slicer 5.10 writes it."""
    return {
        "id": "1",
        "label": label,
        "description": "",
        "associatedNodeID": "vtkMRMLScalarVolumeNode1",
        "position": list(position) if isinstance(position, tuple) else position,
        "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined",
        **more,
    }


def a_markup(*points: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "labelFormat": "%N-%d",
        "controlPoints": list(points),
        **more,
    }


@pytest.fixture
def a_markups_file(tmp_path: Path) -> Writer:
    def write(*markups: dict[str, Any], name: str = "p.mrk.json", **more: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({"@schema": SCHEMA, "markups": list(markups), **more}))
        return path

    return write


@pytest.fixture
def a_table(tmp_path: Path) -> Writer:
    def write(*lines: str, name: str = "p.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines))
        return path

    return write


# ------------------------------------------------------------------ markups


def test_lps_is_turned_into_ras(a_markups_file: Writer) -> None:
    path = a_markups_file(a_markup(a_point((10.0, -20.0, 30.0))))
    assert read_clicks(positive=[path]) == [Click((-10.0, 20.0, 30.0), True, "F-1")]


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("RAS", (10.0, 20.0, 30.0)),
        ("LPS", (-10.0, -20.0, 30.0)),
        (0, (10.0, 20.0, 30.0)),
        (1, (-10.0, -20.0, 30.0)),
        ("0", (10.0, 20.0, 30.0)),
        ("1", (-10.0, -20.0, 30.0)),
    ],
)
def test_each_way_to_name_the_coordinate_system(
    a_markups_file: Writer, system: object, expected: tuple[float, float, float]
) -> None:
    path = a_markups_file(a_markup(a_point((10.0, 20.0, 30.0)), coordinateSystem=system))
    assert [click.ras for click in read_clicks(positive=[path])] == [expected]


def test_a_markup_without_coordinate_system_is_lps_as_in_slicer(a_markups_file: Writer) -> None:
    markup = a_markup(a_point((1.0, 2.0, 3.0)))
    del markup["coordinateSystem"]
    assert read_clicks(positive=[a_markups_file(markup)])[0].ras == (-1.0, -2.0, 3.0)


def test_every_markup_of_a_file_is_read_in_its_own_system(a_markups_file: Writer) -> None:
    path = a_markups_file(
        a_markup(a_point((1.0, 2.0, 3.0), "a"), a_point((4.0, 5.0, 6.0), "b")),
        a_markup(a_point((7.0, 8.0, 9.0), "c"), coordinateSystem="RAS", type="Curve"),
    )
    assert read_clicks(negative=[path]) == [
        Click((-1.0, -2.0, 3.0), False, "a"),
        Click((-4.0, -5.0, 6.0), False, "b"),
        Click((7.0, 8.0, 9.0), False, "c"),
    ]


@pytest.mark.parametrize("unit", ["um", ["um", "UCUM", "micrometer"]])
def test_micrometres_become_millimetres(a_markups_file: Writer, unit: object) -> None:
    path = a_markups_file(a_markup(a_point((-1000.0, -2000.0, 500.0)), coordinateUnits=unit))
    assert read_clicks(positive=[path])[0].ras == pytest.approx((1.0, 2.0, 0.5), abs=1e-12)


def test_points_that_are_not_placed_are_left_out(a_markups_file: Writer) -> None:
    path = a_markups_file(
        a_markup(
            a_point("", "undefined", positionStatus="undefined"),
            a_point((1.0, 1.0, 1.0), "preview", positionStatus="preview"),
            a_point((2.0, 2.0, 2.0), "placed"),
        )
    )
    assert [click.label for click in read_clicks(positive=[path])] == ["placed"]


def test_positive_negative_and_labelled_files_in_this_order(a_markups_file: Writer) -> None:
    positive = a_markups_file(a_markup(a_point(label="-1")), name="p.mrk.json")
    negative = a_markups_file(a_markup(a_point(label="+1")), name="n.mrk.json")
    both = a_markups_file(
        a_markup(a_point(label="pos-1"), a_point(label="neg-2")), name="both.json"
    )
    clicks = read_clicks(labelled=[both], negative=[negative], positive=[positive])
    assert [(click.label, click.positive) for click in clicks] == [
        ("-1", True),
        ("+1", False),
        ("pos-1", True),
        ("neg-2", False),
    ]


@pytest.mark.parametrize(
    ("label", "positive"),
    [
        ("+", True),
        ("+liver", True),
        ("  + 3", True),
        ("positive", True),
        ("Positive-2", True),
        ("pos_1", True),
        ("POS1", True),
        ("-", False),
        ("-1", False),
        ("−2", False),
        ("negative 4", False),
        ("Neg", False),
    ],
)
def test_labels_that_say_their_sign(a_markups_file: Writer, label: str, positive: bool) -> None:
    path = a_markups_file(a_markup(a_point(label=label)))
    assert read_clicks(labelled=[path])[0].positive is positive


@pytest.mark.parametrize("label", ["", "F-1", "position", "negation", "liver +", "1"])
def test_a_label_without_a_sign_is_refused(a_markups_file: Writer, label: str) -> None:
    path = a_markups_file(a_markup(a_point(label=label)))
    with pytest.raises(InputError, match=r"^Start the label of point .* with \+ or -"):
        read_clicks(labelled=[path])


@pytest.mark.parametrize(
    ("markup", "sentence"),
    [
        (a_markup(), "has no placed point"),
        (a_markup(a_point(positionStatus="preview")), "has no placed point"),
        (a_markup(a_point((float("nan"), 0.0, 0.0))), "not three finite numbers"),
        (a_markup(a_point((float("inf"), 0.0, 0.0))), "not three finite numbers"),
        (a_markup(a_point((10**400, 0, 0))), "not three finite numbers"),
        (a_markup(a_point((1.0, 2.0))), "not three finite numbers"),
        (a_markup(a_point((1.0, True, 2.0))), "not three finite numbers"),
        (a_markup(a_point("1 2 3")), "not three finite numbers"),
        (a_markup(a_point(None)), "not three finite numbers"),
        (a_markup(a_point(positionStatus="lost")), "unknown positionStatus lost"),
        (a_markup(a_point(), coordinateSystem="IJK"), "uses the coordinate system IJK"),
        (a_markup(a_point(), coordinateSystem=2), "uses the coordinate system 2"),
        (a_markup(a_point(), coordinateUnits="inch"), "in the unit inch; save it in mm"),
        (a_markup(a_point(), coordinateUnits=[]), "save it in mm"),
        (a_markup(a_point(), type="ROI"), "a markup of type ROI"),
        (a_markup(controlPoints={"a": 1}), "not a list of points"),
        (a_markup(controlPoints=[1, 2]), "not a list of points"),
    ],
)
def test_bad_markups_are_refused_in_one_sentence(
    a_markups_file: Writer, markup: dict[str, Any], sentence: str
) -> None:
    path = a_markups_file(markup)
    with pytest.raises(InputError, match=sentence) as caught:
        read_clicks(positive=[path])
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a JSON file, or is cut off"),
        (b'{"markups": [{"type": "Fidu', "is not a JSON file, or is cut off"),
        (b"[" * 100_000, "is not a JSON file, or is cut off"),
        (b"[1, 2]", "has no list of markups"),
        (b'{"points": []}', "has no list of markups"),
        (b'{"markups": [1]}', "has no list of markups"),
        (b'{"markups": []}', "has no placed point"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not a text file"),
    ],
)
def test_files_that_hold_no_markups(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "p.mrk.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_clicks(positive=[path])


def test_a_newer_schema_is_refused(a_markups_file: Writer) -> None:
    path = a_markups_file(a_markup(a_point()), **{"@schema": SCHEMA.replace("v1.0.3", "v2.0.0")})
    with pytest.raises(InputError, match=r"another schema than Slicer's markups version 1"):
        read_clicks(positive=[path])


def test_a_missing_file_a_folder_and_another_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        read_clicks(positive=[tmp_path / "none.mrk.json"])
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_clicks(positive=[tmp_path / "folder.json"])
    with pytest.raises(InputError, match="neither a markups file"):
        read_clicks(positive=[tmp_path / "points.fcsv"])


# ------------------------------------------------------------------ tables


@pytest.mark.parametrize(
    ("header", "expected"),
    [("r,a,s,label", (1.0, 2.0, 3.0)), ("L, P, S, Label", (-1.0, -2.0, 3.0))],
)
def test_the_header_states_the_coordinate_system(
    a_table: Writer, header: str, expected: tuple[float, float, float]
) -> None:
    path = a_table(header, "1,2,3,+", "", "4,5,6, -a")
    clicks = read_clicks(labelled=[path])
    assert clicks[0] == Click(expected, True, "+")
    assert clicks[1].positive is False
    assert clicks[1].label == "-a"


def test_the_option_states_the_coordinate_system_of_xyz(a_table: Writer) -> None:
    path = a_table("x,y,z", "1,2,3,")  # a trailing comma says nothing
    assert read_clicks(positive=[path], system="RAS")[0].ras == (1.0, 2.0, 3.0)
    assert read_clicks(positive=[path], system="LPS")[0].ras == (-1.0, -2.0, 3.0)


def test_a_table_as_slicer_exports_it(a_table: Writer) -> None:
    path = a_table(
        '\ufeff"label","l","p","s","defined","selected","visible","locked","description"',
        '"F-1",-7.5,8,9,1,1,1,0,"near, the rim"',
        '"F-2",-0,-0,0,0,1,1,0,""',
    )
    assert read_clicks(positive=[path]) == [Click((7.5, -8.0, 9.0), True, "F-1")]


@pytest.mark.parametrize(
    ("lines", "system", "sentence"),
    [
        (("x,y,z", "1,2,3"), None, "Say whether .* is in RAS or LPS"),
        (("r,a,s", "1,2,3"), "LPS", "The columns of .* say RAS, the option LPS"),
        (("1,2,3",), "RAS", "needs a header line"),
        (("r;a;s", "1;2;3"), None, "needs a header line"),
        ((), "RAS", "needs a header line"),
        (("r,a,s",), None, "has no placed point"),
        (("r,a,s", "1,2,nan"), None, "not three finite numbers"),
        (("r,a,s", "1,2"), None, "not three finite numbers"),
        (("r,a,s", "1,2,three"), None, "not three finite numbers"),
        (("r,a,s", "-8,2,63,2,44,0"), None, "more values than the header has columns"),
        (("r,a,s,a", "1,2,3,4"), None, "has the columns r, a, s more than once"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(
    a_table: Writer, lines: tuple[str, ...], system: Any, sentence: str
) -> None:
    path = a_table(*lines)
    with pytest.raises(InputError, match=sentence) as caught:
        read_clicks(positive=[path], system=system)
    assert "\n" not in caught.value.message


def test_written_clicks_are_lps_and_read_back(tmp_path: Path) -> None:
    clicks = [Click((1.5, -20.25, 3.0), True), Click((0.1, 2.0, -7.0), True, "+ tip")]
    path = tmp_path / "liver.mrk.json"
    write_clicks(path, clicks, color=(1.0, 0.5, 0.0))
    (markup,) = json.loads(path.read_text(encoding="utf-8"))["markups"]
    assert markup["coordinateSystem"] == "LPS"
    assert [point["position"] for point in markup["controlPoints"]] == [
        [-1.5, 20.25, 3.0],
        [-0.1, -2.0, -7.0],
    ]
    assert markup["display"]["selectedColor"] == [1.0, 0.5, 0.0]
    read = [Click((1.5, -20.25, 3.0), True, "+1"), clicks[1]]
    assert read_clicks(positive=[path]) == read
    assert read_clicks(labelled=[path]) == read
    assert [p.name for p in tmp_path.iterdir()] == ["liver.mrk.json"]


def test_a_written_negative_click_says_so(tmp_path: Path) -> None:
    path = tmp_path / "outside.mrk.json"
    write_clicks(path, [Click((1.0, 2.0, 3.0), False)])
    assert read_clicks(labelled=[path]) == [Click((1.0, 2.0, 3.0), False, "-1")]
    assert "display" not in json.loads(path.read_text(encoding="utf-8"))["markups"][0]


@pytest.mark.parametrize(
    ("name", "clicks", "sentence"),
    [
        ("a.json", [Click((1.0, 2.0, 3.0), True)], "needs the ending .mrk.json"),
        ("a.mrk.json", [], "no click to write"),
        ("missing/a.mrk.json", [Click((1.0, 2.0, 3.0), True)], "does not exist"),
    ],
)
def test_clicks_that_cannot_be_written(
    tmp_path: Path, name: str, clicks: list[Click], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        write_clicks(tmp_path / name, clicks)
    assert list(tmp_path.iterdir()) == []
