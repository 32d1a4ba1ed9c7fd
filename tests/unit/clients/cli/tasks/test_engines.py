from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from policies.bundle import load_bundle
from tests.opa_server import OpaServer, serving
from tests.unit.policies.good import NOW, contract_document, other_bundle

Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Check:
    """Judge a contract by an engine; return exit code and answer or problem."""
    monkeypatch.setattr("clients.cli.tasks.judging.time.time", lambda: NOW)
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(contract_document()))

    def run(url: str, **more: str) -> tuple[int, dict[str, Any]]:
        for name, value in ({"opa_url": url} | more).items():
            monkeypatch.setenv(f"DEPA_{name.upper()}", value)
        words = ["policy", "check", "--contract", str(file), "--engine", "server", "--json"]
        code = main.run([*words, "--home", str(tmp_path / "home")])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    return run


def test_a_server_that_holds_the_policy_judges(check: Check, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    with serving(OpaServer(load_bundle(), token="t0ken")) as opa:  # noqa: S106
        code, answer = check(opa.url, opa_token_file=str(token))
    assert (code, answer["allow"]) == (0, True)
    assert answer["engine"].startswith("opa-")


@pytest.mark.parametrize(
    ("server", "code"),
    [
        (OpaServer(other_bundle()), "policy-mismatch"),
        (OpaServer(load_bundle(), token="t0ken"), "policy-unavailable"),  # noqa: S106
        (OpaServer(load_bundle(), malfunction="empty"), "policy-error"),
    ],
)
def test_no_other_engine_is_asked_where_the_server_fails(
    check: Check, server: OpaServer, code: str
) -> None:
    with serving(server) as opa:
        exit_code, problem = check(opa.url)
    assert exit_code in {4, 5}
    assert code in json.dumps(problem)


def test_a_token_that_is_not_there_or_not_text_is_refused(check: Check, tmp_path: Path) -> None:
    with serving(OpaServer(load_bundle())) as opa:
        assert check(opa.url, opa_token_file=str(tmp_path / "none"))[0] == 3
        (tmp_path / "token").write_bytes(b"\xff")
        code, problem = check(opa.url, opa_token_file=str(tmp_path / "token"))
    assert code == 2
    assert "expected ASCII" in problem["detail"]
