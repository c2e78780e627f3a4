from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.atomic import replacing


def test_the_new_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "mask.nii.gz"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".mask.nii.gz")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_ends_in_lower_case(tmp_path):
    path = tmp_path / "Mask.NII.GZ"
    with replacing(path) as temporary:  # ITK knows no format named .NII.GZ
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_removed_once_it_is_old(tmp_path):
    path = tmp_path / "mask.nrrd"
    names = [".0123abcd.part.mask.nrrd", ".4567abcd.part.mask.nrrd", ".0123abcd.part.a.nrrd"]
    old, young, other = (tmp_path / name for name in names)
    for leftover in (old, young, other):
        leftover.write_text("half")
    for leftover in (old, other):
        os.utime(leftover, (time.time() - 7200,) * 2)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([path, young, other])


def write_half(path, error):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_old_file_survives_an_error(tmp_path, error):
    path = tmp_path / "mask.nrrd"
    path.write_text("old")
    with pytest.raises(error):
        write_half(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_disk_is_one_sentence(tmp_path):
    path = tmp_path / "mask.nrrd"
    with pytest.raises(InputError, match=r"Cannot write .*No space left") as caught:
        write_half(path, OSError(28, "No space left on device"))
    assert "left as it was" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named_before_any_work(tmp_path):
    with pytest.raises(InputError, match=r"folder .*nowhere does not exist"):
        write_half(tmp_path / "nowhere" / "mask.nrrd", AssertionError("work was begun"))


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="bytes that are no text"):
        write_half(tmp_path / "a\udcff.nrrd", AssertionError("work was begun"))


def test_the_old_file_survives_a_kill(tmp_path):
    path = tmp_path / "mask.nrrd"
    path.write_text("old")
    script = (
        "import os, signal, sys\n"
        "from VoxelFeatLib.imaging.atomic import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=_env(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
