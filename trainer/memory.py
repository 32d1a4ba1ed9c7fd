"""Memory as the operating system sees it: freed memory that is kept, and processes killed for it.

glibc gives every big tensor back to the kernel and pays for its page faults again; two limits stop
that, which makes training on a CPU about a quarter faster. Elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LIMIT: Final = 1 << 30
_COUNTERS: Final = Path("/proc/vmstat")


def keep_freed_memory() -> bool:
    """Raise glibc's limits to 1 GB; return whether there was a glibc to tell."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    accepted = [mallopt(option, _LIMIT) for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD)]
    return all(accepted)


def processes_killed_for_memory(counters: Path = _COUNTERS) -> int:
    """Return how many processes this machine's kernel has killed for want of memory; 0 if unknown.

    A container's limit counts as well as the machine's.
    """
    try:
        lines = counters.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
