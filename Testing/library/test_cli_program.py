"""The program around the commands: exit codes, messages, progress, what users type."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

import VoxelFeatLib
from VoxelFeatLib.cli import console, options
from VoxelFeatLib.cli.app import new_program
from VoxelFeatLib.devices.choice import device_named
from VoxelFeatLib.errors import Cancelled, FieldFileError, InputError
from VoxelFeatLib.imaging.atomic import replacing


def run(error: BaseException | None, *arguments: str) -> tuple[int, str, str]:
    """Run a program whose one command raises `error`."""
    program = new_program()

    @program.command()
    def work() -> None:
        if error is not None:
            raise error
        console.print_json({"done": True})

    result = CliRunner().invoke(program, ["work", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_work_done_is_0_and_its_result_is_on_stdout() -> None:
    code, out, err = run(None)
    assert (code, json.loads(out), err) == (0, {"done": True}, "")


@pytest.mark.parametrize("kind", [InputError, FieldFileError])
def test_an_error_for_the_user_is_2_with_sentence_and_hint(kind: type[InputError]) -> None:
    code, out, err = run(kind("The file [red]a[/].nrrd is empty.", "Export it again."))
    assert (code, out) == (2, "")
    assert err == "Error: The file [red]a[/].nrrd is empty.\nExport it again.\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "Cancelled; nothing was left half-written.\n"),
        (Cancelled("Cancelled; go on with --resume a.checkpoint"), None),
    ],
)
def test_ctrl_c_is_130(error: BaseException, said: str | None) -> None:
    code, out, err = run(error)
    assert (code, out) == (130, "")
    assert err == (said or f"{error}\n")


def test_ctrl_c_ends_at_the_next_step_and_pressed_twice_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with console.ctrl_c() as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("loading", "arguments"),
    [
        ("typer", ["--version"]),
        ("SimpleITK", ["presets"]),
        ("torch", ["presets"]),
        ("msgpack", ["worker"]),
    ],
)
def test_ctrl_c_while_the_program_loads_is_130(loading: str, arguments: list[str]) -> None:
    script = (
        "import signal, sys\n"
        "class Pressing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {loading!r}: signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Pressing())\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "from VoxelFeatLib.__main__ import main\n"
        "main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "Cancelled; nothing was left half-written.\n"


def test_a_wrong_option_is_2() -> None:
    code, out, err = run(None, "--colour")
    assert (code, out) == (2, "")
    assert "No such option: --colour" in err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "/a/b.csv"), "Cannot use /a/b.csv: Permission"),
        (OSError(28, "No space left on device"), "Cannot use the output: No space left"),
        (MemoryError(), "There is too little free memory for this: close"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
            "There is too little free memory for this: close",
        ),
    ],
)
def test_what_the_system_refuses_is_2_and_a_sentence(error: Exception, sentence: str) -> None:
    code, out, err = run(error)
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: {sentence}")


@pytest.mark.parametrize("defect", [ZeroDivisionError, RuntimeError])
def test_a_defect_is_not_hidden(defect: type[Exception]) -> None:
    with pytest.raises(defect):
        run(defect())


def test_version_and_help_come_without_torch() -> None:
    script = (
        "import sys\nfrom VoxelFeatLib.cli.app import new_program\n"
        "try: new_program()(['--version'])\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [VoxelFeatLib.__version__, "False"]


def test_ctrl_c_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_text("old")
    program = new_program()

    @program.command()
    def work() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    assert CliRunner().invoke(program, ["work"]).exit_code == 130
    assert [file.name for file in tmp_path.iterdir()] == ["a.nrrd"]
    assert path.read_text() == "old"


# ------------------------------------------------------------------ printing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_json_refuses_what_json_lacks() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        console.print_json({"dice": float("nan")})


@pytest.mark.parametrize(
    ("seconds_between", "expected"),
    [
        (0.0, ["Fitting: 50 %, 3 min 05 s left, agreement 0.91", "Fitting: done in 0.0 s"]),
        (60.0, ["Fitting: done in 0.0 s"]),
    ],
)
def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds_between: float,
    expected: list[str],
) -> None:
    monkeypatch.setattr(console, "_LOG_SECONDS", seconds_between)
    with console.bar("Fitting") as bar:
        bar.update(2, 4, seconds_left=185.0, detail="agreement 0.91")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == expected


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(console, "messages", lambda: terminal)
    with console.bar("Fitting") as bar:
        bar.update(1, 4, seconds_left=63.0, detail="agreement 0.91")
    shown = screen.getvalue()
    assert "Fitting" in shown
    assert "100%" in shown
    assert "done in 0.0 s" in shown


def test_brackets_in_names_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(title="[/blue].nrrd")
    table.add_column("name")
    table.add_row("kidney [left][/b]")
    console.print_table(table)
    out = capsys.readouterr().out
    assert "[/blue].nrrd" in out
    assert "kidney [left][/b]" in out
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(console, "messages", lambda: terminal)
    # The last words beside the bar, told like all before them.
    monkeypatch.setattr(console, "duration", lambda _seconds: "case [/b]")
    with console.bar("Clicking [/a]"):
        pass
    assert "Clicking [/a]" in screen.getvalue()
    assert "case [/b]" in screen.getvalue()


# ------------------------------------------------------------------ what users type


def test_positions_boxes_and_named_files() -> None:
    assert options.position("-1, 2.5,3e1") == (-1.0, 2.5, 30.0)
    assert options.corners("0,1,2,3,4,5") == ((0.0, 1.0, 2.0), (3.0, 4.0, 5.0))
    assert options.named_file("left kidney = a/b=c.json") == ("left kidney", Path("a/b=c.json"))
    assert [options.coordinate_system(text) for text in (None, "ras", "LPS")] == [
        None,
        "RAS",
        "LPS",
    ]


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "1,2,x", "1,2,nan", "1;2;3", "1,2,inf"])
def test_a_bad_position_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is no position: write R,A,S in millimetres\."):
        options.position(text)


def test_other_bad_texts_are_refused() -> None:
    with pytest.raises(InputError, match="is no box"):
        options.corners("1,2,3")
    for text in ("liver", "=a.json", "liver="):
        with pytest.raises(InputError, match="write NAME=FILE"):
            options.named_file(text)
    with pytest.raises(InputError, match="write RAS or LPS"):
        options.coordinate_system("IJK")


def test_a_device_that_holds_no_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="The device “meta” cannot be used"):
        device_named("meta")


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    assert options.segmentation_path(tmp_path / "a.seg.nrrd") == tmp_path / "a.seg.nrrd"
    assert options.field_path(tmp_path / "a.voxelfeat") == tmp_path / "a.voxelfeat"
    with pytest.raises(InputError, match=r"with one of the endings \.nii\.gz, \.nii, \.nrrd"):
        options.image_path(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.seg\.nrrd would be opened as a segmentation"):
        options.image_path(tmp_path / "a.seg.nrrd")
    with pytest.raises(InputError, match="does not exist; create it or choose another"):
        options.image_path(tmp_path / "none" / "a.nrrd")
    (tmp_path / "folder.nrrd").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        options.image_path(tmp_path / "folder.nrrd")
