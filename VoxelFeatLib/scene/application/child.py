"""Slicer's Python as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import slicer

# Loading torch for the first time takes a slow disk minutes.
_MOST_SECONDS = 300.0


def python_slicer() -> str:
    """Return Slicer's Python; ``sys.executable`` is Slicer itself in there."""
    name = "PythonSlicer.exe" if os.name == "nt" else "PythonSlicer"
    installed = Path(slicer.app.slicerHome) / "bin" / name
    if installed.is_file():
        return str(installed)
    return shutil.which(name) or str(installed)  # a build of one's own keeps it elsewhere


def run_python(code: str) -> tuple[int, str]:
    """Run a few lines of Python while Slicer stays responsive.

    Returns:
        The exit code, and what was printed; a process that does not end in minutes is killed.
    """
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [python_slicer(), "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows only
        )
        end = time.monotonic() + _MOST_SECONDS
        while process.poll() is None and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
        returned = process.wait()
        printed.seek(0)
        return returned, printed.read().decode("utf-8", errors="replace")
