"""Folders that hold plaintext for a while."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01


def remove_folder(folder: Path) -> None:
    """Remove a folder, also while a process that is just ending still writes into it."""
    deadline = time.monotonic() + _SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(_POLL_SECONDS)
