"""The verdict on a request for keys: evidence first, then the run, with the budget in hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlmodel import Session, select

from contract_service.budget import service as budgets
from contract_service.context import Context
from contract_service.judge import Judgement, keep
from contract_service.keybroker.evidence import Evidence
from contract_service.keybroker.refusal import ReleaseRefused, check_patience, record_refusal
from contract_service.rules.agreed import policy_of
from contract_service.runs.agreement import agreement_of, approval_of
from contract_service.runs.tables import NonceRow, RunRow
from policies.decide import Policy
from policies.errors import BudgetError
from policies.facts import AttestationFacts, ContractFacts, attestation_facts, release_facts
from policies.wire.base import sha256
from policies.wire.contract import Contract
from policies.wire.decision import Decision
from policies.wire.pipeline import Pipeline


@dataclass(frozen=True)
class Request:
    """A request for keys, within a transaction that holds the run."""

    session: Session
    context: Context
    run: RunRow
    contract: Contract
    pipeline: Pipeline
    evidence: Evidence
    token: str = field(repr=False)


@dataclass(frozen=True)
class Allowed:
    """Keys may go, and the budget is reserved."""

    judgement: Judgement
    leaves: tuple[str, ...]
    """Leaf hashes of the decision and the booking."""


def judge(request: Request) -> Allowed | ReleaseRefused:
    """Decide, and reserve the budget in the same transaction.

    (1) The nonce was given out for this run and has not expired; this request uses it up. (2) The
    policy accepts the evidence. (3) The budget holds the run. (4) The policy accepts the release.
    A refusal is owed to the ledger, and returned for the caller to raise after the commit.

    Raises:
        PolicyError: if the policy cannot be asked, which denies.
        ConflictError: if too many requests for this run were refused.
    """
    check_patience(request.run, request.context)
    # (1)
    nonce = _nonce(request)
    used_with = () if nonce is None or nonce.token is None else (nonce.token,)
    if nonce is not None and nonce.token is None:
        nonce.token = _digest(request)
        request.session.add(nonce)
    # (2)
    attested = _judge_evidence(request, known=nonce is not None)
    if not attested.decision.allow:
        return _refused(request, attested)
    # (3)
    approval = approval_of(request.session, request.run)
    charges = approval.charges if approval is not None else ()
    shortage: BudgetError | None = None
    try:
        budgets.check(request.session, request.contract, charges)
    except BudgetError as error:
        shortage = error
    # (4)
    judged = _judge_release(request, reserved=shortage is None, nonce_used_with=used_with)
    if not judged.decision.allow:
        return _refused(request, judged, shortage)
    booking = budgets.reserve(
        request.session,
        request.contract,
        charges,
        run=request.run.id,
        decision=judged.decision_id,
        record=request.context.record,
        now=request.context.now,
    )
    return Allowed(judged, (judged.leaf, *([booking] if booking else [])))


def _judge_evidence(request: Request, *, known: bool) -> Judgement:
    facts = attestation_facts(
        request.evidence.claims,
        request.contract,
        run=request.run.id,
        pipeline_digest=request.run.pipeline,
        # A nonce that was not given out for this run, or too long ago, is expected by nobody.
        nonce=request.evidence.runtime.nonce if known else "",
        now=request.context.now,
    )
    decision = _policy(request).attestation(facts)
    return _keep(request, decision, facts)


def _judge_release(
    request: Request, *, reserved: bool, nonce_used_with: Sequence[str]
) -> Judgement:
    run, approval = request.run, approval_of(request.session, request.run)
    charged = [charge.dataset for charge in approval.charges] if approval is not None else []
    facts = release_facts(
        agreement_of(request.session, request.contract, now=request.context.now),
        run=run.id,
        state=run.state,
        contract=run.contract,
        pipeline=run.pipeline,
        approval=approval,
        reads=request.pipeline,
        files=request.pipeline.files(request.contract),
        token=request.token.encode(),
        nonce=request.evidence.runtime.nonce,
        reserved=charged if reserved else (),
        nonce_used_with=nonce_used_with,
        releasing_to=run.token,
    )
    return _keep(request, _policy(request).release(facts), facts)


def _policy(request: Request) -> Policy:
    return policy_of(request.context, request.session, request.contract)


def _keep(
    request: Request, decision: Decision, facts: ContractFacts | AttestationFacts
) -> Judgement:
    return keep(
        request.session,
        decision,
        facts,
        record=request.context.record,
        now=request.context.now,
        pipeline=request.run.pipeline,
        run=request.run.id,
    )


def _refused(
    request: Request, judgement: Judgement, because: BudgetError | None = None
) -> ReleaseRefused:
    record_refusal(
        request.session,
        request.context,
        request.run,
        judgement,
        request.contract,
        token=request.token,
        evidence=request.evidence,
    )
    return ReleaseRefused(judgement, because=because)


def _nonce(request: Request) -> NonceRow | None:
    digest = sha256(request.evidence.runtime.nonce.encode())
    query = select(NonceRow).where(NonceRow.digest == digest, NonceRow.run == request.run.id)
    row = request.session.exec(query.with_for_update()).first()
    return row if row is not None and request.context.now < row.expires_at else None


def _digest(request: Request) -> str:
    return sha256(request.token.encode())
