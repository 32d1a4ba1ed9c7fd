"""Decide: facts in, an answer with every reason out.

Whatever keeps an engine from deciding is a denial with the one reason that says so. Rules that
providers have added to a contract are asked after the bundle's own; they only add to its answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError

from policies.bundle import Bundle, Explanation, load_bundle
from policies.engine.embedded import RegorusEngine
from policies.engine.protocol import PolicyEngine, RawReason, Verdict
from policies.engine.workers import shared_workers
from policies.errors import DocumentError, PolicyError, PolicyMismatchError
from policies.facts import AttestationFacts, ContractFacts, ReleaseFacts, TrainingFacts
from policies.facts.contract import PartyRuleFacts
from policies.party import PartyRules
from policies.wire.base import MAX_DOCUMENT_BYTES, load_json
from policies.wire.decision import Decision, Entrypoint, Reason

POLICY_ID: Final = "depa"
MAX_MESSAGE: Final = 2000
MAX_FACTS_BYTES: Final = 4 * MAX_DOCUMENT_BYTES
_NO_FACTS: Final = frozenset({"bundle", "prepared"})
_RULES: Final = TypeAdapter(tuple[PartyRuleFacts, ...])


@dataclass(frozen=True)
class Policy:
    """A bundle and the engine that evaluates it."""

    bundle: Bundle
    engine: PolicyEngine
    party: PartyRules = field(default_factory=lambda: PartyRules(shared_workers()))
    """What there is of the rules that providers add."""

    @classmethod
    def embedded(cls, bundle: Bundle | None = None) -> Self:
        """Return the policy that this release ships, or `bundle`, evaluated in this process."""
        return cls(bundle=bundle or load_bundle(), engine=RegorusEngine())

    def with_rules(self, texts: Mapping[str, bytes]) -> Self:
        """Return this policy with the texts of providers' rules, by digest.

        A contract that names a text that is not among them is denied.
        """
        return replace(self, party=replace(self.party, texts=texts))

    def contract(self, facts: ContractFacts) -> Decision:
        """Decide whether a contract holds, and could be executed."""
        return self._decide("contract", _written(facts), facts.contract.policy.party_rules)

    def training(self, facts: TrainingFacts) -> Decision:
        """Decide whether a pipeline may run under its contract."""
        return self._decide("training", _written(facts), facts.contract.policy.party_rules)

    def attestation(self, facts: AttestationFacts) -> Decision:
        """Decide whether a clean room is the one that was agreed to."""
        return self._decide("attestation", _written(facts), facts.contract.policy.party_rules)

    def release(self, facts: ReleaseFacts) -> Decision:
        """Decide whether keys may go to a clean room."""
        return self._decide("release", _written(facts), facts.contract.policy.party_rules)

    def evaluate(self, entrypoint: Entrypoint, facts: bytes) -> Decision:
        """Decide over the JSON of facts, as a replay has it."""
        try:
            value = _object(facts)
            rules = _party_rules(value)
        except PolicyError as error:
            return self._failed(entrypoint, error)
        # Who judges, and what was found before, come from here, whatever the facts say.
        kept = {name: item for name, item in value.items() if name not in _NO_FACTS}
        terms = json.dumps(kept.pop("contract", None)).encode()
        return self._decide(entrypoint, _Written(terms, json.dumps(kept).encode()), rules)

    def _decide(
        self, entrypoint: Entrypoint, facts: _Written, rules: Sequence[PartyRuleFacts]
    ) -> Decision:
        try:
            return self._judged(entrypoint, facts, rules)
        except PolicyError as error:
            return self._failed(entrypoint, error)
        # Whatever an engine fails with, it has not allowed anything.
        except Exception as error:  # noqa: BLE001
            kind = type(error).__name__
            return self._failed(
                entrypoint, PolicyError(f"policy {entrypoint}: {self.engine.name} failed: {kind}")
            )

    def _judged(
        self, entrypoint: Entrypoint, facts: _Written, rules: Sequence[PartyRuleFacts]
    ) -> Decision:
        document = facts.judged_by(self.bundle)
        verdict = self.engine.evaluate(
            self.bundle, entrypoint=entrypoint, document=document, terms=facts.terms
        )
        by = (verdict.policy.id, verdict.policy.version)
        if by != (POLICY_ID, self.bundle.version):
            raise PolicyMismatchError(
                f"policy {entrypoint}: expected a decision of {POLICY_ID} {self.bundle.version}, "
                f"got one of {' '.join(by)[:100]}"
            )
        if verdict.allow == bool(verdict.reasons):
            raise PolicyError(
                f"policy {entrypoint}: expected reasons if and only if it denies, "
                f"got allow {verdict.allow} with {len(verdict.reasons)}"
            )
        if rules:
            verdict = self._with_rules(verdict, entrypoint, document, rules)
        try:
            return self._answer(entrypoint, verdict)
        except ValidationError as error:
            raise PolicyError(
                f"policy {entrypoint}: expected well-formed reasons, "
                f"got {error.error_count()} that are not"
            ) from None

    def _with_rules(
        self,
        verdict: Verdict,
        entrypoint: Entrypoint,
        document: bytes,
        rules: Sequence[PartyRuleFacts],
    ) -> Verdict:
        """Return a verdict with what the providers' rules add to it, which allows nothing."""
        asked = json.dumps(json.loads(document) | {"question": entrypoint})
        # Reasons about the contract stand under /contract unless it is all that is judged.
        top = "" if entrypoint == "contract" else "/contract"
        added = self.party.judge(rules, document=asked, top=top, taken=self.bundle.codes.keys())
        return verdict.model_copy(
            update={
                "allow": verdict.allow and not added.deny,
                "reasons": (*verdict.reasons, *added.deny),
                "warnings": (*verdict.warnings, *added.warn),
            }
        )

    def _answer(self, entrypoint: Entrypoint, verdict: Verdict) -> Decision:
        return Decision(
            entrypoint=entrypoint,
            allow=verdict.allow,
            reasons=_sorted(verdict.reasons),
            warnings=_sorted(verdict.warnings),
            policy=self.bundle.digest,
            policy_version=self.bundle.version,
            engine=self.engine.name,
        )

    def _failed(self, entrypoint: Entrypoint, error: PolicyError) -> Decision:
        return Decision(
            entrypoint=entrypoint,
            allow=False,
            reasons=(Reason(code=error.reason, path="", msg=str(error)[:MAX_MESSAGE]),),
            policy=self.bundle.digest,
            policy_version=self.bundle.version,
            engine=self.engine.name,
        )

    def explain(self, code: str) -> Explanation:
        """Return what a code means and who can do what about it.

        Raises:
            PolicyError: if neither the bundle nor a provider's rules have such a code.
        """
        explanation = self.bundle.codes.get(code) or self.party.explain(code)
        if explanation is None:
            raise PolicyError(
                f"reason code: expected one of policy {self.bundle.version}, got {code!r}",
                hint="the decision may have been made by another policy",
            )
        return explanation


