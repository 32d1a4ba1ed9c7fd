from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opa_client.opa import OpaClient

from clients.api.opa import READ_AGAIN_SECONDS, OpaEngine
from policies.decide import Policy
from policies.errors import (
    PolicyError,
    PolicyMismatchError,
    PolicyUnavailableError,
)
from tests.opa_server import ANSWERS, OpaServer, serving
from tests.unit.clients.api.opa_calls import BUNDLE, SECONDS, failure, opened
from tests.unit.policies.good import (
    ENTRYPOINTS,
    case,
    change,
    contract_case,
    document,
    other_bundle,
)

BY = {"id": "depa", "version": BUNDLE.version}
ALLOW = {"allow": True, "reasons": [], "warnings": [], "policy": BY}
STRANGE = "package depa.contract\n\nallow := true\n"


def real_servers() -> list[str]:
    """Return where else than here a policy server can be had: none on most machines."""
    return [name for name in ("OPA_URL",) if name in os.environ] or [
        name for name in ("opa",) if shutil.which(name)
    ]


@pytest.fixture(params=["ours", *real_servers()])
def server_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of each policy server there is, with this release's bundle."""
    if request.param == "OPA_URL":
        yield os.environ["OPA_URL"]
    elif request.param == "opa":
        archive = tmp_path / "bundle.tar.gz"
        archive.write_bytes(BUNDLE.pack())
        with running_opa_server(archive) as url:
            yield url
    else:
        with serving(OpaServer(BUNDLE)) as opa:
            yield opa.url


