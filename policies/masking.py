"""Which facts stand in the record of a decision: what is listed here, and nothing else.

A record goes to the ledger's documents, so it shows numbers, states and digests that rules compare,
and never a text that somebody chose. A listed field that is of another kind than is said here
fails the whole mask: then the record shows no facts at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, get_args

from policies.errors import PolicyError
from policies.wire.constraints import Privacy
from policies.wire.decision import Entrypoint, Mark, Reason, Shown
from policies.wire.run import RunState

MAX_SHOWN: Final = 2048
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_POINTER: Final = re.compile(r"(/([A-Za-z_][A-Za-z0-9_]{0,63}|[0-9]{1,6})){0,16}")


class Kind(Enum):
    """What may be shown of a field."""

    NUMBER = "a whole number"
    FLAG = "true or false"
    COUNT = "how many items a list has"
    DIGEST = "a SHA-256 digest"


Rule = Kind | frozenset[str]
"""A kind of value, or the texts that a field may hold."""

_UNIT: Final = frozenset(get_args(Privacy.model_fields["unit"].annotation))
_ADJACENCY: Final = frozenset(get_args(Privacy.model_fields["adjacency"].annotation))
_CONTRACT: Final[Mapping[str, Rule]] = {
    "/now": Kind.NUMBER,
    "/executed": Kind.FLAG,
    "/signatures": Kind.COUNT,
    "/signatures/*/signedAt": Kind.NUMBER,
    "/signatures/*/keyValidFrom": Kind.NUMBER,
    "/signatures/*/keyValidUntil": Kind.NUMBER,
    "/revokedBy": Kind.COUNT,
    "/supersededBy": Kind.COUNT,
    "/contract/startsAt": Kind.NUMBER,
    "/contract/expiresAt": Kind.NUMBER,
    "/contract/tdps": Kind.COUNT,
    "/contract/datasets": Kind.COUNT,
    "/contract/baseModels": Kind.COUNT,
    "/contract/policy/partyRules": Kind.COUNT,
}
_TRAINING: Final[Mapping[str, Rule]] = {
    **_CONTRACT,
    "/contract/maxParameters": Kind.NUMBER,
    "/contract/privacy/*/unit": _UNIT,
    "/contract/privacy/*/adjacency": _ADJACENCY,
    "/contract/privacy/*/maxGradNormMicro": Kind.NUMBER,
    "/contract/privacy/*/maxSteps": Kind.NUMBER,
    "/contract/metricsOnPrivateData": frozenset({"withheld", "noised"}),
    "/contract/privacy/*/run/microEpsilon": Kind.NUMBER,
    "/contract/privacy/*/run/deltaTrillionths": Kind.NUMBER,
    "/contract/privacy/*/total/microEpsilon": Kind.NUMBER,
    "/contract/privacy/*/total/deltaTrillionths": Kind.NUMBER,
    "/contract/privacy/*/overall/microEpsilon": Kind.NUMBER,
    "/contract/privacy/*/overall/deltaTrillionths": Kind.NUMBER,
    "/pipeline/stages": Kind.COUNT,
    "/pipeline/stages/*/parameters": Kind.NUMBER,
    "/pipeline/stages/*/isPrivate": Kind.FLAG,
    "/pipeline/stages/*/steps": Kind.NUMBER,
    "/pipeline/stages/*/batchUnits": Kind.NUMBER,
    "/pipeline/stages/*/samplesPerUnit": Kind.NUMBER,
    "/pipeline/stages/*/metrics": Kind.COUNT,
    "/pipeline/stages/*/privateMetricsMicroEpsilon": Kind.NUMBER,
    "/pipeline/stages/*/privacy/microEpsilon": Kind.NUMBER,
    "/pipeline/stages/*/privacy/deltaTrillionths": Kind.NUMBER,
    "/pipeline/stages/*/privacy/maxGradNormMicro": Kind.NUMBER,
    "/pipeline/stages/*/privacy/unit": _UNIT,
    "/pipeline/stages/*/privacy/adjacency": _ADJACENCY,
    "/charges/*/microEpsilon": Kind.NUMBER,
    "/charges/*/deltaTrillionths": Kind.NUMBER,
    "/charges/*/noiseMicro": Kind.NUMBER,
    "/charges/*/samplingBillionths": Kind.NUMBER,
    "/charges/*/steps": Kind.NUMBER,
    "/charges/*/metricsNoiseMicro": Kind.NUMBER,
    "/budgets/*/tdcAfter": Kind.NUMBER,
    "/budgets/*/overallAfter": Kind.NUMBER,
}
_ATTESTATION: Final[Mapping[str, Rule]] = {
    "/now": Kind.NUMBER,
    "/contract/attestation/minimumGuestSvn": Kind.NUMBER,
    "/contract/attestation/maxTokenAge": Kind.NUMBER,
    "/contract/policy/partyRules": Kind.COUNT,
    "/claims/debuggable": Kind.FLAG,
    "/claims/migratable": Kind.FLAG,
    "/claims/vmpl": Kind.NUMBER,
    "/claims/guestSvn": Kind.NUMBER,
    "/claims/issuedAt": Kind.NUMBER,
    "/claims/expiresAt": Kind.NUMBER,
    "/claims/keys": Kind.COUNT,
    "/expected/nonce": Kind.DIGEST,
}
_RELEASE: Final[Mapping[str, Rule]] = {
    **_CONTRACT,
    "/run/state": frozenset(get_args(RunState)),
    "/run/reserved": Kind.COUNT,
    "/run/releasingTo": Kind.COUNT,
    "/approvals": Kind.COUNT,
    "/approvals/*/approvedAt": Kind.NUMBER,
    "/approvals/*/expiresAt": Kind.NUMBER,
    "/approvals/*/charged": Kind.COUNT,
    "/request/keys": Kind.COUNT,
    "/request/token": Kind.DIGEST,
    "/request/nonce": Kind.DIGEST,
    "/request/nonceUsedWith": Kind.COUNT,
}
SHOWN: Final[Mapping[Entrypoint, Mapping[str, Rule]]] = {
    "contract": _CONTRACT,
    "training": _TRAINING,
    "attestation": _ATTESTATION,
    "release": _RELEASE,
}
"""JSON pointers into the facts, `*` for every item of a list."""


def mask(entrypoint: Entrypoint, facts: Any) -> dict[str, Shown] | None:
    """Return what the record of a decision shows of its facts; None if they cannot be masked.

    Args:
        entrypoint: Which policy decided.
        facts: The fact document as parsed JSON.
    """
    try:
        found = {
            place: _shown(value, rule, place)
            for pointer, rule in SHOWN[entrypoint].items()
            for place, value in _places(facts, pointer.split("/")[1:], "")
        }
    except PolicyError:
        return None
    return found if len(found) <= MAX_SHOWN else None


def marks(reasons: Sequence[Reason]) -> tuple[Mark, ...]:
    """Return codes and pointers of reasons, each once; a pointer that could hold text is cut."""
    found = {
        (reason.path if _POINTER.fullmatch(reason.path) else "", reason.code) for reason in reasons
    }
    return tuple(Mark(code=code, path=path) for path, code in sorted(found))


def _places(value: Any, way: Sequence[str], at: str) -> Iterator[tuple[str, Any]]:
    if not way:
        yield at, value
    elif way[0] == "*":
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _places(item, way[1:], f"{at}/{index}")
    elif isinstance(value, dict) and way[0] in value:
        yield from _places(value[way[0]], way[1:], f"{at}/{way[0]}")


def _shown(value: Any, rule: Rule, place: str) -> Shown:
    if rule is Kind.NUMBER and type(value) is int:
        return value
    if rule is Kind.FLAG and type(value) is bool:
        return value
    if rule is Kind.COUNT and isinstance(value, list):
        return len(value)
    if isinstance(value, str):
        if rule is Kind.DIGEST and _DIGEST.fullmatch(value):
            return value
        if isinstance(rule, frozenset) and value in rule:
            return value
    expected = rule.value if isinstance(rule, Kind) else "one of a closed list"
    # The value itself is what a record must not show.
    raise PolicyError(f"facts{place}: expected {expected}, got something else")