@dataclass(frozen=True)
class _Written:
    """Facts as JSON."""

    terms: bytes
    """The member `contract`."""
    rest: bytes
    """An object of all others."""

    def judged_by(self, bundle: Bundle) -> bytes:
        """Return the document that rules see as `input`."""
        judging = json.dumps({"digest": bundle.digest, "version": bundle.version}).encode()
        others = b"" if self.rest == b"{}" else b"," + self.rest[1:-1]
        return b'{"bundle":' + judging + b',"contract":' + self.terms + others + b"}"


def _written(facts: ContractFacts | AttestationFacts) -> _Written:
    # Fact documents are closed, so none has a member that would be a second `bundle`.
    return _Written(
        facts.contract.model_dump_json(by_alias=True, exclude_none=True).encode(),
        facts.model_dump_json(by_alias=True, exclude_none=True, exclude={"contract"}).encode(),
    )


def _party_rules(facts: Mapping[str, Any]) -> tuple[PartyRuleFacts, ...]:
    """Return the rules that facts name; those that it does not name as such are an error."""
    contract = facts.get("contract")
    policy = contract.get("policy") if isinstance(contract, dict) else None
    named = policy.get("partyRules", []) if isinstance(policy, dict) else []
    try:
        return _RULES.validate_json(json.dumps(named))
    except ValidationError:
        raise PolicyError(
            "facts: expected a list of provider, name and digest at /contract/policy/partyRules"
        ) from None


def _object(facts: bytes) -> dict[str, Any]:
    try:
        value = load_json(facts, kind="facts", limit=MAX_FACTS_BYTES)
    except DocumentError as error:
        raise PolicyError(f"facts: expected strict JSON, got {error.problems[0]}") from None
    if not isinstance(value, dict):
        raise PolicyError(f"facts: expected a JSON object, got {type(value).__name__}")
    return value


def _sorted(reasons: Iterable[RawReason]) -> tuple[Reason, ...]:
    made = (Reason(code=item.code, path=item.path, msg=item.msg[:MAX_MESSAGE]) for item in reasons)
    return tuple(sorted(made, key=lambda reason: (reason.path, reason.code, reason.msg)))
