from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from clients.cli import main
from tests.record import Record


@pytest.fixture
def database(tmp_path: Path) -> Path:
    Record(tmp_path, left_out={"revoked"}).log()
    (found,) = tmp_path.glob("*.db")
    return found


def fsck(database: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main.run(["audit", "fsck", f"sqlite:///{database}", "--json"])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_sound_log_is_recomputed(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = fsck(database, capsys)
    assert code == 0
    assert json.loads(out)["entries"] == 14


def test_a_changed_entry_of_the_database_is_named(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE ledger_entry SET encoded = zeroblob(40) WHERE rowid = 3")
    connection.close()
    code, _, err = fsck(database, capsys)
    assert code == 4
    assert "the log is damaged: entry 1." in json.loads(err.splitlines()[-1])["detail"]
