"""Every document with any field missing or wrong is refused by the field's name."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from policies.wire.run import Progress
from tests.service.world import TDC, TDP_A, Room, World, contract, pipeline, running

WRONG: list[Any] = [{"unknown": 1}, [["list"]], "x" * 300_000, -1, 1.5, True, "\u0000"]
JSON = {"Content-Type": "application/json"}
OPTIONAL = {
    "schemaVersion",
    "baseModels",
    "terms",
    "payment",
    "revocation",
    "privateOnly",
    "metricsOnPrivateData",
    "etaSeconds",
    "version",
    "levels",
    "channels",
    "groups",
    "classes",
    "maxSlicesPerUnit",
    "baseWeights",
    "params",
    "lr",
    "samplesPerUnit",
    "threshold",
    "spent",
    "model",
    "modelUrl",
}


@dataclass
class Setting:
    world: World
    room: Room
    documents: dict[str, Any]

    def send(self, name: str, body: bytes) -> tuple[int, str]:
        paths = {
            "contract": "/contracts",
            "pipeline": "/runs",
            "revocation": f"/contracts/{self.documents['pipeline']['contract']}/revocations",
            "release": f"/runs/{self.room.run}/release",
            "progress": f"/runs/{self.room.run}/progress",
            "report": f"/runs/{self.room.run}/report",
        }
        if name in {"contract", "pipeline", "revocation"}:
            answer = self.world.request("POST", paths[name], TDC, content=body, headers=JSON)
        else:
            headers = JSON | {"Authorization": f"Bearer {self.room.capability}"}
            answer = self.world.http.post(paths[name], content=body, headers=headers)
        return answer.status_code, answer.text


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with running(tmp_path_factory.mktemp("input"), max_refusals=100_000) as world:
        agreed = world.executed()
        room = world.room(world.approved(agreed).run)
        report, _ = room.report()
        draft = contract(id="0f7e6a52-0000-4000-8000-00000000000f")
        documents = {
            "contract": draft.to_json(),
            "pipeline": pipeline(agreed).to_json(),
            "revocation": {
                "document": {
                    "contract": agreed.digest(),
                    "reason": "study ended",
                    "revokedAt": "2026-11-21T12:00:00Z",
                },
                "statement": "AAAA",
            },
            "release": {"token": "a" * 32},
            "progress": Progress(
                phase="training",
                step=1,
                steps=2,
                micro_epsilon=1,
                micro_epsilon_limit=2,
                seconds=1.0,
            ).to_json(),
            "report": {"document": report.to_json(), "statement": "AAAA"},
        }
        yield Setting(world, room, documents)


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every field; of a list, to its first item only."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:1]))
    for key, item in items:
        if key == "event":
            continue
        yield (*at, key)
        yield from places(item, (*at, key))


def bend(document: Any, way: tuple[str | int, ...], value: Any = ...) -> bytes:
    """Return a document with one field replaced, or left out."""
    bent = copy.deepcopy(document)
    inner = bent
    for key in way[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return json.dumps(bent).encode()


@pytest.mark.parametrize(
    "name", ["contract", "pipeline", "revocation", "release", "progress", "report"]
)
def test_a_document_without_one_of_its_fields_is_refused_by_its_name(
    setting: Setting, name: str
) -> None:
    document = setting.documents[name]
    for way in places(document):
        if way[-1] in OPTIONAL or isinstance(way[-1], int):
            continue
        status, text = setting.send(name, bend(document, way))
        assert 400 <= status < 500, (way, text)
        assert str(way[-1]) in text, (way, text)


@pytest.mark.parametrize(
    "name", ["contract", "pipeline", "revocation", "release", "progress", "report"]
)
def test_a_document_with_a_field_of_another_type_never_fails_the_service(
    setting: Setting, name: str
) -> None:
    document = setting.documents[name]
    turn = itertools.cycle(WRONG)
    for way in places(document):
        for wrong in (None, next(turn), next(turn)):
            status, text = setting.send(name, bend(document, way, wrong))
            assert status < 500, (way, wrong if len(str(wrong)) < 50 else "long", text)


@pytest.mark.parametrize(
    "name", ["contract", "pipeline", "revocation", "release", "progress", "report"]
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"[" * 5000 + b"]" * 5000,
        b"[" * 40 + b"]" * 40,
        b" " * 300_000,
        b'{"unknown": true}',
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_document_is_refused(setting: Setting, name: str, body: bytes) -> None:
    status, text = setting.send(name, body)
    assert status == 422, text
    assert json.loads(text)["problems"]


def test_a_body_that_is_too_large_is_not_read(setting: Setting) -> None:
    status, text = setting.send("contract", b" " * (1024 * 1024 + 1))
    assert (status, json.loads(text)["type"]) == (413, "urn:depa:problem:too-large")


def test_a_body_of_another_media_type_is_refused(setting: Setting) -> None:
    answer = setting.world.request("POST", "/contracts", TDC, content=b"{}")
    assert answer.status_code == 415


def test_a_pipeline_of_another_contract_is_refused(setting: Setting) -> None:
    value = setting.documents["pipeline"] | {"contract": "sha256:" + "0" * 64}
    status, text = setting.send("pipeline", json.dumps(value).encode())
    assert (status, json.loads(text)["type"]) == (404, "urn:depa:problem:no-such-contract")


def test_a_revocation_of_another_contract_is_refused(setting: Setting) -> None:
    value = copy.deepcopy(setting.documents["revocation"])
    value["document"]["contract"] = "sha256:" + "0" * 64
    status, _ = setting.send("revocation", json.dumps(value).encode())
    assert status in {400, 422}


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("expiryTime", "2026-02-01T00:00:00Z", "/expiryTime"),
        (
            "policy",
            {"id": "depa", "version": "1.0.0", "digest": "sha256:" + "a" * 64},
            "/policy/digest",
        ),
        ("title", "${TITLE}", "/title"),
    ],
)
def test_a_contract_that_cannot_hold_is_refused_by_field(
    setting: Setting, field: str, value: Any, pointer: str
) -> None:
    body = json.dumps(setting.documents["contract"] | {field: value}).encode()
    status, text = setting.send("contract", body)
    assert status == 422
    assert pointer in [item["pointer"] for item in json.loads(text)["problems"]]


@pytest.mark.parametrize(
    "body", [b"", b"\xd2", b"\xd2\x84\x40\xa0\x40\x40", b"\x00" * 70_000, b"text"]
)
def test_bytes_that_are_no_statement_are_refused(setting: Setting, body: bytes) -> None:
    headers = {"Content-Type": "application/cose"}
    digest = setting.documents["pipeline"]["contract"]
    path = f"/contracts/{digest}/signatures"
    answer = setting.world.request("POST", path, TDP_A, content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    answer = setting.world.http.post("/entries", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/concise-problem-details+cbor"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/contracts/sha256:" + "0" * 64, 404),
        ("/contracts/x", 404),
        ("/runs/x", 404),
        ("/contracts?state=unknown", 422),
        ("/runs?state=unknown", 422),
        ("/entries?start=-1", 422),
        ("/entries?start=x", 422),
        ("/datasets/x/budget", 404),
        ("/nothing", 404),
    ],
)
def test_a_path_or_query_that_means_nothing_is_refused(
    setting: Setting, path: str, status: int
) -> None:
    assert setting.world.request("GET", path).status_code == status
    assert setting.world.request("DELETE", path.partition("?")[0]).status_code in {404, 405}
