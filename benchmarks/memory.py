"""The peak memory of this process alone."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_bytes() -> int:
    """The most memory this program ever held resident, in bytes.

    Linux hands ``ru_maxrss`` of whoever started a process on to it, so a benchmark begun by a
    large test run would report that run's memory; ``VmHWM`` starts anew with each program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
