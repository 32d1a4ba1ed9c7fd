"""Privacy budgets: what runs have reserved and spent of a data set, as composed mechanisms.

Two budgets hold for each data set of a contract: one for all runs of its consumer, and one for
all consumers. A booking counts on a data set if it was made on the same sealed file, or on the
same provider's data set of that id, so that sealing the same data again does not renew a budget.

    reserved -> settled     with what the attested report says, or in full where none came
    reserved -> returned    only while no vault can have been asked
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal

from sqlmodel import Session, col, or_, select

from clients.api.answers import BudgetEntry, BudgetLine, BudgetList, BudgetStatus
from contract_service.audit.record import Record
from contract_service.budget.tables import BookingRow, LockRow
from policies import accounting
from policies.errors import BudgetError
from policies.facts import BudgetAfter
from policies.wire.base import canonical_json
from policies.wire.budget import Budget
from policies.wire.constraints import Privacy
from policies.wire.contract import Contract, Dataset
from policies.wire.run import BudgetBooking, Charge, Spent

_COUNTS: Final = ("reserved", "settled")
_RESERVED: Final = "key release"
BookingState = Literal["reserved", "settled", "returned"]


def after(
    session: Session, contract: Contract, datasets: Sequence[str], charges: Sequence[Charge]
) -> tuple[BudgetAfter, ...]:
    """Return what would be spent on each data set of a run once it is booked."""
    wanted = {charge.dataset: _text(charge) for charge in charges}
    found = []
    for name in datasets:
        dataset, limits = contract.dataset(name), contract.privacy(name)
        if dataset is None or limits is None:
            continue
        extra = [wanted[name]] if name in wanted else []
        mine, everybody = (
            [row.event for row in _bookings(session, dataset, tdc=tdc)]
            for tdc in (contract.tdc.id, None)
        )
        found.append(
            BudgetAfter(
                dataset=name,
                tdc_after_micro_epsilon=_spent([*mine, *extra], limits.total, limits),
                overall_after_micro_epsilon=_spent([*everybody, *extra], limits.overall, limits),
            )
        )
    return tuple(found)


def check(session: Session, contract: Contract, charges: Sequence[Charge]) -> None:
    """Raise unless every budget holds a run; nobody else books until the transaction ends.

    Raises:
        BudgetError: with both numbers of the first budget that does not.
    """
    lock(session)
    names = [charge.dataset for charge in charges]
    for budget in after(session, contract, names, charges):
        limits = contract.privacy(budget.dataset)
        if limits is None:
            raise BudgetError(f"data set {budget.dataset} has no budget in the contract")
        _check(budget.dataset, "this consumer", limits.total, budget.tdc_after_micro_epsilon)
        _check(budget.dataset, "all", limits.overall, budget.overall_after_micro_epsilon)


def reserve(
    session: Session,
    contract: Contract,
    charges: Sequence[Charge],
    *,
    run: str,
    decision: str,
    record: Record,
    now: int,
) -> str | None:
    """Book a run on all its data sets or on none; return the booking's leaf hash.

    A run that costs nothing has none. What a decision permits is booked once, however often.

    Args:
        session: A write session.
        contract: The contract of the run.
        charges: What the run may cost.
        run: Id of the run.
        decision: Id of the decision that allows it.
        record: Takes the booking for the ledger.
        now: Unix seconds.

    Raises:
        BudgetError: if a budget does not hold the run, with both numbers.
    """
    lock(session)
    booked = _rows(session, run)
    if booked:
        if booked[0].decision != decision:
            raise BudgetError(f"{run} is booked by another decision, {booked[0].decision}")
        document = _booking(contract, booked, state="reserved", reason=_RESERVED)
        return record.leaf_about(session, kind=document.kind, payload=document.digest())
    check(session, contract, charges)
    for charge in charges:
        dataset = contract.dataset(charge.dataset)
        if dataset is None:
            raise BudgetError(f"data set {charge.dataset} is not in the contract")
        session.add(
            BookingRow(
                run=run,
                decision=decision,
                contract=contract.digest(),
                dataset=charge.dataset,
                provider=dataset.provider,
                digest=dataset.digest,
                tdc=charge.tdc,
                state="reserved",
                micro_epsilon=charge.micro_epsilon,
                delta_trillionths=charge.delta_trillionths,
                event=_text(charge),
                booked_at=now,
            )
        )
    if not charges:
        return None
    session.flush()
    why = _RESERVED
    return _book(session, contract, run=run, state="reserved", reason=why, record=record, now=now)


def give_back(
    session: Session, contract: Contract, *, run: str, reason: str, record: Record, now: int
) -> str | None:
    """Return a reservation; the caller MUST know that no vault can have been asked."""
    return _close(
        session, contract, run=run, state="returned", reason=reason, record=record, now=now
    )


def settle(
    session: Session,
    contract: Contract,
    *,
    run: str,
    reason: str,
    record: Record,
    now: int,
    spent: Spent | None = None,
    in_full: bool = False,
) -> str | None:
    """Replace a reservation by what was spent; by all of it where that cannot be shown.

    Args:
        session: A write session.
        contract: The contract of the run.
        run: Id of the run.
        reason: Why, for the ledger.
        record: Takes the booking for the ledger.
        now: Unix seconds.
        spent: What the attested report says; None if it says that no step was taken.
        in_full: Keep the whole reservation, because there is no report.
    """
    lock(session)
    if not in_full:
        event = (
            accounting.event_from_json(spent.event)
            if spent is not None
            else accounting.training_event(noise_multiplier=1.0, sampling_rate=1.0, steps=0)
        )
        text = canonical_json(accounting.event_to_json(event)).decode()
        for row in _rows(session, run):
            limits = contract.privacy(row.dataset)
            if row.state != "reserved" or limits is None:
                continue
            row.event = text
            row.micro_epsilon = cost(spent, limits)
            row.delta_trillionths = row.delta_trillionths if spent is not None else 0
            session.add(row)
    return _close(
        session, contract, run=run, state="settled", reason=reason, record=record, now=now
    )


def cost(spent: Spent | None, limits: Privacy) -> int:
    """Return what a report's mechanism costs in millionths, by our own accountant.

    Raises:
        BudgetError: if it cannot be composed.
        DocumentError: if the event is not one that a budget holds.
    """
    if spent is None:
        return 0
    accounting.event_from_json(spent.event)
    delta = spent.delta_trillionths / 10**12
    text = canonical_json(spent.event).decode()
    return accounting.micro_epsilon(_compose((text,), delta, limits.adjacency))


def status(session: Session, contracts: Sequence[Contract], digest: str) -> BudgetList:
    """Return the budgets of a data set, one for each of these contracts that lends it."""
    found = []
    for contract in contracts:
        for dataset in contract.datasets:
            limits = contract.privacy(dataset.id)
            if dataset.digest != digest or limits is None:
                continue
            mine = _bookings(session, dataset, tdc=contract.tdc.id)
            everybody = _bookings(session, dataset, tdc=None)
            found.append(
                BudgetStatus(
                    dataset=dataset.id,
                    digest=digest,
                    contract=contract.digest(),
                    unit=limits.unit,
                    adjacency=limits.adjacency,
                    total=_line(mine, limits.total, limits, tdc=contract.tdc.id),
                    overall=_line(everybody, limits.overall, limits, tdc=None),
                    entries=tuple(
                        _entry(row) for row in everybody if row.contract == contract.digest()
                    ),
                )
            )
    return BudgetList(budgets=tuple(found))


def reserved(session: Session, run: str) -> tuple[str, ...]:
    """Return the data sets on which a run has a reservation."""
    return tuple(row.dataset for row in _rows(session, run) if row.state == "reserved")


def lock(session: Session) -> None:
    """Keep every other booking out until the transaction ends."""
    session.exec(select(LockRow).with_for_update()).one()


def _close(
    session: Session,
    contract: Contract,
    *,
    run: str,
    state: BookingState,
    reason: str,
    record: Record,
    now: int,
) -> str | None:
    lock(session)
    rows = [row for row in _rows(session, run) if row.state == "reserved"]
    if not rows:
        return None
    for row in rows:
        row.state, row.booked_at = state, now
        session.add(row)
    session.flush()
    return _book(session, contract, run=run, state=state, reason=reason, record=record, now=now)


def _book(
    session: Session,
    contract: Contract,
    *,
    run: str,
    state: BookingState,
    reason: str,
    record: Record,
    now: int,
) -> str:
    rows = [row for row in _rows(session, run) if row.state == state]
    booking = _booking(contract, rows, state=state, reason=reason)
    return record.state(session, booking, subject=contract.urn, contract=contract.digest(), now=now)


def _booking(
    contract: Contract, rows: Sequence[BookingRow], *, state: BookingState, reason: str
) -> BudgetBooking:
    return BudgetBooking(
        run=rows[0].run,
        contract=contract.digest(),
        decision=rows[0].decision,
        state=state,
        reason=reason,
        charges=tuple(
            Charge(
                dataset=row.dataset,
                tdc=row.tdc,
                micro_epsilon=row.micro_epsilon,
                delta_trillionths=row.delta_trillionths,
                event=json.loads(row.event),
            )
            for row in rows
        ),
        booked_at=rows[0].booked_at,
    )


def _bookings(session: Session, dataset: Dataset, *, tdc: str | None) -> Sequence[BookingRow]:
    same = or_(
        col(BookingRow.digest) == dataset.digest,
        (col(BookingRow.provider) == dataset.provider) & (col(BookingRow.dataset) == dataset.id),
    )
    query = select(BookingRow).where(same, col(BookingRow.state).in_(_COUNTS))
    if tdc is not None:
        query = query.where(BookingRow.tdc == tdc)
    return session.exec(query.order_by(col(BookingRow.id))).all()


def _rows(session: Session, run: str) -> Sequence[BookingRow]:
    query = select(BookingRow).where(BookingRow.run == run).order_by(col(BookingRow.id))
    return session.exec(query).all()


def _text(charge: Charge) -> str:
    return canonical_json(charge.event).decode()


def _spent(events: Sequence[str], budget: Budget, limits: Privacy) -> int:
    epsilon = _compose(tuple(sorted(events)), budget.delta, limits.adjacency)
    return accounting.micro_epsilon(epsilon)


@lru_cache(maxsize=512)
def _compose(events: tuple[str, ...], delta: float, adjacency: accounting.Adjacency) -> float:
    if not events:
        return 0.0
    parsed = [accounting.event_from_json(json.loads(text)) for text in events]
    return accounting.compose(parsed, delta=delta, adjacency=adjacency)


def _check(dataset: str, whose: str, budget: Budget, got: int) -> None:
    limit = accounting.micro_epsilon(budget.epsilon)
    if got > limit:
        raise BudgetError(
            f"budget of {dataset} for {whose}: expected at most epsilon {limit / 1e6:g}, "
            f"got {got / 1e6:g} with this run",
            hint="depa run submit again with a smaller epsilon, or ask for a new contract",
        )


def _line(
    rows: Sequence[BookingRow], budget: Budget, limits: Privacy, *, tdc: str | None
) -> BudgetLine:
    return BudgetLine(
        tdc=tdc,
        micro_epsilon_spent=_spent([row.event for row in rows], budget, limits),
        micro_epsilon_limit=accounting.micro_epsilon(budget.epsilon),
        delta_trillionths=accounting.delta_trillionths(budget.delta),
        bookings=len(rows),
    )


def _entry(row: BookingRow) -> BudgetEntry:
    return BudgetEntry.model_validate(
        {
            "run": row.run,
            "contract": row.contract,
            "tdc": row.tdc,
            "state": row.state,
            "micro_epsilon": row.micro_epsilon,
            "delta_trillionths": row.delta_trillionths,
            "event": json.loads(row.event),
            "booked_at": row.booked_at,
        }
    )
