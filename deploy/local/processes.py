"""Processes of the local stack: started apart, found again by id and start time, ended gently.

A process id alone is not enough to end a process: the system gives ids away again. Only a process
with the recorded id *and* start time is ever signalled.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_START_TIME_FIELD = 19
"""Index after the command name in /proc/<pid>/stat (field 22 of proc(5))."""


@dataclass(frozen=True)
class Recorded:
    """A process as the stack remembers it."""

    name: str
    pid: int
    started: str
    """When the system says that it started; compared as text only."""


def start(
    name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, fd: int | None = None
) -> Recorded:
    """Start a process in its own session, with only these variables and this descriptor.

    Raises:
        OSError: when it cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as output:
        process = subprocess.Popen(  # noqa: S603 -- the command is the stack's own
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=() if fd is None else (fd,),
            start_new_session=True,
            umask=0o077,
        )
    started = start_time(process.pid)
    # It outlives this object on purpose; `stop` ends it.
    process.returncode = 0
    return Recorded(name, process.pid, started or "ended")


def start_time(pid: int) -> str | None:
    """Return when a running process started; None when there is none, or it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[_START_TIME_FIELD]
    ps = shutil.which("ps") or "/bin/ps"
    found = subprocess.run(  # noqa: S603 -- fixed command, a number
        [ps, "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def is_running(process: Recorded) -> bool:
    """Tell whether exactly this process still runs."""
    return start_time(process.pid) == process.started


def stop(process: Recorded) -> bool:
    """End a process: ask, wait, then insist. Return whether it was running.

    The process is ended when this returns.
    """
    if not is_running(process):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return True
        if _wait(process):
            return True
    raise TimeoutError(f"process {process.pid} ({process.name}) does not end")


def _wait(process: Recorded) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return True
        try:
            select.select([descriptor], [], [], STOP_SECONDS)
        finally:
            os.close(descriptor)
    while is_running(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
