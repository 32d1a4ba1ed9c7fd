"""A client believes a receipt, a digest and one root, not a service."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from clients.api.errors import UntrustedAnswerError
from clients.api.service import ServiceClient
from clients.api.transport import Transport
from tests.service.world import (
    ORIGIN,
    TDC,
    TDP_A,
    World,
    contract,
    pipeline,
    sign_contract,
)
from tests.simulator import party

Lie = Callable[[str, Any], Any]


class Liar(httpx2.BaseTransport):
    """A service that changes what it answers on the way out."""

    def __init__(self, world: World, lie: Lie) -> None:
        self._world, self._lie = world, lie

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._world.http.request(
            request.method,
            str(request.url),
            content=request.read(),
            headers=dict(request.headers),
        )
        if "json" not in answer.headers["content-type"]:
            return httpx2.Response(answer.status_code, content=answer.content)
        value = json.loads(answer.content)
        changed = self._lie(request.url.path, json.loads(answer.content))
        if changed == value:
            return httpx2.Response(answer.status_code, content=answer.content)
        return httpx2.Response(answer.status_code, content=json.dumps(changed).encode())


def client(world: World, lie: Lie, *, root: str | None = None) -> ServiceClient:
    transport = Transport(
        ORIGIN,
        credential=party(TDP_A),
        http=httpx2.Client(transport=Liar(world, lie)),
        clock=world.clock,
    )
    return ServiceClient(transport, root_fingerprint=root or world.root, clock=world.clock)


def honest(_: str, value: Any) -> Any:
    return value


def sign(world: World, who: ServiceClient) -> None:
    agreed = contract()
    world.client(TDC).propose(agreed)
    who.sign(agreed.digest(), sign_contract(agreed, TDP_A, now=world.clock()))


def test_an_honest_answer_is_believed(empty_world: World) -> None:
    sign(empty_world, client(empty_world, honest))


def test_a_log_under_another_root_is_not_believed(empty_world: World) -> None:
    with pytest.raises(UntrustedAnswerError, match="root"):
        sign(empty_world, client(empty_world, honest, root="0" * 64))


def _other_receipt(path: str, value: Any) -> Any:
    if path.endswith("/signatures"):
        receipt = bytearray(base64.b64decode(value["registered"]["receipt"]))
        receipt[-1] ^= 1
        value["registered"]["receipt"] = base64.b64encode(bytes(receipt)).decode()
    return value


def _no_receipt(path: str, value: Any) -> Any:
    if path.endswith("/signatures"):
        value["registered"]["receipt"] = base64.b64encode(b"no receipt").decode()
    return value


def _other_leaf(path: str, value: Any) -> Any:
    if path.endswith("/signatures"):
        value["registered"]["leafHash"] = "sha256:" + "0" * 64
    return value


def _other_entry(path: str, value: Any) -> Any:
    if path.endswith("/signatures"):
        value["registered"]["entryId"] = "1.77"
    return value


def _other_shape(path: str, value: Any) -> Any:
    if path.endswith("/signatures"):
        del value["state"]
    return value


@pytest.mark.parametrize(
    "lie", [_other_receipt, _no_receipt, _other_leaf, _other_entry, _other_shape]
)
def test_a_registration_that_does_not_verify_is_not_believed(empty_world: World, lie: Lie) -> None:
    with pytest.raises(UntrustedAnswerError):
        sign(empty_world, client(empty_world, lie))


def test_another_contract_than_asked_for_is_not_believed(world: World) -> None:
    agreed = world.executed()

    def lie(path: str, value: Any) -> Any:
        if path.endswith("/document"):
            value["title"] = "Another title"
        return value

    with pytest.raises(UntrustedAnswerError, match="contract"):
        client(world, lie).contract(agreed.digest())
    assert client(world, honest).contract(agreed.digest()) == agreed


def test_an_approval_of_another_pipeline_is_not_believed(world: World) -> None:
    def lie(path: str, value: Any) -> Any:
        if path == "/runs":
            value["pipeline"] = "sha256:" + "0" * 64
        return value

    transport = Transport(
        ORIGIN,
        credential=party(TDC),
        http=httpx2.Client(transport=Liar(world, lie)),
        clock=world.clock,
    )
    consumer = ServiceClient(transport, root_fingerprint=world.root, clock=world.clock)
    with pytest.raises(UntrustedAnswerError, match="pipeline"):
        consumer.submit(pipeline(world.executed()))


def test_a_party_that_signed_before_is_shown_that_earlier_signature(empty_world: World) -> None:
    agreed = contract()
    empty_world.client(TDC).propose(agreed)
    who = client(empty_world, honest)
    first = who.sign(agreed.digest(), sign_contract(agreed, TDP_A, now=empty_world.clock()))
    again = who.sign(agreed.digest(), sign_contract(agreed, TDP_A, now=empty_world.clock()))
    assert first.registered.leaf_hash == again.registered.leaf_hash


def test_the_signature_of_another_party_is_not_taken_for_an_earlier_one(
    empty_world: World,
) -> None:
    agreed = contract()
    empty_world.client(TDC).propose(agreed)
    other = empty_world.sign(agreed, TDC).registered

    def lie(path: str, value: Any) -> Any:
        if path.endswith("/signatures"):
            value["registered"] = other.to_json()
        return value

    with pytest.raises(UntrustedAnswerError, match="signature"):
        sign(empty_world, client(empty_world, lie))
