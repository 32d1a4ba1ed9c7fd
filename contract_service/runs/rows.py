"""Reading and changing the rows of a run."""

from __future__ import annotations

import json

from sqlmodel import Session, select

from clients.api.answers import RunStatus
from contract_service.metrics import RUNS
from contract_service.problems import MissingError
from contract_service.runs.state import check_transition
from contract_service.runs.tables import RunRow
from policies.wire.decision import Reason
from policies.wire.run import Progress, RunState, Spent


def run_of(session: Session, run: str) -> RunRow:
    """Return a run.

    Raises:
        MissingError: if there is none.
    """
    row = session.get(RunRow, run)
    if row is None:
        raise MissingError("run", run)
    return row


def locked(session: Session, run: str) -> RunRow:
    """Return a run, locked until the transaction ends.

    Raises:
        MissingError: if there is none.
    """
    row = session.exec(select(RunRow).where(RunRow.id == run).with_for_update()).first()
    if row is None:
        raise MissingError("run", run)
    return row


def move(row: RunRow, state: RunState, *, now: int) -> None:
    """Bring a run into another state.

    Raises:
        ConflictError: if there is no way there.
    """
    check_transition(row.state, state, run=row.id)  # type: ignore[arg-type]  # only move writes it
    row.state, row.changed_at = state, now
    RUNS.labels(state=state).inc()


def status_of(row: RunRow) -> RunStatus:
    """Return how far a run is."""
    return RunStatus(
        run=row.id,
        name=row.name,
        contract=row.contract,
        pipeline=row.pipeline,
        state=row.state,  # type: ignore[arg-type]  # only move writes it
        decision_id=row.decision_id,
        reasons=tuple(Reason.model_validate(item) for item in json.loads(row.reasons)),
        submitted_at=row.submitted_at,
        changed_at=row.changed_at,
        expires_at=row.expires_at,
        deadline=row.deadline,
        progress=None if row.progress is None else Progress.model_validate_json(row.progress),
        spent=None if row.spent is None else Spent.model_validate_json(row.spent),
        model=row.model,
        model_url=row.model_url,
        message=row.message,
    )
