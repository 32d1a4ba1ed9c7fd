"""The run report: who may make it, what it must agree with, and what it settles."""

from __future__ import annotations

import json

from sqlmodel import Session

from clients.api.answers import ReportAccepted, ReportRequest
from contract_service.audit.record import leaf_of
from contract_service.budget import service as budgets
from contract_service.context import Context
from contract_service.contracts.statements import check_subject, statement_bytes, verified
from contract_service.problems import ForbiddenError
from contract_service.runs.agreement import contract_of
from contract_service.runs.rows import locked, move
from contract_service.runs.tables import RunRow
from ledger.statement import Statement
from policies.errors import DocumentError, Problem
from policies.wire.contract import Contract
from policies.wire.run import RunReport


def accept_report(context: Context, run: str, body: bytes) -> ReportAccepted:
    """Take in what the clean room did; the budget is settled by it.

    The same report again gives the same receipt.

    Raises:
        LedgerError: if the statement does not verify.
        DocumentError: naming what contradicts the run.
        ForbiddenError: if another key than the attested one signed it.
        ConflictError: if the run has no keys, or is over.
    """
    request = ReportRequest.parse(body)
    statement = verified(statement_bytes(request.statement), kind="run-report", now=context.now)
    with context.database.write() as session:
        row = locked(session, run)
        if statement.issuer != row.report_key:
            raise ForbiddenError(
                "report-key", "the report is not signed by the key that was attested for this run"
            )
        check_subject(statement, payload=request.document.digest(), contract=row.contract)
        if row.report_leaf != leaf_of(statement):
            _accept(session, context, row, request.document, statement)
    context.record.settle()
    registered = context.record.registered([leaf_of(statement)])[0]
    return ReportAccepted(state=request.document.state, registered=registered)


def _accept(
    session: Session, context: Context, row: RunRow, report: RunReport, statement: Statement
) -> None:
    contract, record, now = contract_of(session, row.contract), context.record, context.now
    private = bool(budgets.reserved(session, row.id))
    problems = _contradictions(report, row, contract, private=private)
    if problems:
        raise DocumentError(RunReport.kind, problems)
    move(row, report.state, now=now)
    record.attach(session, report.canonical(), kind=RunReport.kind, contract=row.contract)
    row.report_leaf = record.owe(session, statement)
    budgets.settle(
        session,
        contract,
        run=row.id,
        reason=f"run report: {report.state}",
        record=record,
        now=now,
        spent=report.spent,
    )
    row.spent = None if report.spent is None else json.dumps(report.spent.to_json())
    row.model, row.model_url, row.message = report.model, report.model_url, report.reason
    session.add(row)


def _contradictions(
    report: RunReport, row: RunRow, contract: Contract, *, private: bool
) -> list[Problem]:
    got = report.to_json()
    wanted = {
        "run": row.id,
        "contract": row.contract,
        "pipeline": row.pipeline,
        "hostData": row.host_data,
        "measurement": row.measurement,
    }
    problems = [
        Problem(f"/document/{field}", f"is not {value}")
        for field, value in wanted.items()
        if got.get(field) != value
    ]
    known = {item.digest for item in (*contract.datasets, *contract.base_models)}
    problems += [
        Problem(f"/document/datasets/{index}", "is no sealed file of the contract")
        for index, digest in enumerate(report.datasets)
        if digest not in known
    ]
    if report.state == "completed" and report.model is None:
        problems.append(Problem("/document/model", "is missing from a completed run"))
    if report.state == "completed" and private and report.spent is None:
        problems.append(Problem("/document/spent", "is missing from a private run"))
    spent = report.spent
    if spent is not None:
        terms = {(limit.unit, limit.adjacency) for limit in contract.constraints.privacy}
        if (spent.unit, spent.adjacency) not in terms:
            problems.append(Problem("/document/spent", "is in another unit than the contract's"))
    return problems
