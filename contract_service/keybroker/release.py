"""Release of keys to a clean room, step by step, in the order that no crash can change.

1. verify_evidence       the token is by an authority of the contract and covers its runtime data
2. decide_and_reserve    nonce unused, evidence and release allowed by the policy, budget reserved
3. register              decisions and reservation are in the ledger
4. mark_vault_asked      from here on the budget counts as spent; the release is owed to the ledger
5. register              the release is in the ledger
6. ask_vaults            each vault decides once more, by its own policy, and wraps its key
7. finish                receipts and wrapped keys are returned

Step 2 is one transaction, so is 4. A crash before 4 returns the reservation; after 4 the same
token resumes at 5. A refusal at 1 or 2 is recorded with its reasons, and changes nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from clients.api.answers import Released, ReleasedKey, ReleaseRequest
from clients.api.errors import ClientError
from contract_service.context import Context
from contract_service.judge import decision_of
from contract_service.keybroker.evidence import Evidence
from contract_service.keybroker.refusal import ReleaseRefused, refuse_unproven
from contract_service.keybroker.verdict import Allowed, Request, judge
from contract_service.metrics import RELEASES
from contract_service.problems import ConflictError, UpstreamError
from contract_service.runs.agreement import contract_of, pipeline_of
from contract_service.runs.rows import locked, move, run_of
from contract_service.runs.tables import RunRow
from policies.errors import EvidenceError
from policies.wire.base import sha256
from policies.wire.contract import Contract, KeyRef
from policies.wire.pipeline import Pipeline
from policies.wire.run import KeyRelease


@dataclass
class Work:
    """One request for keys on its way through the steps."""

    context: Context
    run: str
    token: str = field(repr=False)
    contract: Contract
    pipeline: Pipeline
    evidence: Evidence | None = None
    decision_id: str = ""
    """Of the decision that allowed it."""
    resumed: bool = False
    """Whether this token's release had begun before."""
    keys: tuple[ReleasedKey, ...] = ()
    answer: Released | None = None

    @property
    def token_digest(self) -> str:
        """Digest of the token's text."""
        return sha256(self.token.encode())

    @property
    def proven(self) -> Evidence:
        """The evidence, which the first step has verified."""
        if self.evidence is None:
            raise ConflictError("release-order", "evidence is verified first")
        return self.evidence

    @property
    def wanted(self) -> tuple[KeyRef, ...]:
        """Keys of the files that the pipeline reads; one key may open several."""
        return tuple(dict.fromkeys(item.key for item in self.pipeline.files(self.contract)))


def release(context: Context, run: str, body: bytes) -> Released:
    """Release the keys of a run to the clean room that holds this token.

    Raises:
        DocumentError: if the request is malformed.
        ReleaseRefused: if evidence or policy say no; it is on the ledger.
        BudgetError: if the budget no longer holds the run.
        ConflictError: if the run is not one that keys are for.
        UpstreamError: if a vault or an authority does not answer; the same token may be sent again.
    """
    request = ReleaseRequest.parse(body)
    with context.database.read() as session:
        row = run_of(session, run)
        work = Work(
            context,
            run,
            request.token,
            contract=contract_of(session, row.contract),
            pipeline=pipeline_of(session, row.pipeline),
        )
    try:
        for step in STEPS:
            step(work)
    except ReleaseRefused:
        RELEASES.labels(outcome="refused").inc()
        raise
    if work.answer is None:
        raise ConflictError("release-order", "the release did not finish")
    RELEASES.labels(outcome="released").inc()
    return work.answer


def verify_evidence(work: Work) -> None:
    """Step 1: prove the token and what it binds; a refusal is recorded."""
    context, now = work.context, work.context.now
    try:
        work.evidence = context.authorities.verify(work.token, contract=work.contract, now=now)
    except ClientError as error:
        raise UpstreamError("attestation-unavailable", str(error), hint=error.hint) from error
    except EvidenceError as error:
        refuse_unproven(context, work.run, work.contract, token=work.token, because=error)


