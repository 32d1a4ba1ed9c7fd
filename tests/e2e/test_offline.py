"""What can be said of a play afterwards, by commands that reach neither stack nor network."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import rfc8785

from clients.cli.main import run
from tests.e2e.played import Played


def run_again(
    played: Played, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str]:
    """Run a command on what the demo left, without stack or passphrase; return its problem."""
    capsys.readouterr()
    home = played.folder / "homes" / "developer"
    code = run([*map(str, arguments), "--json", "--home", str(home)])
    return code, capsys.readouterr().err


def test_the_same_pipeline_is_denied_offline_before_it_is_submitted(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    home = played.folder / "homes" / "developer"
    contract = ("--contract", home / "contract.json", "--offline")
    code, said = run_again(played, capsys, "run", "check", home / "greedy.json", *contract)
    assert code == 4
    reason = json.loads(said)["reasons"][0]
    assert reason["code"] == "EPSILON_EXCEEDED"
    assert reason["path"] == "/pipeline/1/config/privacyParams/epsilon"
    honest = home / "pipeline_config.json"
    assert run_again(played, capsys, "run", "check", honest, *contract)[0] == 0


def test_the_audit_needs_neither_stack_nor_network_and_believes_one_root_alone(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = played.folder / "bundle.json"
    verify = ("audit", "verify", bundle, "--root")
    assert run_again(played, capsys, *verify, played.log.root)[0] == 0
    code, said = run_again(played, capsys, *verify, "0" * 64)
    assert code == 4
    assert "root fingerprint" in json.loads(said)["detail"]


@pytest.mark.parametrize("what", ["statement", "receipt", "index", "document", "checkpoint"])
def test_a_bundle_that_was_changed_anywhere_is_refused(
    played: Played, capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str
) -> None:
    value = json.loads((played.folder / "bundle.json").read_bytes())
    if what == "document":
        others = (name for name in value["documents"] if name != played.digest)
        value["documents"][played.digest] = value["documents"][next(others)]
    elif what == "checkpoint":
        value["checkpoint"] = _flip(value["checkpoint"], at=70)
    elif what == "index":
        value["entries"][3]["index"], value["entries"][4]["index"] = 4, 3
    else:
        value["entries"][5][what] = _flip(value["entries"][5][what], at=-6)
    changed = tmp_path / "changed.json"
    changed.write_bytes(rfc8785.dumps(value))
    code, _ = run_again(played, capsys, "audit", "verify", changed, "--root", played.log.root)
    assert code in {2, 4}


def _flip(text: str, *, at: int) -> str:
    data = bytearray(base64.b64decode(text))
    data[at] ^= 1
    return base64.b64encode(data).decode()
