"""The record of a decision: what was decided, without the values that it was made from.

Whoever holds those values, and the salt that hides their digest, can make the decision again.
"""

from __future__ import annotations

from typing import Final

from policies.bundle import Bundle
from policies.decide import Policy
from policies.engine.embedded import RegorusEngine
from policies.engine.protocol import PolicyEngine
from policies.errors import PolicyError
from policies.facts import AttestationFacts, ContractFacts
from policies.wire.base import sha256
from policies.wire.decision import Decision, DecisionRecord

MIN_SALT_BYTES: Final = 16


def record(
    decision: Decision,
    facts: ContractFacts | AttestationFacts,
    *,
    salt: bytes,
    decision_id: str,
    decided_at: int,
    contract: str | None = None,
    pipeline: str | None = None,
    run: str | None = None,
) -> DecisionRecord:
    """Return a decision as the ledger keeps it: codes and digests, no values.

    Args:
        decision: What was decided.
        facts: What it was decided from; its JSON and the salt go to who may replay it.
        salt: At least 16 random bytes, so that nobody can find the facts by guessing.
        decision_id: Unique id.
        decided_at: Unix seconds.
        contract: Digest of the contract; that of the facts unless given.
        pipeline: Digest of the pipeline, if there is one.
        run: Id of the run, if there is one.
    """
    return DecisionRecord(
        decision_id=decision_id,
        entrypoint=decision.entrypoint,
        allow=decision.allow,
        codes=tuple(sorted({reason.code for reason in decision.reasons})),
        contract=contract or facts.contract.digest,
        pipeline=pipeline,
        run=run,
        policy=decision.policy,
        input_digest=_salted(facts.canonical(), salt),
        engine=decision.engine,
        decided_at=decided_at,
    )


def replay(
    entry: DecisionRecord,
    facts: bytes,
    *,
    salt: bytes,
    bundle: Bundle,
    engine: PolicyEngine | None = None,
) -> Decision:
    """Return the decision of a record, made again.

    Raises:
        PolicyError: if facts or bundle are others than those recorded, or decide otherwise.
    """
    got = _salted(facts, salt)
    if got != entry.input_digest:
        raise PolicyError(
            f"decision {entry.decision_id}: expected facts of {entry.input_digest}, got {got}"
        )
    bundle.require(entry.policy)
    decision = Policy(bundle, engine or RegorusEngine()).evaluate(entry.entrypoint, facts)
    codes = tuple(sorted({reason.code for reason in decision.reasons}))
    if (decision.allow, codes) != (entry.allow, entry.codes):
        raise PolicyError(
            f"decision {entry.decision_id}: recorded allow {entry.allow} with {list(entry.codes)}, "
            f"replayed allow {decision.allow} with {list(codes)}"
        )
    return decision


def _salted(facts: bytes, salt: bytes) -> str:
    if len(salt) < MIN_SALT_BYTES:
        raise PolicyError(f"salt: expected at least {MIN_SALT_BYTES} bytes, got {len(salt)}")
    return sha256(salt + facts)
