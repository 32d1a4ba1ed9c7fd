from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from policies.engine.workers import MEMORY_BYTES, Workers
from policies.errors import PolicyError
from tests.party import GOOD, module, text

LONG = (
    "some a in numbers.range(1, 1000)\n\tsome b in numbers.range(1, 1000)\n\t"
    "some c in numbers.range(1, 1000)\n\ta + b + c == 0"
)


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.close()


def codes(workers: Workers, data: bytes, document: str = "{}") -> list[str]:
    found = workers.evaluate(data.decode(), package="hospital_a", document=document)
    return [reason.code for reason in found.deny]


def test_a_module_denies_and_warns_over_its_input(workers: Workers) -> None:
    few = '{"contract": {"datasets": [{"units": 399}]}}'
    found = workers.evaluate(GOOD, package="hospital_a", document=few)
    (reason,) = found.deny
    assert reason.msg == "expected at least 400 patients, got 399"
    assert found.warn == ()
    long = '{"question":"training","pipeline":{"stages":[{"path":"/pipeline/1","steps":6}]}}'
    found = workers.evaluate(GOOD, package="hospital_a", document=long)
    assert [reason.msg for reason in found.warn] == ["6 steps"]


def test_no_process_runs_before_the_first_request() -> None:
    assert Workers()._idle == []


def test_a_process_is_used_again(workers: Workers) -> None:
    codes(workers, module())
    (first,) = workers._idle
    codes(workers, module())
    assert workers._idle == [first]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Missing package"),
        (module("1 / 0 == 1"), "divide by zero"),
        (module(LONG), "too long"),
        (module("some x in numbers.range(1, 100000000)\n\tx == 0"), "memory"),
        (module("f(1)") + b"f(x) := f(x + 1)\n", "memory"),
        (module("x := " + "[" * 15000 + "]" * 15000), "long|memory"),
        (module(name="other"), "no set `deny`"),
        (b"package depa.party.hospital_a\ndeny := 1\n", "got something else"),
        (b'package depa.party.hospital_a\ndeny contains "no"\n', "got something else"),
        (module(path="7"), "got something else"),
        (module("some i in numbers.range(1, 51)", msg='sprintf("%v", [i])'), "at most 50"),
        (b"package depa.party.hospital_a\ndeny contains 1 if false\nwarn := 1\n", "something else"),
    ],
)
def test_whatever_goes_wrong_is_an_error_and_the_next_module_works(
    workers: Workers, data: bytes, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        codes(workers, data)
    assert codes(workers, module()) == ["PARTY_ANYTHING"]


def test_an_error_shows_no_frames_and_no_source(workers: Workers) -> None:
    with pytest.raises(PolicyError) as caught:
        codes(workers, module('x := "hush"\n\t1 / 0 == 1'))
    for hidden in ("hush", "backtrace", "unknown", "worker.py"):
        assert hidden not in str(caught.value)


def test_a_module_sees_no_environment_of_ours(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPA_SERVICE_PASSPHRASE", "hush")
    found = workers.evaluate(
        module(msg="sprintf(`%v`, [opa.runtime()])").decode(), package="hospital_a", document="{}"
    )
    assert "hush" not in found.deny[0].msg
    environment = Path(f"/proc/{workers._idle[0]._process.pid}/environ").read_bytes()
    assert environment == b"MIMALLOC_ARENA_RESERVE=0\0"


def test_a_worker_holds_pipes_and_nothing_else(workers: Workers) -> None:
    with socket.socket() as ours:
        ours.set_inheritable(True)
        os.set_inheritable(ours.fileno(), True)
        codes(workers, module())
        proc = Path("/proc", str(workers._idle[0]._process.pid))
        kinds = {path.name: str(path.readlink()) for path in (proc / "fd").iterdir()}
    assert sorted(kinds) == ["0", "1", "2"]
    assert kinds["0"].startswith("pipe:")
    assert kinds["1"].startswith("pipe:")
    assert kinds["2"] == "/dev/null"
    assert str((proc / "cwd").readlink()) == "/"


def test_a_module_cannot_reach_a_server(workers: Workers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        url = text(f"http://127.0.0.1:{server.getsockname()[1]}/")
        call = f'http.send({{"method": "get", "url": {url}}}).status_code == 200'
        assert codes(workers, module(call)) == []
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_killed_worker_is_an_error_and_another_one_takes_its_place(workers: Workers) -> None:
    codes(workers, module())
    process = workers._idle[0]._process
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert codes(workers, module()) == ["PARTY_ANYTHING"]
    assert workers._idle[0]._process.pid != process.pid


def test_a_worker_that_does_not_answer_is_killed_with_its_forks() -> None:
    workers = Workers()
    codes(workers, module())
    pid = workers._idle[0]._process.pid
    # Less than the processor time after which the worker itself would give up.
    workers._wall = 0.1
    began = time.monotonic()
    with pytest.raises(PolicyError, match="too long"):
        codes(workers, module(LONG))
    assert time.monotonic() - began < 5
    while running(pid):
        assert time.monotonic() - began < 5
    assert workers._idle == []
    workers.close()


def running(group: int) -> list[str]:
    """Return the processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(path.parent.name)
    return found


def test_many_threads_share_a_few_processes(workers: Workers) -> None:
    answers: list[list[str]] = []

    def ask() -> None:
        answers.append(codes(workers, module()))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [["PARTY_ANYTHING"]] * 12
    assert 1 <= len(workers._idle) <= 2


def test_a_fork_of_this_process_starts_a_worker_of_its_own(workers: Workers) -> None:
    codes(workers, module())
    first = workers._idle[0]._process.pid
    child = os.fork()
    if child == 0:
        status = 1
        try:
            answer = codes(workers, module())
            own = workers._idle[0]._process.pid
            workers.close()
            status = 0 if answer == ["PARTY_ANYTHING"] and own != first else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert codes(workers, module()) == ["PARTY_ANYTHING"]
    assert workers._idle[0]._process.pid == first


def test_memory_of_a_fork_is_bounded(workers: Workers) -> None:
    codes(workers, module())
    # What the allocator reserves counts as memory, so little may be reserved.
    status = Path(f"/proc/{workers._idle[0]._process.pid}/status").read_text()
    size = next(line for line in status.splitlines() if line.startswith("VmSize")).split()[1]
    assert int(size) * 1024 < MEMORY_BYTES / 2
