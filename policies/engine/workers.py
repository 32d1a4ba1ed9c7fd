"""Worker processes for what must not run in this one: parsing and evaluating a provider's rules.

A fork of a worker has little processor time and memory. Whoever waits for it has a clock as well:
a worker that does not answer in time is killed with all its forks, and another one takes its place.
No process is started before the first request.
"""

from __future__ import annotations

import atexit
import functools
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from policies.engine.protocol import PartyVerdict, RawReason
from policies.errors import PolicyError
from policies.wire.base import Wire

CPU_MILLISECONDS: Final = 250
CPU_SECONDS: Final = 1
MEMORY_BYTES: Final = 256 * 1024 * 1024
WALL_SECONDS: Final = 10.0
MAX_PARTY_REASONS: Final = 50
_START_SECONDS: Final = 30.0
_PROCESSES: Final = 2
_MAX_MESSAGE: Final = 8 * 1024 * 1024
_MAX_ERROR: Final = 300
_SCRIPT: Final = Path(__file__).with_name("worker.py")
# The allocator of regorus would reserve a gigabyte, which a limit of memory could not bound.
_ENVIRONMENT: Final = {"MIMALLOC_ARENA_RESERVE": "0"}


class _Request(Wire):
    text: str
    package: str | None = None
    input: str | None = None


class _Answer(Wire):
    failure: str | None = None
    error: str | None = None
    tree: str | None = None
    deny: tuple[RawReason, ...] | None = Field(default=None, max_length=MAX_PARTY_REASONS)
    warn: tuple[RawReason, ...] | None = Field(default=None, max_length=MAX_PARTY_REASONS)


class Workers:
    """A few worker processes; safe to share between threads, each request has one of its own."""

    def __init__(self, *, wall_seconds: float = WALL_SECONDS, processes: int = _PROCESSES) -> None:
        self._wall = wall_seconds
        self._free = threading.Semaphore(processes)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    def evaluate(self, text: str, *, package: str, document: str) -> PartyVerdict:
        """Return what `data.depa.party.<package>` denies and warns of; see `PartyEngine`."""
        answer = self._ask(_Request(text=text, package=package, input=document))
        if answer.deny is None:
            raise PolicyError(f"it has no set `deny` in package depa.party.{package}")
        return PartyVerdict(deny=answer.deny, warn=answer.warn or ())

    def parse(self, text: str) -> str:
        """Return the JSON of a module's tree.

        Raises:
            PolicyError: with what keeps the text from being a module.
        """
        tree = self._ask(_Request(text=text)).tree
        if tree is None:
            raise PolicyError("it has no tree")
        return tree

    def close(self) -> None:
        """End all processes that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def _ask(self, request: _Request) -> _Answer:
        data = request.model_dump_json(exclude_none=True).encode()
        if len(data) > _MAX_MESSAGE:
            raise PolicyError(f"its facts are {len(data)} bytes, the limit is {_MAX_MESSAGE}")
        with self._free:
            worker = self._take()
            try:
                answer = worker.ask(data, seconds=self._wall)
            except BaseException:
                worker.end()
                raise
            with self._lock:
                self._idle.append(worker)
        return _understood(answer)

    def _take(self) -> _Worker:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            return _Worker()
        if worker.is_alive:
            return worker
        worker.end()
        return self._take()


@functools.cache
def shared_workers() -> Workers:
    """Return the workers of this process, which end with it."""
    workers = Workers()
    atexit.register(workers.close)
    return workers


class _Worker:
    """One process, of whoever holds it."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        limits = (str(CPU_MILLISECONDS), str(CPU_SECONDS), str(MEMORY_BYTES))
        self._process = subprocess.Popen(  # noqa: S603 -- this interpreter and our own script
            [sys.executable, "-I", str(_SCRIPT), *limits],
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._receive(time.monotonic() + _START_SECONDS)
        except PolicyError:
            self.end()
            raise PolicyError("no worker could be started") from None

    @property
    def is_alive(self) -> bool:
        """Whether it runs, and was started by this very process and no fork of it."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, request: bytes, *, seconds: float) -> bytes:
        """Return the answer.

        Raises:
            PolicyError: if there is none in time. The worker MUST be ended then.
        """
        deadline = time.monotonic() + seconds
        self._send(request, deadline)
        return self._receive(deadline)

    def end(self) -> None:
        """Kill it with all its forks."""
        if self._owner == os.getpid():
            # Its session holds nothing but itself and its forks.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _send(self, data: bytes, deadline: float) -> None:
        target = self._descriptor(self._process.stdin)
        os.set_blocking(target, False)
        rest = memoryview(struct.pack(">I", len(data)) + data)
        while rest:
            self._wait(deadline, writing=target)
            try:
                rest = rest[os.write(target, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise PolicyError("its process ended without an answer") from None

    def _receive(self, deadline: float) -> bytes:
        (size,) = struct.unpack(">I", self._exactly(4, deadline))
        if size > _MAX_MESSAGE:
            raise PolicyError(f"its answer is {size} bytes, the limit is {_MAX_MESSAGE}")
        return self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        source = self._descriptor(self._process.stdout)
        data = bytearray()
        while len(data) < size:
            self._wait(deadline, reading=source)
            part = os.read(source, min(size - len(data), 65536))
            if not part:
                raise PolicyError("its process ended without an answer")
            data += part
        return bytes(data)

    @staticmethod
    def _wait(deadline: float, *, reading: int | None = None, writing: int | None = None) -> None:
        poll = select.poll()
        if reading is not None:
            poll.register(reading, select.POLLIN)
        if writing is not None:
            poll.register(writing, select.POLLOUT)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise PolicyError("it took too long")

    @staticmethod
    def _descriptor(stream: object) -> int:
        number: int = stream.fileno()  # type: ignore[attr-defined]  # Popen made both pipes
        return number


def _understood(data: bytes) -> _Answer:
    try:
        answer = _Answer.model_validate_json(data)
    except ValidationError:
        raise PolicyError(
            f"expected at most {MAX_PARTY_REASONS} objects of code, path and msg in `deny` and in "
            "`warn`, got something else"
        ) from None
    if answer.failure is not None:
        raise PolicyError(answer.failure)
    if answer.error is not None:
        raise PolicyError(_clean(answer.error))
    return answer


def _clean(error: str) -> str:
    """Return what is wrong and where, without the text around it."""
    lines = [line.strip() for line in error.splitlines()]
    reasons = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    places = [line.removeprefix("-->").strip() for line in lines if line.startswith("-->")]
    message = "; ".join(reasons) or "it does not evaluate"
    return (message + (f" at {places[-1]}" if places else ""))[:_MAX_ERROR]
