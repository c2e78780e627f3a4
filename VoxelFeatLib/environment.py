"""What has to be said before torch loads."""

from __future__ import annotations

import os


def prepare_for_torch() -> None:
    """Set environment variables that torch reads when it loads; a user's own stay.

    Threads wait asleep: where others use the cores too, threads that wait spinning hold up the very
    work they wait for, and a fit takes many times as long. What a torch cannot do on an Apple GPU
    is done on the processor: trilinear sampling came with torch 2.9, antialiasing with 2.7.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
