"""Runs: submitted by the consumer, judged by the policy, reported by the clean room."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import UTC, datetime
from typing import Final

from sqlmodel import Session, col, select

from clients.api.answers import NonceAnswer, RunAccess, RunList, RunStatus
from contract_service.auth import Caller
from contract_service.budget import service as budgets
from contract_service.context import Context
from contract_service.contracts.service import Contracts
from contract_service.judge import Judgement, keep, new_id
from contract_service.problems import ConflictError, ForbiddenError, MissingError, RefusedError
from contract_service.rules.agreed import policy_of
from contract_service.runs.agreement import agreement_of, contract_of
from contract_service.runs.judging import Question, judge
from contract_service.runs.rows import locked, move, run_of, status_of
from contract_service.runs.settle import give_up
from contract_service.runs.tables import NonceRow, RunRow
from policies.attestation.runtime import encode_base64url
from policies.wire.base import sha256
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.run import Approval, Charge, Progress

CAPABILITY: Final = "drt_"
"""How a clean room's capability begins, so that one that leaks is found."""
_MAX_NONCES: Final = 100


class Runs:
    """What may be done with runs, and by whom."""

    def __init__(self, context: Context, contracts: Contracts) -> None:
        self._context = context
        self._contracts = contracts

    def submit(self, caller: Caller, body: bytes) -> RunStatus:
        """Judge a pipeline; approve it, or keep it as denied.

        Raises:
            DocumentError: naming every field that is wrong.
            MissingError: if the caller is no party of the contract that the pipeline names.
            ForbiddenError: if the caller is not its consumer.
            RefusedError: if the policy denies; decision and run are kept.
        """
        pipeline, now = Pipeline.parse(body), self._context.now
        with self._context.database.read() as session:
            row = self._contracts.visible(session, caller, pipeline.contract)
            contract = contract_of(session, row.digest)
        if caller.did != contract.tdc.id:
            raise ForbiddenError(
                "not-the-consumer", "runs are submitted by the contract's consumer"
            )
        question, run = Question.about(contract, pipeline), new_id("run")
        with self._context.database.write() as session:
            decision, facts = judge(
                question,
                policy_of(self._context, session, contract),
                agreed=agreement_of(session, contract, now=now),
                budgets=budgets.after(session, contract, pipeline.datasets, question.charges),
            )
            judgement = keep(
                session,
                decision,
                facts,
                record=self._context.record,
                now=now,
                pipeline=pipeline.digest(),
                run=run,
            )
            self._insert(
                session,
                run=run,
                pipeline=pipeline,
                contract=contract,
                judgement=judgement,
                charges=question.charges,
                now=now,
            )
        self._context.record.settle()
        if not judgement.decision.allow:
            raise RefusedError(judgement.decision, decision_id=judgement.decision_id)
        with self._context.database.read() as session:
            return status_of(run_of(session, run))

    def status(self, caller: Caller, run: str) -> RunStatus:
        """Return how far a run is."""
        with self._context.database.read() as session:
            return status_of(self.visible(session, caller, run))

    def own_status(self, run: str) -> RunStatus:
        """Return how far a run is, to its own clean room."""
        with self._context.database.read() as session:
            return status_of(run_of(session, run))

    def search(
        self, caller: Caller, *, contract: str | None = None, state: str | None = None
    ) -> RunList:
        """Return the runs of the contracts that the caller is a party of, newest first."""
        with self._context.database.read() as session:
            mine = self._contracts.visible_to(session, caller)
            query = select(RunRow).where(col(RunRow.contract).in_(mine))
            if contract is not None:
                query = query.where(RunRow.contract == contract)
            if state is not None:
                query = query.where(RunRow.state == state)
            rows = session.exec(query.order_by(col(RunRow.submitted_at).desc())).all()
        return RunList(runs=tuple(map(status_of, rows)))

    def access(self, caller: Caller, run: str) -> RunAccess:
        """Give the consumer a capability for the clean room; an earlier one ends.

        Raises:
            ConflictError: unless the run is approved.
        """
        token = CAPABILITY + secrets.token_urlsafe(32)
        with self._context.database.write() as session:
            self._own(session, caller, run)
            row = locked(session, run)
            if row.state != "approved" or row.expires_at is None:
                raise ConflictError(
                    "run-state",
                    f"{run} is {row.state}; a clean room is started when it is approved",
                )
            row.access_hash = capability_hash(token)
            row.access_until = row.expires_at + self._context.settings.run_seconds
            session.add(row)
        return RunAccess(run=run, token=token, expires_at=row.access_until)

    def nonce(self, run: str) -> NonceAnswer:
        """Give the clean room a challenge for its attested runtime data.

        Raises:
            ConflictError: unless keys may still be asked for.
        """
        nonce, now = encode_base64url(secrets.token_bytes(32)), self._context.now
        expires_at = now + self._context.settings.nonce_seconds
        with self._context.database.write() as session:
            row = locked(session, run)
            if row.state != "approved":
                raise ConflictError("run-state", f"{run} is {row.state}; it gets no keys")
            given = session.exec(select(NonceRow.digest).where(NonceRow.run == run)).all()
            if len(given) >= _MAX_NONCES:
                raise ConflictError("too-many-nonces", f"{run} was given {len(given)} nonces")
            session.add(NonceRow(digest=sha256(nonce.encode()), run=run, expires_at=expires_at))
        return NonceAnswer(nonce=nonce, expires_at=expires_at)

    def progress(self, run: str, body: bytes) -> RunStatus:
        """Take in how far training is; the first step makes the run a training one.

        Raises:
            DocumentError: naming the field that is wrong or not public.
            ConflictError: if the run is over.
        """
        progress = Progress.parse(body)
        with self._context.database.write() as session:
            row = locked(session, run)
            if row.state not in {"approved", "releasing", "released", "training"}:
                raise ConflictError("run-state", f"{run} is {row.state}; it makes no progress")
            if row.state == "released" and progress.phase in {"training", "sealing", "reporting"}:
                move(row, "training", now=self._context.now)
            row.progress = progress.canonical().decode()
            session.add(row)
        return status_of(row)

    def abandon(self, caller: Caller, run: str) -> RunStatus:
        """Give up a run: its budget returns if no vault can have been asked, else it is charged.

        Raises:
            ConflictError: if the run is over.
        """
        with self._context.database.write() as session:
            self._own(session, caller, run)
            give_up(
                session,
                self._context,
                locked(session, run),
                reason="abandoned by the consumer",
            )
        self._context.record.settle()
        return self.status(caller, run)

    def _insert(
        self,
        session: Session,
        *,
        run: str,
        pipeline: Pipeline,
        contract: Contract,
        judgement: Judgement,
        charges: tuple[Charge, ...],
        now: int,
    ) -> None:
        record, allowed = self._context.record, judgement.decision.allow
        digest = record.attach(
            session, pipeline.canonical(), kind=Pipeline.kind, contract=pipeline.contract
        )
        row = RunRow(
            id=run,
            name=pipeline.name,
            contract=pipeline.contract,
            pipeline=digest,
            tdc=contract.tdc.id,
            state="submitted",
            decision_id=judgement.decision_id,
            reasons=json.dumps([reason.to_json() for reason in judgement.decision.reasons]),
            submitted_at=now,
            changed_at=now,
        )
        move(row, "approved" if allowed else "denied", now=now)
        if allowed:
            row.expires_at = now + self._context.settings.approval_seconds
            approval = Approval(
                run=run,
                contract=pipeline.contract,
                pipeline=digest,
                decision=judgement.decision_id,
                approved_at=datetime.fromtimestamp(now, UTC),
                expires_at=datetime.fromtimestamp(row.expires_at, UTC),
                charges=charges,
            )
            row.approval = approval.digest()
            record.state(
                session, approval, subject=contract.urn, contract=pipeline.contract, now=now
            )
        session.add(row)

    def visible(self, session: Session, caller: Caller, run: str) -> RunRow:
        """Return a run under a contract of the caller.

        Raises:
            MissingError: for anybody else, as if there were none.
        """
        row = session.get(RunRow, run)
        if row is None:
            raise MissingError("run", run)
        try:
            self._contracts.visible(session, caller, row.contract)
        except MissingError:
            raise MissingError("run", run) from None
        return row

    def _own(self, session: Session, caller: Caller, run: str) -> RunRow:
        row = self.visible(session, caller, run)
        if row.tdc != caller.did:
            raise ForbiddenError(
                "not-the-consumer", "this is for the consumer who submitted the run"
            )
        return row


def capability_hash(token: str) -> str:
    """Return what is stored of a capability."""
    return hashlib.sha256(token.encode()).hexdigest()