def decide_and_reserve(work: Work) -> None:
    """Step 2: nonce, evidence, release and budget, all or nothing."""
    context, now = work.context, work.context.now
    with context.database.write() as session:
        row = locked(session, work.run)
        work.resumed = _is_resumed(row, work)
        if work.resumed:
            return
        evidence = work.proven
        verdict = judge(
            Request(
                session,
                context,
                row,
                work.contract,
                pipeline=work.pipeline,
                evidence=evidence,
                token=work.token,
            )
        )
        if isinstance(verdict, Allowed):
            work.decision_id = verdict.judgement.decision_id
            row.token, row.report_key = work.token_digest, evidence.report_key
            row.host_data, row.measurement = evidence.claims.host_data, evidence.claims.measurement
            row.release_leaves = json.dumps(verdict.leaves)
            row.deadline = now + context.settings.run_seconds
            move(row, "releasing", now=now)
            session.add(row)
    if isinstance(verdict, ReleaseRefused):
        context.record.settle()
        raise verdict


def register(work: Work) -> None:
    """Steps 3 and 5: what is owed to the ledger goes there, or nothing goes on."""
    work.context.record.settle()


def mark_vault_asked(work: Work) -> None:
    """Step 4: say, durably, that a vault may be asked, and owe the ledger the release."""
    if work.resumed:
        return
    context, now, evidence = work.context, work.context.now, work.proven
    with context.database.write() as session:
        row = locked(session, work.run)
        if row.state != "releasing" or row.token != work.token_digest:
            raise ConflictError("run-state", f"{row.id} is {row.state}; its release was given up")
        row.vault_asked_at = now
        session.add(row)
        document = KeyRelease(
            run=row.id,
            contract=row.contract,
            pipeline=row.pipeline,
            allowed=True,
            decision=work.decision_id,
            keys=tuple(f"{key.vault}/keys/{key.name}" for key in work.wanted),
            token=work.token_digest,
            nonce=sha256(evidence.runtime.nonce.encode()),
            host_data=evidence.claims.host_data,
            measurement=evidence.claims.measurement,
            report_key=evidence.report_key,
            released_at=now,
        )
        context.record.attach(
            session, work.token.encode(), kind="attestation-token", contract=row.contract
        )
        leaf = context.record.state(
            session, document, subject=work.contract.urn, contract=row.contract, now=now
        )
        row.release_leaves = json.dumps([*json.loads(row.release_leaves or "[]"), leaf])
        session.add(row)


def ask_vaults(work: Work) -> None:
    """Step 6: each vault wraps its key to the attested key, or refuses."""
    keys = []
    for key in work.wanted:
        try:
            value = work.context.vaults.release(
                vault=key.vault,
                name=key.name,
                token=work.token,
                nonce=work.proven.runtime.nonce,
            )
        except ClientError as error:
            raise UpstreamError(
                "vault-refused",
                f"{key.vault}/keys/{key.name}: {error}",
                hint=error.hint or "the same request may be sent again",
            ) from error
        keys.append(ReleasedKey(vault=key.vault, name=key.name, value=value))
    work.keys = tuple(keys)


def finish(work: Work) -> None:
    """Step 7: the receipts go with the keys, or the keys do not go."""
    context = work.context
    with context.database.read() as session:
        leaves = json.loads(run_of(session, work.run).release_leaves or "[]")
        decision = decision_of(session, leaf=leaves[0])
    receipts = context.record.registered(leaves)
    with context.database.write() as session:
        row = locked(session, work.run)
        if row.state == "releasing":
            move(row, "released", now=context.now)
            session.add(row)
        elif row.state != "released":
            raise ConflictError("run-state", f"{row.id} is {row.state}; its release was given up")
        deadline = row.deadline or context.now
    work.answer = Released(
        run=work.run,
        decision_id=decision,
        keys=work.keys,
        receipts=receipts,
        deadline=deadline,
    )


Step = Callable[[Work], None]
STEPS: Final[Sequence[Step]] = (
    verify_evidence,
    decide_and_reserve,
    register,
    mark_vault_asked,
    register,
    ask_vaults,
    finish,
)


def _is_resumed(row: RunRow, work: Work) -> bool:
    """Tell whether this token's release had begun, and how far.

    Raises:
        ConflictError: if another request with this token is at it now.
    """
    if row.token != work.token_digest or row.state not in {"releasing", "released"}:
        return False
    if row.vault_asked_at is None:
        raise ConflictError("release-in-progress", f"{row.id}: this request is being worked on")
    return True
