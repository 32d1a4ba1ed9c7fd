"""The worker: evaluates one provider's rules, in a process that has nothing to lose.

Run as a script by `policies.engine.workers`, never imported by it: `python -I worker.py`. It holds
no key, no environment and no file, and knows of the project only what comes through its standard
input. Each request is answered by a fork of its own, which has limits of processor time and memory
and ends with its answer, so that one module can neither slow nor see another.

A message is four bytes of length, big-endian, and JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Mapping
from typing import NamedTuple

from regorus import Engine  # type: ignore[attr-defined]  # an extension module without stubs

MAX_MESSAGE = 8 * 1024 * 1024
_READY = b'{"ready":true}'
_FILE = "rules.rego"


class Limits(NamedTuple):
    """What a fork may use."""

    milliseconds: int
    """Processor time to evaluate."""
    seconds: int
    """Processor time in all, or to parse."""
    memory: int
    """Bytes of address space."""


def main() -> None:
    """Answer requests until the other end closes."""
    limits = Limits(*map(int, sys.argv[1:]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _write(1, _READY)
    while (request := _read(0)) is not None:
        _write(1, _forked(request, limits))


def _forked(request: bytes, limits: Limits) -> bytes:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.closerange(0, theirs)
            os.closerange(theirs + 1, theirs + 64)
            _confine(limits)
            _write(theirs, _bounded(_answer(json.loads(request), limits)))
            status = 0
        finally:
            # Neither a panic nor an error leaves the fork by another way.
            os._exit(status)
    os.close(theirs)
    answer = _read(ours)
    os.close(ours)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0 and answer is not None:
        return answer
    return json.dumps({"failure": _ended(code)}).encode()


def _bounded(answer: bytes) -> bytes:
    if len(answer) > MAX_MESSAGE:
        return json.dumps({"failure": "its answer is too large"}).encode()
    return answer


def _confine(limits: Limits) -> None:
    for what, limit in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _answer(request: Mapping[str, str], limits: Limits) -> bytes:
    engine = Engine()
    if "input" in request:
        # Ends the process, too.
        signal.setitimer(signal.ITIMER_PROF, limits.milliseconds / 1000)
    try:
        engine.add_policy(_FILE, request["text"])
        if "input" not in request:
            return json.dumps({"tree": engine.get_ast_as_json()}).encode()
        engine.set_input_json(request["input"])
        found = {name: _set(engine, request["package"], name) for name in ("deny", "warn")}
    except RuntimeError as error:
        return json.dumps({"error": str(error).partition("Stack backtrace")[0]}).encode()
    return json.dumps(found).encode()


def _set(engine: Engine, package: str, name: str) -> object:
    """Return the members of a rule, or None if it has no value."""
    found = json.loads(engine.eval_query_as_json(f"data.depa.party.{package}.{name}"))
    results = found.get("result", [])
    return results[0]["expressions"][0]["value"] if results else None


def _ended(code: int) -> str:
    if code in {-signal.SIGPROF, -signal.SIGXCPU, -signal.SIGKILL}:
        return "it took too long"
    if code in {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS}:
        return "it needs too much memory, or is nested too deeply"
    return "its process ended without an answer"


def _read(source: int) -> bytes | None:
    head = _exactly(source, 4)
    if head is None:
        return None
    (size,) = struct.unpack(">I", head)
    return _exactly(source, size) if size <= MAX_MESSAGE else None


def _exactly(source: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = os.read(source, min(size - len(data), 65536))
        if not part:
            return None
        data += part
    return bytes(data)


def _write(target: int, data: bytes) -> None:
    rest = memoryview(struct.pack(">I", len(data)) + data)
    while rest:
        rest = rest[os.write(target, rest) :]


if __name__ == "__main__":
    main()