@contextmanager
def running_opa_server(archive: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = ["--addr", address, "--disable-telemetry", "--bundle", str(archive)]
    program = str(shutil.which("opa"))
    process = subprocess.Popen([program, "run", "--server", *options], stderr=subprocess.DEVNULL)
    try:
        host, port = address.split(":")
        OpaClient(host, int(port)).wait_for_ready(timeout=30.0, interval=0.1)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_every_server_that_is_there_decides_as_the_embedded_engine_does(
    server_url: str, entrypoint: Any
) -> None:
    engine = OpaEngine(server_url, seconds=30.0)
    engine.require(BUNDLE)
    with pytest.raises(PolicyMismatchError):
        engine.require(other_bundle())
    for facts in (case(entrypoint), {**case(entrypoint), "now": 1}, {}):
        theirs = Policy(BUNDLE, engine).evaluate(entrypoint, document(facts))
        ours = Policy.embedded().evaluate(entrypoint, document(facts))
        assert theirs == ours.model_copy(update={"engine": engine.name})
    engine.close()


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_server_decides_as_the_embedded_engine_does(entrypoint: Any) -> None:
    embedded, facts = Policy.embedded(), case(entrypoint)
    refused = case(entrypoint)
    change(refused, "/contract/policy/id", "other")
    with opened(OpaServer(BUNDLE)) as policy:
        for value in (facts, refused):
            decided = policy.evaluate(entrypoint, document(value))
            expected = embedded.evaluate(entrypoint, document(value))
            assert decided == expected.model_copy(update={"engine": "opa-1.20.2"})
        assert policy.evaluate(entrypoint, document(facts)).allow


def test_facts_of_each_question_go_to_the_server_once() -> None:
    opa = OpaServer(BUNDLE)
    with opened(opa) as policy:
        for _ in range(3):
            assert policy.contract(contract_case()).allow
    question = "/v1/data/depa/contract/decision?strict-builtin-errors=True&provenance=True"
    assert opa.asked == [("GET", "/v1/policies"), *[("POST", question)] * 3]


CODES = {
    "empty": "POLICY_ERROR",
    "undefined": "POLICY_ERROR",
    "evaluation error": "POLICY_ERROR",
    "bad request": "POLICY_ERROR",
    "unauthorized": "POLICY_UNAVAILABLE",
    "forbidden": "POLICY_UNAVAILABLE",
    "starting": "POLICY_UNAVAILABLE",
    "not JSON": "POLICY_ERROR",
    "not UTF-8": "POLICY_MISMATCH",
    "not an object": "POLICY_ERROR",
    "too deep": "POLICY_ERROR",
    "not a number": "POLICY_MISMATCH",
    "cut off": "POLICY_UNAVAILABLE",
    "compressed": "POLICY_UNAVAILABLE",
    "huge": "POLICY_UNAVAILABLE",
    "redirect": "POLICY_UNAVAILABLE",
    "moved": "POLICY_UNAVAILABLE",
    "hang": "POLICY_UNAVAILABLE",
    "slow head": "POLICY_UNAVAILABLE",
    "slow body": "POLICY_UNAVAILABLE",
}


@pytest.mark.parametrize("malfunction", CODES)
def test_a_server_that_breaks_denies_with_its_reason_and_in_time(malfunction: str) -> None:
    opa = OpaServer(BUNDLE)
    with opened(opa) as policy:
        assert policy.contract(contract_case()).allow
        opa.malfunction = malfunction
        began = time.monotonic()
        code, message = failure(policy.contract(contract_case()))
        assert time.monotonic() - began < 10 * SECONDS
        assert code == CODES[malfunction]
        assert "s3cret" not in message
        opa.malfunction = None
        assert policy.contract(contract_case()).allow
    assert [path for _, path in opa.asked if path in {"/elsewhere", "/health"}] == []


def test_each_malfunction_that_is_one_answer_is_tested() -> None:
    assert set(ANSWERS) < set(CODES)


@pytest.mark.parametrize(
    "result",
    [
        None,
        True,
        {},
        {**ALLOW, "allow": 1},
        {**ALLOW, "allow": "true"},
        {**ALLOW, "more": 1},
        {**ALLOW, "reasons": ["no"]},
        {**ALLOW, "reasons": [{"code": "A", "path": "", "msg": ""}] * 1001},
        {"allow": True, "reasons": [], "warnings": []},
    ],
)
def test_a_server_that_answers_another_shape_denies(result: Any) -> None:
    with opened(OpaServer(BUNDLE, malfunction="result", result=result)) as policy:
        assert failure(policy.contract(contract_case()))[0] == "POLICY_ERROR"


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({**ALLOW, "policy": {"id": "other", "version": BUNDLE.version}}, "POLICY_MISMATCH"),
        ({**ALLOW, "policy": {"id": "depa", "version": "0.0.1"}}, "POLICY_MISMATCH"),
        ({**ALLOW, "allow": False}, "POLICY_ERROR"),
        ({**ALLOW, "reasons": [{"code": "A_CODE", "path": "", "msg": ""}]}, "POLICY_ERROR"),
    ],
)
def test_a_server_that_answers_for_another_policy_or_contradicts_itself_denies(
    result: Any, code: str
) -> None:
    with opened(OpaServer(BUNDLE, malfunction="result", result=result)) as policy:
        assert failure(policy.contract(contract_case()))[0] == code


SHOWN = [
    {},
    {"a": {"revision": ""}},
    {"a": {}},
    {"a": {"revision": other_bundle().digest}},
    {"a": {"revision": BUNDLE.digest}, "b": {"revision": other_bundle().digest}},
    {"a": {"revision": BUNDLE.digest}, "b": {"revision": BUNDLE.digest}},
    {"a": BUNDLE.digest},
]


@pytest.mark.parametrize("bundles", SHOWN)
def test_an_answer_of_any_other_revision_denies(bundles: Any) -> None:
    with opened(OpaServer(BUNDLE, bundles=bundles)) as policy:
        assert failure(policy.contract(contract_case()))[0] == "POLICY_MISMATCH"


