"""Azure Key Vault's release policies: which attested environment a vault may hand a key to.

Grammar 1.0.0 of `azure-security-docs/key-management-policy-grammar.md`, with `equals` as the only
operator, as the
service itself has it. What this module does not know is refused when the key is imported, not
ignored at release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policies.errors import DocumentError, EvidenceError, Problem
from policies.wire.base import canonical_json, load_json

COMPLIANT_UVM: Final = "azure-compliant-uvm"
"""Compliance status of a container group whose utility VM is endorsed."""
CONTRACT_CLAIM: Final = "x-ms-runtime.depa.contract"
MAX_POLICY_BYTES: Final = 32 * 1024
_MAX_DEPTH: Final = 8
_MAX_CONDITIONS: Final = 256
_KIND: Final = "release policy"


@dataclass(frozen=True)
class Claim:
    """A claim must have a value."""

    name: str
    equals: str


@dataclass(frozen=True)
class Group:
    """All, or any, of some conditions must hold."""

    every: bool
    conditions: tuple[Claim | Group, ...]


@dataclass(frozen=True)
class ReleasePolicy:
    """A parsed policy: issuer URL to the condition on its tokens, in order."""

    authorities: tuple[tuple[str, Group], ...]


def build_release_policy(
    contract: str,
    *,
    authorities: Sequence[str],
    host_data: Sequence[str],
    compliance: str = COMPLIANT_UVM,
) -> bytes:
    """Return the canonical policy that binds a key to one contract.

    Args:
        contract: Digest string of the contract.
        authorities: URLs of the attestation authorities that may vouch.
        host_data: Hex SHA-256 of each launch policy that may run.
        compliance: Required compliance status.

    Raises:
        ValueError: if there is no authority or no launch policy: such a key could never be used.
    """
    if not authorities or not host_data:
        raise ValueError("a release policy needs an authority and a launch policy")
    conditions = [
        {"claim": "x-ms-attestation-type", "equals": "sevsnpvm"},
        {"claim": "x-ms-compliance-status", "equals": compliance},
        {"claim": "x-ms-sevsnpvm-is-debuggable", "equals": "false"},
        {"claim": "x-ms-sevsnpvm-vmpl", "equals": "0"},
        {"anyOf": [{"claim": "x-ms-sevsnpvm-hostdata", "equals": digest} for digest in host_data]},
        {"claim": CONTRACT_CLAIM, "equals": contract},
    ]
    return canonical_json(
        {
            "version": "1.0.0",
            "anyOf": [{"authority": authority, "allOf": conditions} for authority in authorities],
        }
    )


def parse_release_policy(data: bytes) -> ReleasePolicy:
    """Read a policy.

    Raises:
        DocumentError: if it is not in the grammar, or larger than any honest one.
    """
    document = load_json(data, kind=_KIND, limit=MAX_POLICY_BYTES)
    if not isinstance(document, dict) or set(document) != {"version", "anyOf"}:
        raise _problem("", "expected version and anyOf")
    if document["version"] != "1.0.0":
        raise _problem("/version", "expected 1.0.0")
    entries = document["anyOf"]
    if not isinstance(entries, list) or not entries:
        raise _problem("/anyOf", "expected a list of authorities")
    count = [0]
    authorities = []
    for index, entry in enumerate(entries):
        pointer = f"/anyOf/{index}"
        if not isinstance(entry, dict) or not isinstance(entry.get("authority"), str):
            raise _problem(pointer, "expected an authority")
        issuer = entry["authority"].rstrip("/")
        if not issuer.startswith("https://"):
            raise _problem(f"{pointer}/authority", "expected an https URL")
        rest = {name: value for name, value in entry.items() if name != "authority"}
        authorities.append((issuer, _group(rest, pointer=pointer, depth=0, count=count)))
    return ReleasePolicy(tuple(authorities))


def verify_release(policy: ReleasePolicy, *, claims: Mapping[str, Any]) -> None:
    """Raise unless the claims of a verified token satisfy the policy.

    The caller MUST have verified the token against the keys of its `iss`.

    Raises:
        EvidenceError: naming the first claim that does not hold, for the last authority tried.
    """
    issuer = str(claims.get("iss", "")).rstrip("/")
    refusal = EvidenceError(
        "iss", expected=f"one of {sorted({name for name, _ in policy.authorities})}", got=issuer
    )
    for authority, condition in policy.authorities:
        if authority != issuer:
            continue
        failed = _first_failure(condition, claims)
        if failed is None:
            return
        refusal = failed
    raise refusal


def _group(entry: Mapping[str, Any], *, pointer: str, depth: int, count: list[int]) -> Group:
    if len(entry) != 1 or next(iter(entry)) not in {"allOf", "anyOf"}:
        raise _problem(pointer, "expected either allOf or anyOf, and nothing else")
    if depth >= _MAX_DEPTH:
        raise _problem(pointer, f"is nested deeper than {_MAX_DEPTH} levels")
    [(operator, items)] = entry.items()
    pointer = f"{pointer}/{operator}"
    if not isinstance(items, list) or not items:
        raise _problem(pointer, "expected a list of conditions")
    count[0] += len(items)
    if count[0] > _MAX_CONDITIONS:
        raise _problem(pointer, f"has more than {_MAX_CONDITIONS} conditions")
    return Group(
        every=operator == "allOf",
        conditions=tuple(
            _condition(item, pointer=f"{pointer}/{index}", depth=depth, count=count)
            for index, item in enumerate(items)
        ),
    )


def _condition(item: object, *, pointer: str, depth: int, count: list[int]) -> Claim | Group:
    if not isinstance(item, dict):
        raise _problem(pointer, "expected a condition")
    if "claim" not in item:
        return _group(item, pointer=pointer, depth=depth + 1, count=count)
    if set(item) != {"claim", "equals"}:
        raise _problem(pointer, "expected claim and equals, the only operator")
    value = _normal(item["equals"])
    if not isinstance(item["claim"], str) or not item["claim"] or value is None:
        raise _problem(pointer, "expected a claim's name, and a text, number or boolean")
    return Claim(item["claim"], value)


def _first_failure(condition: Claim | Group, claims: Mapping[str, Any]) -> EvidenceError | None:
    if isinstance(condition, Claim):
        got = _normal(_lookup(claims, condition.name))
        if got == condition.equals:
            return None
        return EvidenceError(condition.name, expected=condition.equals, got=got or "none")
    failures = [_first_failure(item, claims) for item in condition.conditions]
    failed = [failure for failure in failures if failure is not None]
    if not failed or (not condition.every and len(failed) < len(failures)):
        return None
    if condition.every:
        return failed[0]
    return EvidenceError(
        failed[0].claim,
        expected=" or ".join(str(failure.expected) for failure in failed),
        got=failed[0].got,
    )


def _lookup(claims: Mapping[str, Any], name: str) -> object:
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _normal(value: object) -> str | None:
    # The service compares texts: "false" stands for false and "0" for 0 in its own examples.
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None


def _problem(pointer: str, message: str) -> DocumentError:
    return DocumentError(_KIND, [Problem(pointer, message)])
