"""What a policy answers: allowed or not, and every reason with its place and its remedy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from policies.errors import (
    DepaError,
    PolicyError,
    PolicyMismatchError,
    PolicyUnavailableError,
)
from policies.wire.base import Digest, Document, Slug, Version, Wire

Code = Annotated[str, StringConstraints(pattern=r"\A[A-Z][A-Z0-9_]{2,63}\z")]
Entrypoint = Literal["contract", "training", "attestation", "release"]
_UNDECIDED: Final = frozenset({PolicyError.reason, PolicyUnavailableError.reason})
_FAILURES: Final = _UNDECIDED | {PolicyMismatchError.reason}


class Reason(Wire):
    """One rule that was not met."""

    code: Code
    path: str = Field(max_length=500)
    """JSON pointer into the judged document."""
    msg: str = Field(max_length=2000)
    """Says what was expected and what came."""

    def __str__(self) -> str:
        return f"{self.code} at {self.path or '/'}: {self.msg}"


class Decision(Document):
    """The answer of one policy to one question."""

    kind: ClassVar[str] = "decision"

    entrypoint: Entrypoint
    allow: bool
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    policy: Digest
    """Digest of the policy bundle that decided."""
    policy_version: Version
    engine: Slug

    @property
    def undecided(self) -> bool:
        """Whether it denies because no engine decided; asking again may help."""
        return not {reason.code for reason in self.reasons}.isdisjoint(_UNDECIDED)


class Denied(DepaError):
    """A policy decided against the request."""

    code = "denied"
    exit_code = 4
    http_status = 403

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(
            "; ".join(str(reason) for reason in decision.reasons),
            hint=f"depa policy explain {decision.reasons[0].code}" if decision.reasons else "",
        )


class Mark(Wire):
    """One rule that was not met, without the values that it compared."""

    code: Code
    path: str = Field(max_length=500)
    """JSON pointer into the judged document, of field names and indexes alone."""


Shown = bool | int | str
"""A fact that a record may show, see `policies.masking`."""


class DecisionRecord(Document):
    """A decision as the ledger keeps it: digests, codes and places, no values of the input."""

    kind: ClassVar[str] = "pipeline-decision"

    decision_id: Slug
    mode: Literal["enforce", "dry-run"]
    """Nothing may rest on a dry run."""
    entrypoint: Entrypoint
    allow: bool
    reasons: tuple[Mark, ...]
    warnings: tuple[Mark, ...]
    contract: Digest
    pipeline: Digest | None = None
    run: Slug | None = None
    policy: Digest
    policy_version: Version
    party_rules: tuple[Digest, ...]
    """Texts of the providers' own rules that the contract names."""
    input_digest: Digest
    """Digest of `salt || canonical facts`; the auditor's bundle holds both for replay."""
    facts: dict[str, Shown] | None = None
    """Listed facts by JSON pointer; absent if they could not be masked."""
    engine: Slug
    decided_at: int = Field(ge=0)
    """Unix seconds."""

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the reasons, each once."""
        return tuple(sorted({mark.code for mark in self.reasons}))

    @property
    def failed(self) -> bool:
        """Whether it denies for the one reason that the engine failed."""
        places = [(mark.code in _FAILURES, mark.path) for mark in self.reasons]
        return not self.allow and places == [(True, "")]
