"""The training process seen from the clean room: started, listened to, and started again if killed.

A process that was killed from outside goes on from its last checkpoint, a few times. One that ended
by a fault of its own does not: what broke it may be in the data that it drew, and drawing again
until nothing breaks would not be what the accountant has counted.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

from policies.accounting import PrivacyPlan
from policies.agreement import Agreement
from policies.errors import DocumentError
from trainer.faults import OUT_OF_MEMORY, PROCESS_DIED, TrainingFailed
from trainer.memory import processes_killed_for_memory
from trainer.messages import HeldKey, Job, Plan, Said, Stepped
from trainer.sealed.keys import DataKey

COMMAND: Final = (sys.executable, "-m", "trainer.worker")
MAX_RESTARTS: Final = 3
_MAX_LINE_BYTES: Final = 64 * 1024


@dataclass
class Training:
    """The training of one run, in as many processes as it takes."""

    job: Job = field(repr=False)
    on_ready: Callable[[], None]
    on_step: Callable[[Stepped, int], None]
    """Told of each step once, and of how often a process was started again before."""
    command: Sequence[str] = COMMAND
    killed_for_memory: Callable[[], int] = processes_killed_for_memory
    reached: int | None = None
    """The last step that was taken, before any loss of steps; None until the data are read."""
    restarts: int = 0
    steps: int | None = None
    """Of the model; None until it is written."""
    _first: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        """Start the first process, which loads its libraries while its data are unsealed."""
        self._first = _start(self.command)
        return self

    def __exit__(self, *_: object) -> None:
        if self._first is not None:
            _end(self._first)

    def hold(self, keys: Mapping[str, DataKey]) -> None:
        """Say which files stay sealed while they are trained on, and what opens them."""
        self.job = self.job.model_copy(update={"held": held_keys(keys)})

    def run(self) -> int:
        """Train, and return the number of steps.

        Raises:
            TrainingFailed: when no model comes of it; `reached` tells how far it came.
        """
        while True:
            before = self.killed_for_memory()
            process, self._first = self._first or _start(self.command), None
            try:
                _tell(process, self.job)
                self._hear(process)
                code = process.wait()
            finally:
                _end(process)
            if self.steps is not None:
                return self.steps
            if code != -signal.SIGKILL:
                raise TrainingFailed(PROCESS_DIED)
            if self.killed_for_memory() > before:
                raise TrainingFailed(OUT_OF_MEMORY)
            if self.restarts == MAX_RESTARTS:
                raise TrainingFailed(PROCESS_DIED)
            self.restarts += 1

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        """Take in every word until the process says no more.

        Raises:
            TrainingFailed: if it says that it failed, or something that is none of its words.
        """
        for line in iter(lambda: _stream(process.stdout).readline(_MAX_LINE_BYTES), b""):
            try:
                said = Said.parse(line)
            except DocumentError:
                # What a process was killed in the middle of has no end.
                if not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
                    return
                raise TrainingFailed(PROCESS_DIED) from None
            self._take(said)

    def _take(self, said: Said) -> None:
        if said.failed is not None:
            raise TrainingFailed(said.failed)
        if said.kept is not None:
            self.job = self.job.model_copy(update={"kept": said.kept})
        if said.trained is not None:
            self.steps = said.trained
        if said.ready and self.reached is None:
            self.reached = 0
            self.on_ready()
        step = said.stepped
        if step is not None and step.step > (self.reached or 0):
            self.reached = step.step
            self.on_step(step, self.restarts)


def job_of(agreement: Agreement, *, plan: PrivacyPlan | None, scratch: Path) -> Job:
    """Return what the training process of an agreement is told, with a new key."""
    return Job(
        run=agreement.run,
        contract=agreement.contract,
        pipeline=agreement.pipeline,
        plan=None if plan is None else Plan.of(plan),
        scratch=str(scratch),
        checkpoint_key=base64.b64encode(DataKey.generate().keyset).decode(),
    )


def held_keys(keys: Mapping[str, DataKey]) -> tuple[HeldKey, ...] | None:
    """Return data keys as a job names them."""
    held = (
        HeldKey(id=name, key=base64.b64encode(key.keyset).decode()) for name, key in keys.items()
    )
    return tuple(held) or None


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 -- this interpreter and our own module
        command,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _tell(process: subprocess.Popen[bytes], job: Job) -> None:
    # It may be killed before it has read its job.
    with suppress(BrokenPipeError):
        _stream(process.stdin).write(job.canonical() + b"\n")
        _stream(process.stdin).flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            _stream(stream).close()


def _environment() -> dict[str, str]:
    # Nothing of what the clean room was started with, such as its capability.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEPA_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started with pipes")
    return stream
