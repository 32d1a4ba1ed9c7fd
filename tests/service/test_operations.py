"""What an operator sees: health, counters, logs, and an answer to everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
import structlog

from contract_service import logs
from contract_service.audit import entries
from tests.service.vault import SECRET
from tests.service.world import PASSPHRASE, TDC, World, running
from tests.simulator import party


def test_health_and_readiness_need_no_token(world: World) -> None:
    assert world.http.get("/healthz").json() == {"status": "ok"}
    ready = world.http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["tree_size"] > 5


def test_a_service_whose_database_is_gone_is_not_ready(world: World) -> None:
    database = world.app.state.services.context.database

    def gone() -> None:
        raise OSError("disk")

    database.ping = gone
    assert world.http.get("/readyz").status_code == 500
    assert world.http.get("/healthz").status_code == 200


def test_each_reason_of_refusal_is_counted(world: World) -> None:
    def count(code: str) -> float:
        for line in world.http.get("/metrics").text.splitlines():
            if line.startswith(f'depa_refusals_total{{code="{code}"}}'):
                return float(line.rpartition(" ")[2])
        return 0.0

    before, hosts = count("token-missing"), count("EVIDENCE_HOST_DATA")
    world.http.get("/contracts")
    room = world.room(world.approved(world.executed()).run)
    body = json.dumps({"token": room.token(host_data="0" * 64)})
    headers = {"Authorization": f"Bearer {room.capability}", "Content-Type": "application/json"}
    assert world.http.post(f"/runs/{room.run}/release", content=body, headers=headers).is_error
    assert count("token-missing") == before + 1
    assert count("EVIDENCE_HOST_DATA") == hosts + 1


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nothing", 404, "no-such-path"),
        ("DELETE", "/contracts", 405, "method-not-allowed"),
        ("GET", "/contracts/", 404, "no-such-path"),
        ("GET", "/contracts", 401, "token-missing"),
    ],
)
def test_whatever_is_wrong_is_answered_with_a_problem_document(
    world: World, method: str, path: str, status: int, slug: str
) -> None:
    answer = world.http.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert problem["type"] == f"urn:depa:problem:{slug}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["instance"] == path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/entries/1.999", 404),
        ("GET", "/entries/2.1", 404),
        ("GET", "/entries/1.01", 404),
        ("GET", "/entries/1.²", 404),
        ("GET", "/entries/x/receipt", 404),
        ("GET", "/.well-known/scitt-keys/x", 404),
        ("DELETE", "/entries", 405),
        ("POST", "/entries", 415),
        ("GET", "/entries", 401),
        ("GET", "/entries/1.1/other", 404),
    ],
)
def test_registration_paths_answer_with_concise_problem_details(
    world: World, method: str, path: str, status: int
) -> None:
    answer = world.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/concise-problem-details+cbor"
    problem = cbor2.loads(answer.content)
    assert set(problem) == {-1, -2}
    assert all(isinstance(text, str) and text for text in problem.values())


@pytest.mark.parametrize("path", ["/checkpoint", "/entries/1.1"])
def test_a_bug_is_answered_without_its_details(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def bug(*_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(world.app.state.services.context.log, "checkpoint", bug)
    monkeypatch.setattr(entries, "entry_index", bug)
    answer = world.http.get(path)
    assert answer.status_code == 500
    assert b"secret detail" not in answer.content
    assert len(answer.headers["x-request-id"]) == 32


def test_the_log_is_read_by_anyone(world: World) -> None:
    assert world.http.get("/checkpoint").text.startswith("service.test/log\n")
    keys = cbor2.loads(world.http.get("/.well-known/scitt-keys").content)
    [key] = keys
    one = world.http.get(f"/.well-known/scitt-keys/{key[2].hex()}")
    assert cbor2.loads(one.content) == key
    statement = world.http.get("/entries/1.2/statement")
    assert statement.headers["content-type"] == "application/scitt-statement+cose"
    receipt = world.http.get("/entries/1.2/receipt")
    assert receipt.headers["content-type"] == "application/scitt-receipt+cose"
    assert world.http.get("/entries/1.2").content == receipt.content


def test_statements_are_found_by_subject_kind_and_issuer(world: World) -> None:
    agreed, client = world.executed(), world.client()
    assert len(client.statements(subject=agreed.urn).statements) == 7
    [executed] = client.statements(kind="executed").statements
    assert executed.subject == agreed.urn
    mine = client.statements(issuer=party(TDC).did).statements
    assert [item.kind for item in mine] == ["signature"]
    last = int(executed.entry_id.partition(".")[2])
    assert client.statements(subject=agreed.urn, start=last).statements == (executed,)


def test_the_api_describes_every_path_with_its_answers(world: World) -> None:
    schema = world.http.get("/openapi.json").json()
    assert "Problem" in schema["components"]["schemas"]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert operation["description"].endswith("."), (method, path)
            success = [status for status in operation["responses"] if status.startswith("2")]
            assert success, (method, path)
            assert all(operation["responses"][status].get("content") for status in success), path
            if method == "post" and path.rpartition("/")[2] not in {"access", "nonce", "abandon"}:
                assert operation["requestBody"]["required"], path
    assert len(schema["paths"]) >= 28


def test_neither_logs_nor_databases_hold_a_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path) as world:
        room = world.room(world.approved(world.executed()).run)
        token = room.token()
        room.release(token)
        room.client.report(room.run, *room.report())
    out, written = capsys.readouterr()
    assert out == ""
    stored = b"".join(p.read_bytes() for p in (tmp_path / "service").iterdir() if p.is_file())
    for secret in (room.capability, PASSPHRASE, SECRET.decode()):
        assert secret not in written
        assert secret.encode() not in stored
    assert token not in written
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["event"] == "request"]
    assert all(len(line["request_id"]) == 32 for line in requests)
    assert {"method", "path", "status", "caller", "milliseconds"} <= set(requests[0])


def test_a_logged_failure_holds_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")

    def fail(passphrase: str) -> None:
        raise ZeroDivisionError(len(passphrase))

    try:
        fail("correct horse")
    except ZeroDivisionError:
        structlog.get_logger("test").exception("failed")
    line = json.loads(capsys.readouterr().err)
    assert line["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "correct horse" not in json.dumps(line)


@pytest.mark.parametrize(
    "secret",
    ["eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", "drt_" + "a" * 43],
)
def test_the_log_drops_what_looks_like_a_secret(secret: str) -> None:
    event = {"event": f"failed for {secret}", "inner": {"list": [secret]}, "number": 1}
    assert secret not in json.dumps(logs.redact(None, "info", event))
