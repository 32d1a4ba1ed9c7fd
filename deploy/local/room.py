"""Deploy a clean room on the simulated machine: one process, watched to its end, nothing left over.

The room's scratch folder lies in memory (/dev/shm) where there is such a thing. It is removed when
the room has ended, however it ended; a caretaker process removes it even when this process is
killed.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deploy.local.hardware import UnsafeSimulatedMachine
from deploy.local.launch import launch
from deploy.local.launch_policy import TRAINER_COMMAND, packages_root, parse_launch_policy
from deploy.local.scratch import remove_folder
from policies.errors import DepaError, DocumentError
from policies.wire.base import load_json
from policies.wire.run import Progress

MAX_LINE_BYTES = 64 * 1024
STOP_SECONDS = 20.0
_MEMORY = Path("/dev/shm")  # noqa: S108 -- memory is the point; the folder below is private


@dataclass(frozen=True)
class Deployment:
    """What a clean room is started with."""

    launch_policy: str
    """Text of the launch policy; its digest is in the evidence."""
    machine: Path
    """Home of the simulated machine."""
    service_url: str
    attestation_url: str
    ca_file: Path | None
    run: str
    run_token: str = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """How a clean room ended."""

    exit_code: int
    """That of the room; 128 and the signal's number if it was killed."""
    code: str
    """Slug of what was refused; empty on success."""
    message: str
    hint: str = ""


class Interrupted(DepaError):
    """The deployer was told to stop; the room was stopped too."""

    code = "interrupted"
    exit_code = 130


def run_room(deployment: Deployment, *, on_progress: Callable[[Progress], None]) -> Ended:
    """Start the clean room, tell its progress, and return how it ended.

    Raises:
        EvidenceError: when the launch policy does not allow this launch.
        Interrupted: when this process was told to stop.
    """
    with _scratch(deployment.run) as scratch, _stoppable():
        machine = UnsafeSimulatedMachine(deployment.machine, now=datetime.now(UTC))
        process = launch(
            deployment.launch_policy,
            machine=machine,
            command=TRAINER_COMMAND,
            env=_environment(deployment, scratch / "data"),
            scratch=scratch / "room",
        )
        try:
            with _caretaker(scratch, process.pid):
                return _watch(process, on_progress)
        finally:
            _end(process)


def _environment(deployment: Deployment, scratch: Path) -> dict[str, str]:
    pinned = parse_launch_policy(deployment.launch_policy).pinned
    env = {
        **pinned,
        "DEPA_SERVICE_URL": deployment.service_url,
        "DEPA_ATTESTATION_URL": deployment.attestation_url,
        "DEPA_RUN": deployment.run,
        "DEPA_RUN_TOKEN": deployment.run_token,
        "DEPA_SCRATCH": str(scratch),
    }
    return env | ({} if deployment.ca_file is None else {"DEPA_CA_FILE": str(deployment.ca_file)})


@contextmanager
def _scratch(run: str) -> Iterator[Path]:
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    folder = parent / f"depa-{run}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove_folder(folder)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what has to be removed is removed."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _caretaker(scratch: Path, room: int) -> Iterator[None]:
    """Keep a process that ends the room and removes the folder if this one disappears.

    It notices by the end of its standard input, which only this process holds open.
    """
    command = [sys.executable, "-m", "deploy.local.caretaker", str(scratch), str(room)]
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(packages_root())}
    process = subprocess.Popen(  # noqa: S603 -- this interpreter and our own module
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.communicate(b"done\n")


def _watch(process: subprocess.Popen[bytes], on_progress: Callable[[Progress], None]) -> Ended:
    said: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(process, said), daemon=True)
    reader.start()
    for line in process.stdout or ():
        with suppress(DocumentError):
            on_progress(Progress.parse(line[:MAX_LINE_BYTES]))
    code = process.wait()
    reader.join()
    if code == 0:
        return Ended(0, "", "")
    return Ended(code if code > 0 else 128 - code, **_last_error(said))


def _drain(process: subprocess.Popen[bytes], said: list[bytes]) -> None:
    for line in process.stderr or ():
        said.append(line[:MAX_LINE_BYTES])
        del said[:-50]


def _last_error(said: list[bytes]) -> dict[str, str]:
    for line in reversed(said):
        with suppress(DocumentError):
            value: Mapping[str, object] = load_json(line, kind="error")
            if isinstance(value, dict):
                names = {"code": "error", "message": "message", "hint": "hint"}
                return {field: str(value.get(name, "")) for field, name in names.items()}
    last = said[-1].decode("utf-8", "replace").strip() if said else "it said nothing"
    return {"code": "ended", "message": last}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
