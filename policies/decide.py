"""Decide: facts in, an answer with every reason out.

Whatever keeps an engine from deciding is a denial with the one reason that says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import ValidationError

from policies.bundle import Bundle, Explanation, load_bundle
from policies.engine.embedded import RegorusEngine
from policies.engine.protocol import PolicyEngine, RawReason, Verdict
from policies.errors import DocumentError, PolicyError, PolicyMismatchError
from policies.facts import AttestationFacts, ContractFacts, ReleaseFacts, TrainingFacts
from policies.wire.base import MAX_DOCUMENT_BYTES, load_json
from policies.wire.decision import Decision, Entrypoint, Reason

POLICY_ID: Final = "depa"
MAX_MESSAGE: Final = 2000
MAX_FACTS_BYTES: Final = 4 * MAX_DOCUMENT_BYTES


@dataclass(frozen=True)
class Policy:
    """A bundle and the engine that evaluates it."""

    bundle: Bundle
    engine: PolicyEngine

    @classmethod
    def embedded(cls, bundle: Bundle | None = None) -> Self:
        """Return the policy that this release ships, or `bundle`, evaluated in this process."""
        return cls(bundle=bundle or load_bundle(), engine=RegorusEngine())

    def contract(self, facts: ContractFacts) -> Decision:
        """Decide whether a contract holds, and could be executed."""
        return self._decide("contract", self._of(facts))

    def training(self, facts: TrainingFacts) -> Decision:
        """Decide whether a pipeline may run under its contract."""
        return self._decide("training", self._of(facts))

    def attestation(self, facts: AttestationFacts) -> Decision:
        """Decide whether a clean room is the one that was agreed to."""
        return self._decide("attestation", self._of(facts))

    def release(self, facts: ReleaseFacts) -> Decision:
        """Decide whether keys may go to a clean room."""
        return self._decide("release", self._of(facts))

    def evaluate(self, entrypoint: Entrypoint, facts: bytes) -> Decision:
        """Decide over the JSON of facts, as a replay has it."""
        try:
            # The digest comes from who judges, whatever the facts say.
            value = _object(facts) | {"bundle": _judging(self.bundle)}
        except PolicyError as error:
            return self._failed(entrypoint, error)
        return self._decide(entrypoint, json.dumps(value).encode())

    def _of(self, facts: ContractFacts | AttestationFacts) -> bytes:
        # Fact documents are closed, so none has a member `bundle` that would be a second one.
        bundle = json.dumps(_judging(self.bundle)).encode()
        text = facts.model_dump_json(by_alias=True, exclude_none=True).encode()
        return b'{"bundle":' + bundle + b"," + text[1:]

    def _decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        try:
            return self._judged(entrypoint, document)
        except PolicyError as error:
            return self._failed(entrypoint, error)
        # Whatever an engine fails with, it has not allowed anything.
        except Exception as error:  # noqa: BLE001
            kind = type(error).__name__
            return self._failed(
                entrypoint, PolicyError(f"policy {entrypoint}: {self.engine.name} failed: {kind}")
            )

    def _judged(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        verdict = self.engine.evaluate(self.bundle, entrypoint=entrypoint, document=document)
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
        try:
            return self._answer(entrypoint, verdict)
        except ValidationError as error:
            raise PolicyError(
                f"policy {entrypoint}: expected well-formed reasons, "
                f"got {error.error_count()} that are not"
            ) from None

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
            PolicyError: if the bundle has no such code.
        """
        explanation = self.bundle.codes.get(code)
        if explanation is None:
            raise PolicyError(
                f"reason code: expected one of policy {self.bundle.version}, got {code!r}",
                hint="the decision may have been made by another policy",
            )
        return explanation


def _judging(bundle: Bundle) -> dict[str, str]:
    return {"digest": bundle.digest, "version": bundle.version}


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
