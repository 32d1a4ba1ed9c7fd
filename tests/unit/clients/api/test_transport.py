"""How requests are sent, who is said to send them, and what comes of a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import jwt
import pytest

from clients.api.errors import (
    ClientError,
    NetworkError,
    NotFoundError,
    ProblemDocument,
    RefusedError,
    ServiceError,
    SignInError,
    service_error,
)
from clients.api.transport import RunToken, Transport, origin_of
from tests.simulator import party

URL = "https://service.test"
Handler = Callable[[httpx2.Request], httpx2.Response]


def transport(handler: Handler, *, pauses: list[float] | None = None) -> Transport:
    http = httpx2.Client(transport=httpx2.MockTransport(handler))
    kept = [] if pauses is None else pauses
    return Transport(
        URL, credential=party("A"), http=http, clock=lambda: 1_795_262_400.0, pause=kept.append
    )


def test_each_request_carries_a_token_of_its_own() -> None:
    seen: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"].removeprefix("Bearer "))
        return httpx2.Response(200, content=b"{}")

    client = transport(handler)
    client.get("/a")
    client.post("/b", b"{}")
    claims = [jwt.decode(token, options={"verify_signature": False}) for token in seen]
    assert claims[0]["jti"] != claims[1]["jti"]
    assert {claim["aud"] for claim in claims} == {URL}
    assert {claim["iss"] for claim in claims} == {party("A").did}
    assert all(0 < claim["exp"] - claim["iat"] <= 300 for claim in claims)


def test_a_question_is_asked_again_while_the_network_fails() -> None:
    attempts, pauses = [], list[float]()

    def handler(request: httpx2.Request) -> httpx2.Response:
        attempts.append(request.method)
        if len(attempts) < 3:
            raise httpx2.ConnectError("down", request=request)
        return httpx2.Response(200, content=b"[1]")

    assert transport(handler, pauses=pauses).get_json("/a") == [1]
    assert attempts == ["GET"] * 3
    assert pauses == sorted(pauses)
    assert len(pauses) == 2


def test_a_question_is_not_asked_for_ever() -> None:
    attempts = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        attempts.append(1)
        raise httpx2.ReadTimeout("slow", request=request)

    with pytest.raises(NetworkError, match=r"GET https://service\.test/a"):
        transport(handler).get("/a")
    assert len(attempts) == 3


def test_what_changes_something_is_sent_once() -> None:
    attempts = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        attempts.append(1)
        raise httpx2.ConnectError("down", request=request)

    with pytest.raises(NetworkError):
        transport(handler).post("/a", b"{}")
    assert len(attempts) == 1


def test_a_refusal_is_not_asked_again() -> None:
    attempts = []

    def handler(_: httpx2.Request) -> httpx2.Response:
        attempts.append(1)
        return httpx2.Response(403, json={"type": "urn:depa:problem:denied", "detail": "no"})

    with pytest.raises(RefusedError, match="no"):
        transport(handler).get("/a")
    assert len(attempts) == 1


@pytest.mark.parametrize(
    ("status", "family", "exit_code"),
    [
        (400, RefusedError, 4),
        (401, SignInError, 6),
        (403, RefusedError, 4),
        (404, NotFoundError, 3),
        (409, RefusedError, 4),
        (422, RefusedError, 4),
        (500, ServiceError, 1),
        (502, NetworkError, 5),
        (503, NetworkError, 5),
    ],
)
def test_each_status_has_its_error_and_exit_code(
    status: int, family: type[ClientError], exit_code: int
) -> None:
    client = transport(lambda _: httpx2.Response(status, content=b"not json"))
    with pytest.raises(family) as error:
        client.post("/a")
    assert error.value.exit_code == exit_code


def test_a_recorded_denial_is_a_refusal_though_no_engine_decided() -> None:
    value = {"decision_id": "dec-1", "reasons": [{"code": "POLICY_ERROR", "path": "", "msg": "x"}]}
    error = service_error(ProblemDocument.from_json(value, status=503))
    assert isinstance(error, RefusedError)
    assert "POLICY_ERROR" in str(error)


def test_a_problem_document_is_read_field_by_field() -> None:
    body = {
        "type": "urn:depa:problem:denied",
        "title": "Denied",
        "status": 403,
        "detail": "the training policy denies",
        "hint": "ask for less",
        "request_id": "r" * 32,
        "decision_id": "dec-x",
        "reasons": [{"code": "EPSILON", "path": "/a", "msg": "expected 8, got 9"}],
        "problems": [{"pointer": "/a", "message": "is wrong", "hint": ""}],
    }
    client = transport(lambda _: httpx2.Response(403, json=body))
    with pytest.raises(RefusedError) as error:
        client.post("/a")
    problem = error.value.problem
    assert (problem.slug, problem.decision_id) == ("denied", "dec-x")
    assert "EPSILON at /a: expected 8, got 9" in str(error.value)
    assert error.value.hint == "ask for less"
    assert problem.problems[0].pointer == "/a"


@pytest.mark.parametrize(
    "body", [None, [], "text", {"type": 1, "reasons": "x", "problems": [1]}, {"reasons": [{}]}]
)
def test_a_misshapen_problem_is_still_a_problem(body: object) -> None:
    problem = ProblemDocument.from_json(body, status=418)
    assert problem.status == 418
    assert problem.title


def test_a_capability_is_sent_as_it_is_and_not_shown() -> None:
    token = RunToken("drt_secret")
    assert token.bearer(audience=URL, now=0) == "drt_secret"
    assert "secret" not in repr(token)


def test_a_credential_does_not_show_its_key() -> None:
    assert "key=" not in repr(party("A"))


def test_the_audience_is_the_origin_whatever_the_path() -> None:
    assert origin_of("https://service.test:8443/base/") == "https://service.test:8443"


def test_a_certificate_authority_that_is_none_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"missing\.pem"):
        Transport(URL, ca_file=tmp_path / "missing.pem")
    (tmp_path / "text.pem").write_text("text")
    with pytest.raises(NetworkError, match=r"text\.pem"):
        Transport(URL, ca_file=tmp_path / "text.pem")
