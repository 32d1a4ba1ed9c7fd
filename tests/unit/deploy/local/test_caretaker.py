from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.processes import start_time

ROOT = Path(__file__).resolve().parents[4]
WAIT = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
def room() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(WAIT) as process:
        yield process
        process.kill()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "plaintext").write_bytes(b"of a patient")
    return folder


def caretaker(folder: Path, room: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.local.caretaker", str(folder), str(room)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
    )


def test_a_deployer_that_disappears_leaves_neither_room_nor_plaintext(
    room: subprocess.Popen[bytes], scratch: Path
) -> None:
    with caretaker(scratch, room.pid) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0
    assert room.wait() == -9
    assert not scratch.exists()


def test_a_deployer_that_says_done_has_cleaned_up_itself(
    room: subprocess.Popen[bytes], scratch: Path
) -> None:
    with caretaker(scratch, room.pid) as process:
        process.communicate(b"done\n")
    assert start_time(room.pid) is not None
    assert scratch.exists()


def test_a_room_that_has_ended_is_not_looked_for(scratch: Path) -> None:
    with caretaker(scratch, 2**22 - 3) as process:
        process.communicate(b"")
        assert process.returncode == 0
    assert not scratch.exists()
