"""The record of a decision: what was decided, without the values that it was made from.

Whoever holds those values, and the salt that hides their digest, can make the decision again. Of
the values themselves a record shows what `policies.masking` lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from policies.bundle import Bundle
from policies.decide import MAX_FACTS_BYTES, Policy
from policies.engine.embedded import RegorusEngine
from policies.engine.protocol import PolicyEngine
from policies.errors import PolicyError
from policies.facts import AttestationFacts, ContractFacts
from policies.masking import marks, mask
from policies.party import FAILED
from policies.wire.base import canonical_json, load_json, sha256
from policies.wire.decision import Decision, DecisionRecord, Entrypoint, Mark

MIN_SALT_BYTES: Final = 16
_ABOUT: Final[Mapping[Entrypoint, Mapping[str, str]]] = {
    "contract": {},
    "training": {"pipeline": "/pipeline/digest"},
    "attestation": {"pipeline": "/expected/pipeline", "run": "/expected/run"},
    "release": {"pipeline": "/run/pipeline", "run": "/run/id"},
}
"""Where facts say what a decision is about."""


def record(
    decision: Decision,
    facts: ContractFacts | AttestationFacts,
    *,
    salt: bytes,
    decision_id: str,
    decided_at: int,
    pipeline: str | None = None,
    run: str | None = None,
) -> DecisionRecord:
    """Return a decision as the ledger keeps it: codes, places and digests, no values.

    Args:
        decision: What was decided.
        facts: What it was decided from; its JSON and the salt go to who may replay it.
        salt: At least 16 random bytes, so that nobody can find the facts by guessing.
        decision_id: Unique id.
        decided_at: Unix seconds.
        pipeline: Digest of the pipeline, if there is one.
        run: Id of the run, if there is one.
    """
    return DecisionRecord(
        decision_id=decision_id,
        mode="enforce",
        entrypoint=decision.entrypoint,
        allow=decision.allow,
        reasons=marks(decision.reasons),
        warnings=marks(decision.warnings),
        contract=facts.contract.digest,
        pipeline=pipeline,
        run=run,
        policy=decision.policy,
        policy_version=decision.policy_version,
        party_rules=tuple(rule.digest for rule in facts.contract.policy.party_rules),
        input_digest=_salted(facts.canonical(), salt),
        facts=mask(decision.entrypoint, facts.to_json()),
        engine=decision.engine,
        decided_at=decided_at,
    )


def replay(
    entry: DecisionRecord,
    facts: bytes,
    *,
    salt: bytes,
    bundle: Bundle,
    rules: Mapping[str, bytes] = MappingProxyType({}),
    engine: PolicyEngine | None = None,
) -> Decision | None:
    """Return the decision of a record, made again; None for a failure that does not come again.

    That an engine had not decided denied it then, and cannot be shown now. It permits nothing.

    Args:
        entry: What was recorded.
        facts: What it was decided from.
        salt: The bytes that hide the facts' digest.
        bundle: The policy that decided.
        rules: Texts of providers' own rules by digest; there may be others among them.
        engine: Evaluates the policy; the embedded one if there is none.

    Raises:
        PolicyError: if facts or bundle are others than those recorded, or decide otherwise.
    """
    got = _salted(facts, salt)
    if got != entry.input_digest:
        raise PolicyError(
            f"decision {entry.decision_id}: expected facts of {entry.input_digest}, got {got}"
        )
    bundle.require(entry.policy)
    _check_about(entry, load_json(facts, kind="facts", limit=MAX_FACTS_BYTES))
    policy = Policy(bundle, engine or RegorusEngine()).with_rules(rules)
    decision = policy.evaluate(entry.entrypoint, facts)
    recorded = (entry.allow, entry.reasons, entry.warnings)
    replayed = (decision.allow, marks(decision.reasons), marks(decision.warnings))
    if recorded == replayed:
        return decision
    if entry.failed or _cut_off(entry, decision):
        return None
    raise PolicyError(
        f"decision {entry.decision_id}: recorded {_words(*recorded)}, replayed {_words(*replayed)}"
    )


def _cut_off(entry: DecisionRecord, decision: Decision) -> bool:
    """Tell whether all that is missing is that a provider's rules had failed.

    They may be slower on another machine. What else denied then must deny now.
    """
    others = {mark for mark in entry.reasons if mark.code != FAILED}
    return (
        not entry.allow and others < set(entry.reasons) and others <= set(marks(decision.reasons))
    )


def _check_about(entry: DecisionRecord, facts: Any) -> None:
    """Raise unless a record is about what its facts are about, and shows what they say."""
    rules = _at(facts, "/contract/policy/partyRules") or ()
    said: dict[str, tuple[object, object]] = {
        "contract": (entry.contract, _at(facts, "/contract/digest")),
        "party rules": (entry.party_rules, tuple(_at(rule, "/digest") for rule in rules)),
    }
    for name, pointer in _ABOUT[entry.entrypoint].items():
        said[name] = (getattr(entry, name), _at(facts, pointer))
    if entry.facts is not None:
        shown = mask(entry.entrypoint, facts)
        said["shown facts"] = (canonical_json(entry.facts), canonical_json(shown))
    for what, (recorded, got) in said.items():
        if recorded != got:
            raise PolicyError(f"decision {entry.decision_id}: its {what} is not that of its facts")


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _words(allow: bool, reasons: tuple[Mark, ...], warnings: tuple[Mark, ...]) -> str:
    told = [f"{mark.code} at {mark.path or '/'}" for mark in (*reasons, *warnings)]
    return f"allow {allow} with {told}"


def _salted(facts: bytes, salt: bytes) -> str:
    if len(salt) < MIN_SALT_BYTES:
        raise PolicyError(f"salt: expected at least {MIN_SALT_BYTES} bytes, got {len(salt)}")
    return sha256(salt + facts)
