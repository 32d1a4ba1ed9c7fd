"""What becomes of runs that nobody is working on any more."""

from __future__ import annotations

from typing import Final

import structlog
from sqlmodel import Session, col, select

from contract_service.budget import service as budgets
from contract_service.context import Context
from contract_service.runs.agreement import contract_of
from contract_service.runs.rows import locked, move
from contract_service.runs.state import FINAL, Settlement, Standing, settlement
from contract_service.runs.tables import RunRow

_LOG: Final = structlog.get_logger("depa.runs")


def give_up(session: Session, context: Context, row: RunRow, *, reason: str) -> None:
    """Fail a run: return its reservation if no vault can have been asked, else charge all of it.

    Raises:
        ConflictError: if the run is over.
    """
    move(row, "failed", now=context.now)
    row.message = reason
    session.add(row)
    contract, record, now = contract_of(session, row.contract), context.record, context.now
    if row.vault_asked_at is None:
        budgets.give_back(session, contract, run=row.id, reason=reason, record=record, now=now)
    else:
        budgets.settle(
            session, contract, run=row.id, reason=reason, record=record, now=now, in_full=True
        )


def settle_runs(context: Context, *, restarted: bool = False) -> int:
    """Settle every run that is overdue or was interrupted; return how many.

    Args:
        context: The service.
        restarted: True right after a start, when no request can be working on a run.
    """
    with context.database.read() as session:
        open_runs = session.exec(
            select(RunRow.id).where(col(RunRow.state).not_in(sorted(FINAL)))
        ).all()
    return sum(_settle(context, run, restarted=restarted) for run in open_runs)


def _settle(context: Context, run: str, *, restarted: bool) -> bool:
    with context.database.write() as session:
        row = locked(session, run)
        standing = Standing(
            state=row.state,  # type: ignore[arg-type]  # only move writes it
            vault_asked=row.vault_asked_at is not None,
            expires_at=row.expires_at,
            deadline=row.deadline,
        )
        verdict = settlement(standing, now=context.now, restarted=restarted)
        if verdict is Settlement.KEEP:
            return False
        if verdict is Settlement.EXPIRE:
            move(row, "expired", now=context.now)
            row.message = verdict.value
            session.add(row)
        else:
            give_up(session, context, row, reason=verdict.value)
    _LOG.info("settled", run=run, outcome=verdict.name.lower())
    return True
