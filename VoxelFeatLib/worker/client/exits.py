"""Why a worker ended or could not be started, in words for the user."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True)
class End:
    """How a worker's process ended.

    Attributes:
        code: Its exit code, negative for a signal; None when it could not be started or had to be
            ended.
        reason: Why it could not be started or had to be ended; otherwise empty.
        last_line: The last line that it wrote to its log; may be empty.
    """

    code: int | None
    reason: str = ""
    last_line: str = ""

    @property
    def cause(self) -> str:
        """Some words, such as "exit code 1"."""
        if self.code is None:
            return self.reason
        if self.code < 0:
            return f"killed by {_signal_name(-self.code)}"
        # Windows tells a crash by a status such as 0xC0000005.
        return f"exit code {self.code if self.code < 1 << 16 else hex(self.code)}"

    @property
    def start_failure(self) -> str:
        """The sentence for a worker that never answered."""
        why = (self.reason or self.last_line or self.cause).strip().rstrip(".")
        return f"The worker could not be started: {why}."

    @property
    def start_hint(self) -> str:
        """What to try when it never answered."""
        if self.code is None:
            return "Check the worker's command."
        if self.code == 127:
            return "Install VoxelFeat on that machine, or give the full path of its program."
        if self.code == 255:
            return "Check that the host can be reached and lets you in without a password."
        if "No module named" in self.last_line:
            return "Install what is missing for the Python that runs the worker."
        return "The worker's log tells more."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
