from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.processes import Recorded, is_running, start, start_time, stop

WAIT = [sys.executable, "-c", "import sys; sys.stdin = open(0); import signal; signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\n"
    "while True: signal.pause()",
]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Recorded]:
    found = start("waiting", WAIT, env={}, log=tmp_path / "logs" / "log")
    yield found
    stop(found)


def test_a_process_is_ended_once(process: Recorded) -> None:
    assert is_running(process)
    assert stop(process)
    assert not is_running(process)
    assert not stop(process)


def test_a_process_with_the_same_id_but_another_start_is_left_alone(process: Recorded) -> None:
    stranger = replace(process, started="1")
    assert not is_running(stranger)
    assert not stop(stranger)
    assert is_running(process)


def test_a_process_that_ignores_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.processes.STOP_SECONDS", 0.2)
    stubborn = start("stubborn", STUBBORN, env={}, log=tmp_path / "log")
    assert stop(stubborn)
    assert not is_running(stubborn)


def test_an_ended_process_that_nobody_has_waited_for_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    child.stdout.close()
    while start_time(child.pid) is not None:
        pass
    assert child.wait() == 0


def test_a_process_sees_only_the_variables_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPA_PASSPHRASE", "of somebody else")
    show = [sys.executable, "-c", "import os; print(sorted(os.environ))"]
    found = start("show", show, env={"GIVEN": "1"}, log=tmp_path / "log")
    while is_running(found):
        pass
    said = (tmp_path / "log").read_text()
    assert "GIVEN" in said
    assert "DEPA_PASSPHRASE" not in said
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0
