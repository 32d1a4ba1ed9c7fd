"""What a policy answers: allowed or not, and every reason with its place and its remedy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from policies.errors import DepaError
from policies.wire.base import Digest, Document, Slug, Version, Wire

Code = Annotated[str, StringConstraints(pattern=r"\A[A-Z][A-Z0-9_]{2,63}\z")]
Entrypoint = Literal["contract", "training", "attestation", "release"]


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


class DecisionRecord(Document):
    """A decision as the ledger keeps it: digests and codes, no values of the input."""

    kind: ClassVar[str] = "pipeline-decision"

    decision_id: Slug
    entrypoint: Entrypoint
    allow: bool
    codes: tuple[Code, ...]
    contract: Digest
    pipeline: Digest | None = None
    run: Slug | None = None
    policy: Digest
    input_digest: Digest
    """Digest of `salt || canonical facts`; the auditor's bundle holds both for replay."""
    engine: Slug
    decided_at: int = Field(ge=0)
    """Unix seconds."""
