"""What another policy would have said: recorded decisions, made again under other rules.

The facts stay as they were. Only the policy that the contract agrees to becomes the one that
judges, as it would by an amendment; otherwise every decision would be denied as one under a foreign
policy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from policies.decide import MAX_FACTS_BYTES, Policy
from policies.errors import PolicyError
from policies.record import replay
from policies.wire.base import load_json
from policies.wire.decision import Decision, DecisionRecord, Entrypoint

Outcome = Literal["allow", "deny"]


@dataclass(frozen=True)
class Replayable:
    """A decision of the record, and what it was made from."""

    entry: DecisionRecord
    salt: bytes
    facts: bytes


@dataclass(frozen=True)
class Reconsidered:
    """One decision under two policies."""

    decision_id: str
    entrypoint: Entrypoint
    before: Outcome
    after: Outcome
    lost: tuple[str, ...]
    """Codes that only the old policy gives."""
    gained: tuple[str, ...]
    """Codes that only the new policy gives."""

    @property
    def flipped(self) -> bool:
        """Whether one policy allows what the other denies."""
        return self.before != self.after

    @property
    def newly_allowed(self) -> bool:
        """Whether the new policy lets something happen that the old one did not."""
        return self.flipped and self.after == "allow"


def reconsider(
    recorded: Iterable[Replayable], *, old: Policy, new: Policy
) -> tuple[Reconsidered, ...]:
    """Return what the new policy says about each decision, beside what the old one says.

    Decisions that the old policy made have to come out as they were recorded.

    Raises:
        PolicyError: if one does not, or what it was made from is not what the record names.
    """
    return tuple(_one(item, old, new) for item in recorded)


def _one(item: Replayable, old: Policy, new: Policy) -> Reconsidered:
    entry = item.entry
    if entry.policy == old.bundle.digest:
        replay(
            entry,
            item.facts,
            salt=item.salt,
            bundle=old.bundle,
            rules=old.party.texts,
            engine=old.engine,
        )
    before, after = _under(item, old), _under(item, new)
    was, now = _codes(before), _codes(after)
    return Reconsidered(
        decision_id=entry.decision_id,
        entrypoint=entry.entrypoint,
        before=_outcome(before),
        after=_outcome(after),
        lost=tuple(sorted(was - now)),
        gained=tuple(sorted(now - was)),
    )


def _under(item: Replayable, policy: Policy) -> Decision:
    """Return what a policy says about facts, if the contract agreed to it."""
    value = load_json(item.facts, kind="facts", limit=MAX_FACTS_BYTES)
    try:
        agreed = value["contract"]["policy"]
        agreed["digest"], agreed["version"] = policy.bundle.digest, policy.bundle.version
    except (KeyError, TypeError):
        raise PolicyError("facts: expected the agreed policy at /contract/policy") from None
    return policy.evaluate(item.entry.entrypoint, json.dumps(value).encode())


def _codes(decision: Decision) -> set[str]:
    return {reason.code for reason in decision.reasons}


def _outcome(decision: Decision) -> Outcome:
    return "allow" if decision.allow else "deny"
