"""Refused releases: recorded with their reasons, so that an auditor sees who knocked in vain."""

from __future__ import annotations

from typing import Final

from sqlmodel import Session

from contract_service.context import Context
from contract_service.judge import Judgement, keep
from contract_service.keybroker.evidence import Evidence
from contract_service.keybroker.facts import nothing_proven
from contract_service.problems import ConflictError, RefusedError
from contract_service.rules.agreed import policy_of
from contract_service.runs.rows import locked, move
from contract_service.runs.tables import RunRow
from policies.errors import DepaError
from policies.wire.base import sha256
from policies.wire.contract import Contract
from policies.wire.run import KeyRelease

_UNKNOWN_HEX32: Final = "0" * 64
_UNKNOWN_HEX48: Final = "0" * 96
_UNKNOWN_DID: Final = "did:jwk:unknown"


class ReleaseRefused(RefusedError):
    """Keys are not released; the decision is on the ledger."""

    def __init__(self, judgement: Judgement, *, because: DepaError | None = None) -> None:
        slug = "release-refused" if because is None else because.code
        super().__init__(judgement.decision, decision_id=judgement.decision_id, slug=slug)
        if because is not None:
            self.because = str(because)
            self.hint = because.hint or self.hint


def check_patience(row: RunRow, context: Context) -> None:
    """Raise unless one more refusal may be recorded for a run.

    Raises:
        ConflictError: if there were too many.
    """
    if row.refusals >= context.settings.max_refusals:
        raise ConflictError(
            "too-many-refusals",
            f"{row.id}: {row.refusals} releases were refused; no more are judged",
            hint="submit the pipeline again for another run",
        )


def refuse_unproven(
    context: Context, run: str, contract: Contract, *, token: str, because: DepaError
) -> None:
    """Record that a token did not verify, and raise.

    Raises:
        ReleaseRefused: always, with what did not verify.
        ConflictError: if too many were refused before.
    """
    now = context.now
    with context.database.write() as session:
        row = locked(session, run)
        check_patience(row, context)
        facts = nothing_proven(contract, run=run, pipeline_digest=row.pipeline, now=now)
        decision = policy_of(context, session, contract).attestation(facts)
        judgement = keep(
            session,
            decision,
            facts,
            record=context.record,
            now=now,
            pipeline=row.pipeline,
            run=run,
        )
        record_refusal(session, context, row, judgement, contract, token=token, evidence=None)
    context.record.settle()
    raise ReleaseRefused(judgement, because=because)


def record_refusal(
    session: Session,
    context: Context,
    row: RunRow,
    judgement: Judgement,
    contract: Contract,
    *,
    token: str,
    evidence: Evidence | None,
) -> None:
    """Owe the ledger a refused release, in the caller's transaction; too many fail the run."""
    now = context.now
    document = KeyRelease(
        run=row.id,
        contract=row.contract,
        pipeline=row.pipeline,
        allowed=False,
        codes=tuple(sorted({reason.code for reason in judgement.decision.reasons})),
        decision=judgement.decision_id,
        keys=(),
        token=sha256(token.encode()),
        nonce=sha256((evidence.runtime.nonce if evidence else "").encode()),
        host_data=evidence.claims.host_data if evidence else _UNKNOWN_HEX32,
        measurement=evidence.claims.measurement if evidence else _UNKNOWN_HEX48,
        report_key=evidence.report_key if evidence else _UNKNOWN_DID,
        released_at=now,
    )
    context.record.state(session, document, subject=contract.urn, contract=row.contract, now=now)
    row.refusals += 1
    if row.state == "approved" and row.refusals >= context.settings.max_refusals:
        move(row, "failed", now=now)
        row.message = f"{row.refusals} releases were refused"
    session.add(row)
