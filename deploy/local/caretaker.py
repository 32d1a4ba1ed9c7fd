"""End a clean room and remove its folder when its deployer has disappeared.

    python -m deploy.local.caretaker FOLDER PID

Reads standard input: `done` says that the deployer has cleaned up itself; its end without that,
that the deployer is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from deploy.local.processes import start_time
from deploy.local.scratch import remove_folder

_POLL_SECONDS = 0.01


def main() -> None:
    """Wait for the deployer's word or end."""
    folder, room = Path(sys.argv[1]), int(sys.argv[2])
    started = start_time(room)
    # Ctrl-C at the deployer's terminal is the deployer's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stdin.readline().strip() == "done":
        return
    if started is not None and start_time(room) == started:
        with suppress(ProcessLookupError):
            os.kill(room, signal.SIGKILL)
        # Until it has ended it may still write into the folder.
        while start_time(room) == started:
            time.sleep(_POLL_SECONDS)
    remove_folder(folder)


if __name__ == "__main__":
    main()
