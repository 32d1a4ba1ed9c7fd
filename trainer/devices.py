"""What training computes on: the runtime looks, and no document says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import torch

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""`<microseconds> <period>` or `max <period>`: the processor time of a container (cgroup v2)."""
_THREADS: Final = "OMP_NUM_THREADS"


def choose_device() -> torch.device:
    """Return the accelerator if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_processors(*, quota: Path = _QUOTA) -> int:
    """Use as many threads as there are processors for this container; return how many.

    PyTorch counts the machine's processors. More threads than the container may run take turns, and
    make a step several times slower. Whoever sets OMP_NUM_THREADS is heeded.
    """
    if _THREADS not in os.environ:
        torch.set_num_threads(max(1, min(_allowed(quota), len(os.sched_getaffinity(0)))))
    return torch.get_num_threads()


def _allowed(quota: Path) -> int:
    try:
        limit, period = quota.read_text().split()
        return max(1, int(limit) // int(period))
    except (OSError, ValueError):
        return os.cpu_count() or 1
