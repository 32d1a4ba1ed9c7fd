"""What a vault's policy asks for, and that nothing less gets a key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.attestation.release_policy import (
    build_release_policy,
    parse_release_policy,
    verify_release,
)
from policies.errors import DocumentError
from tests.simulator import CONTRACT, HOST_DATA, ISSUER, Evidence, evidence_claims, refusal


def policy(**changes: Any) -> bytes:
    values = {"authorities": [ISSUER], "host_data": [HOST_DATA], **changes}
    return build_release_policy(CONTRACT, **values)


def verify(evidence: Evidence, text: bytes | None = None) -> None:
    claims = evidence_claims(evidence).claims
    verify_release(parse_release_policy(text or policy()), claims=claims)


def document(condition: object, operator: str = "allOf") -> bytes:
    entry = {"authority": ISSUER, operator: condition}
    return json.dumps({"version": "1.0.0", "anyOf": [entry]}).encode()


def test_honest_evidence_meets_the_policy() -> None:
    verify(Evidence())


def test_the_policy_is_the_same_bytes_every_time() -> None:
    assert policy() == policy()
    assert json.loads(policy())["anyOf"][0]["allOf"][-1] == {
        "claim": "x-ms-runtime.depa.contract",
        "equals": CONTRACT,
    }


@pytest.mark.parametrize(
    ("evidence", "claim"),
    [
        (Evidence(contract="sha256:" + "00" * 32), "x-ms-runtime.depa.contract"),
        (Evidence(host_data="00" * 32), "x-ms-sevsnpvm-hostdata"),
        (Evidence(fields={"policy": 0x3001F | 1 << 19}), "x-ms-sevsnpvm-is-debuggable"),
        (Evidence(fields={"vmpl": 1}), "x-ms-sevsnpvm-vmpl"),
    ],
)
def test_release_is_denied_for_any_other_room(evidence: Evidence, claim: str) -> None:
    assert refusal(lambda: verify(evidence)) == claim


@pytest.mark.parametrize(
    ("name", "value", "claim"),
    [
        ("iss", "https://127.0.0.1:1", "iss"),
        ("iss", None, "iss"),
        ("x-ms-attestation-type", "sgx", "x-ms-attestation-type"),
        ("x-ms-compliance-status", None, "x-ms-compliance-status"),
        ("x-ms-compliance-status", "azure-compliant-cvm", "x-ms-compliance-status"),
        ("x-ms-sevsnpvm-is-debuggable", None, "x-ms-sevsnpvm-is-debuggable"),
        ("x-ms-runtime", {}, "x-ms-runtime.depa.contract"),
        ("x-ms-runtime", {"depa": CONTRACT}, "x-ms-runtime.depa.contract"),
        ("x-ms-runtime", {"depa": {"contract": [CONTRACT]}}, "x-ms-runtime.depa.contract"),
    ],
)
def test_release_is_denied_without_each_claim(name: str, value: object, claim: str) -> None:
    claims = {**evidence_claims().claims, name: value}
    parsed = parse_release_policy(policy())
    assert refusal(lambda: verify_release(parsed, claims=claims)) == claim


def test_several_authorities_and_launch_policies_may_stand_in_one_policy() -> None:
    text = policy(authorities=["https://a.example", ISSUER], host_data=["00" * 32, HOST_DATA])
    verify(Evidence(), text)
    assert refusal(lambda: verify(Evidence(host_data="11" * 32), text)) == "x-ms-sevsnpvm-hostdata"


def test_an_authoritys_condition_does_not_help_another_authority() -> None:
    entries = [
        {"authority": "https://a.example", "allOf": [{"claim": "iss", "equals": ISSUER}]},
        {"authority": ISSUER, "allOf": [{"claim": "iss", "equals": "https://a.example"}]},
    ]
    text = json.dumps({"version": "1.0.0", "anyOf": entries}).encode()
    assert refusal(lambda: verify(Evidence(), text)) == "iss"


def test_booleans_and_numbers_are_compared_as_texts() -> None:
    for value in (False, "false"):
        verify(Evidence(), document([{"claim": "x-ms-sevsnpvm-is-debuggable", "equals": value}]))
    for number in (0, "0"):
        verify(Evidence(), document([{"claim": "x-ms-sevsnpvm-vmpl", "equals": number}]))
    text = document([{"claim": "x-ms-sevsnpvm-vmpl", "equals": False}])
    assert refusal(lambda: verify(Evidence(), text)) == "x-ms-sevsnpvm-vmpl"


def test_a_trailing_slash_of_the_authority_does_not_matter() -> None:
    verify(Evidence(), policy(authorities=[ISSUER + "/"]))


def test_groups_may_be_nested() -> None:
    good, bad = ({"claim": "x-ms-sevsnpvm-vmpl", "equals": level} for level in (0, 1))
    verify(Evidence(), document([{"anyOf": [bad, {"allOf": [good, good]}]}]))
    verify(Evidence(), document([bad, good], "anyOf"))
    for nested in ([{"anyOf": [bad, {"allOf": [good, bad]}]}], [good, {"anyOf": [bad]}]):
        text = document(nested)
        claim = refusal(lambda text=text: verify(Evidence(), text))  # type: ignore[misc]
        assert claim == "x-ms-sevsnpvm-vmpl"


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (b"", ""),
        (b"[]", ""),
        (b'{"version":"1.0.0"}', ""),
        (b'{"version":"0.2","anyOf":[]}', "/version"),
        (b'{"version":"1.0.0","anyOf":[]}', "/anyOf"),
        (b'{"version":"1.0.0","anyOf":{}}', "/anyOf"),
        (b'{"version":"1.0.0","anyOf":[],"more":1}', ""),
        (b'{"version":"1.0.0","anyOf":[{"allOf":[]}]}', "/anyOf/0"),
        (b'{"version":"1.0.0","anyOf":[{"authority":"http://a"}]}', "/anyOf/0/authority"),
        (b'{"version":"1.0.0","anyOf":[{"authority":"https://a"}]}', "/anyOf/0"),
        (
            b'{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[],"anyOf":[]}]}',
            "/anyOf/0",
        ),
        (document([]), "/anyOf/0/allOf"),
        (document(["claim"]), "/anyOf/0/allOf/0"),
        (document([{"claim": "a"}]), "/anyOf/0/allOf/0"),
        (document([{"claim": "a", "notEquals": "b"}]), "/anyOf/0/allOf/0"),
        (document([{"claim": "a", "equals": "b", "exists": True}]), "/anyOf/0/allOf/0"),
        (document([{"claim": "a", "equals": None}]), "/anyOf/0/allOf/0"),
        (document([{"claim": "a", "equals": ["b"]}]), "/anyOf/0/allOf/0"),
        (document([{"claim": "a", "equals": 0.5}]), "/anyOf/0/allOf/0"),
        (document([{"claim": "", "equals": "b"}]), "/anyOf/0/allOf/0"),
        (document([{"claim": "a", "equals": "b"}] * 300), "/anyOf/0/allOf"),
    ],
)
def test_a_policy_outside_the_grammar_is_refused(text: bytes, pointer: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_release_policy(text)
    assert caught.value.problems[0].pointer == pointer


def test_a_policy_nested_too_deeply_is_refused() -> None:
    nested: dict[str, Any] = {"claim": "a", "equals": "b"}
    for _ in range(9):
        nested = {"allOf": [nested]}
    with pytest.raises(DocumentError):
        parse_release_policy(document([nested]))


@pytest.mark.parametrize("missing", ["authorities", "host_data"])
def test_no_policy_is_built_that_can_never_be_met(missing: str) -> None:
    with pytest.raises(ValueError, match="needs"):
        policy(**{missing: []})