def changed(**texts: str) -> dict[str, str]:
    return {**BUNDLE.rules, **texts}


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {path: text for path, text in BUNDLE.rules.items() if "budget" not in path},
        {path: text + "\n" for path, text in BUNDLE.rules.items()},
        changed(extra=STRANGE),
        changed(extra='package depa["contract"]\n\nallow := true\n'),
        changed(extra=BUNDLE.rules["depa/lib/shape.rego"]),
    ],
)
def test_a_server_with_other_texts_is_never_asked(texts: dict[str, str]) -> None:
    opa = OpaServer(BUNDLE, texts=texts)
    with opened(opa) as policy:
        assert failure(policy.contract(contract_case()))[0] == "POLICY_MISMATCH"
        with pytest.raises(PolicyMismatchError, match="expected the"):
            policy.engine.require(BUNDLE)  # type: ignore[attr-defined]  # of this engine alone
    assert {method for method, _ in opa.asked} == {"GET"}


def test_policies_of_packages_that_are_not_ours_are_not_our_concern() -> None:
    texts = changed(authz="package system.authz\n\ndefault allow := true\n")
    with opened(OpaServer(BUNDLE, texts=texts)) as policy:
        assert policy.contract(contract_case()).allow


def test_texts_are_read_again_after_another_revision_was_shown() -> None:
    opa = OpaServer(BUNDLE)
    with opened(opa) as policy:
        assert policy.contract(contract_case()).allow
        opa.revision = other_bundle().digest
        assert failure(policy.contract(contract_case()))[0] == "POLICY_MISMATCH"
        opa.revision, opa.texts = None, changed(extra=STRANGE)
        assert failure(policy.contract(contract_case()))[0] == "POLICY_MISMATCH"
        opa.texts = None
        assert policy.contract(contract_case()).allow


def test_texts_are_read_again_every_few_minutes() -> None:
    now, opa = [0.0], OpaServer(BUNDLE)
    with opened(opa, clock=lambda: now[0]) as policy:
        assert policy.contract(contract_case()).allow
        opa.texts = changed(extra=STRANGE)
        now[0] = READ_AGAIN_SECONDS
        assert failure(policy.contract(contract_case()))[0] == "POLICY_MISMATCH"


def test_a_bundle_that_the_server_does_not_hold_denies_and_disturbs_no_other() -> None:
    opa = OpaServer(BUNDLE)
    with opened(opa) as policy:
        other = Policy(other_bundle(), policy.engine)
        for _ in range(2):
            assert policy.contract(contract_case()).allow
            # Its texts are the same, and only its codes are not: the revision tells.
            assert failure(other.contract(contract_case()))[0] == "POLICY_MISMATCH"


def test_a_server_that_is_not_there_denies() -> None:
    opa = OpaServer(BUNDLE)
    with opened(opa) as policy:
        pass
    code, message = failure(policy.contract(contract_case()))
    assert code == "POLICY_UNAVAILABLE"
    assert opa.url.removeprefix("http://") in message


def test_a_start_is_refused_unless_the_server_holds_the_policy() -> None:
    with opened(OpaServer(BUNDLE)) as policy:
        engine = policy.engine
        assert isinstance(engine, OpaEngine)
        engine.require(BUNDLE)
        with pytest.raises(PolicyMismatchError):
            engine.require(other_bundle())
    with pytest.raises(PolicyUnavailableError, match="does not answer"):
        engine.require(BUNDLE)


def test_a_start_is_refused_when_the_server_allows_nothing_in_particular() -> None:
    with opened(OpaServer(BUNDLE, malfunction="result", result=ALLOW)) as policy:
        assert isinstance(policy.engine, OpaEngine)
        with pytest.raises(PolicyError, match="told nothing"):
            policy.engine.require(BUNDLE)


def test_many_threads_share_one_engine() -> None:
    start = threading.Barrier(4)

    def decide(policy: Policy) -> bool:
        start.wait()
        return all(policy.contract(contract_case()).allow for _ in range(5))

    with opened(OpaServer(BUNDLE), seconds=20.0) as policy, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(decide, [policy] * 4)) == [True] * 4
