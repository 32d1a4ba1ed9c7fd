"""What an auditor checks about one contract, offline, from what the log proves.

Each check either raises or says what it has found. None needs the service: decisions are made again
from the facts they were made from, and budgets are composed again from the mechanisms that were
booked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from policies.accounting import compose, event_from_json, micro_epsilon
from policies.bundle import Bundle
from policies.dossier import Dossier, Recorded, RecordRefused
from policies.record import replay
from policies.wire.run import Approval, BudgetBooking, Charge, KeyRelease, RunReport, Spent

SALT_BYTES: Final = 32
"""Before the facts in the input of a decision."""
MILLION: Final = 10**6
TRILLION: Final = 10**12
_BOOKED_AGAIN: Final = 1e-6
"""Composition is deterministic; this is for another build of the same library."""


@dataclass(frozen=True)
class Finding:
    """Something that was checked and holds."""

    title: str
    detail: str


@dataclass(frozen=True)
class _Run:
    approval: Recorded[Approval]
    releases: tuple[Recorded[KeyRelease], ...]
    bookings: tuple[Recorded[BudgetBooking], ...]
    reports: tuple[Recorded[RunReport], ...]


def audit(dossier: Dossier, *, policies: Mapping[str, Bundle]) -> tuple[Finding, ...]:
    """Check everything that the record of a contract claims.

    Args:
        dossier: What the log proves about the contract.
        policies: Every released policy bundle, by digest.

    Raises:
        RecordRefused: at the first claim that does not hold.
        PolicyError: when a decision cannot be made again, or comes out otherwise.
    """
    return tuple(_findings(dossier, policies))


def _findings(dossier: Dossier, policies: Mapping[str, Bundle]) -> Iterator[Finding]:
    contract = dossier.contract
    yield Finding("contract", f"{contract.title}, {dossier.digest}")
    yield _consents(dossier)
    yield _decisions(dossier, policies)
    runs = [_run(dossier, approval) for approval in dossier.approvals]
    for run in runs:
        yield _approved(dossier, run)
        yield from _released(dossier, run)
        yield from _reported(run)
    refused = [item for item in dossier.releases if not item.document.allowed]
    known = {item.document.run for item in dossier.approvals}
    strays = [item for item in dossier.releases if item.document.run not in known]
    if any(item.document.allowed for item in strays):
        raise RecordRefused("keys were released for a run that was never approved")
    codes = sorted({code for item in refused for code in item.document.codes})
    yield Finding(
        "refused releases", f"{len(refused)}" + (f": {', '.join(codes)}" if codes else "")
    )
    yield from _budgets(dossier, runs)


def _consents(dossier: Dossier) -> Finding:
    if dossier.missing:
        return Finding("consents", f"{len(dossier.missing)} parties have not signed")
    if dossier.executed is None:
        raise RecordRefused("all parties have signed, but the contract is not executed")
    executed = dossier.executed
    dossier.permitted(
        executed.document.decision,
        entrypoint="contract",
        before=executed.index,
        what="the execution of the contract",
    )
    names = ", ".join(party.name for party in dossier.contract.parties)
    revoked = f"; revoked by {len(dossier.revocations)}" if dossier.revocations else ""
    return Finding("consents", f"signed by {names}; executed at {executed.index}{revoked}")


def _decisions(dossier: Dossier, policies: Mapping[str, Bundle]) -> Finding:
    allowed = failed = 0
    for item in dossier.decisions:
        record = item.document
        made_from = dossier.inputs.get(record.input_digest)
        if made_from is None:
            raise RecordRefused(f"the record lacks what decision {record.decision_id} rests on")
        if record.policy not in policies:
            raise RecordRefused(f"decision {record.decision_id}: unknown policy {record.policy}")
        salt, facts = made_from[:SALT_BYTES], made_from[SALT_BYTES:]
        bundle = policies[record.policy]
        again = replay(record, facts, salt=salt, bundle=bundle, rules=dossier.documents)
        allowed += record.allow
        failed += again is None
    total = len(dossier.decisions) - failed
    detail = f"{total} made again, {allowed} allow, {total - allowed} deny"
    if failed:
        detail += f"; {failed} denied because the engine had failed, which cannot be made again"
    return Finding("decisions", detail)


def _run(dossier: Dossier, approval: Recorded[Approval]) -> _Run:
    run = approval.document.run
    return _Run(
        approval,
        tuple(item for item in dossier.releases if item.document.run == run),
        tuple(item for item in dossier.bookings if item.document.run == run),
        tuple(item for item in dossier.reports if item.document.run == run),
    )


def _approved(dossier: Dossier, run: _Run) -> Finding:
    approval = run.approval.document
    dossier.permitted(
        approval.decision,
        entrypoint="training",
        before=run.approval.index,
        what=f"the approval of {approval.run}",
        run=approval.run,
        pipeline=approval.pipeline,
    )
    if sum(item.document.run == approval.run for item in dossier.approvals) > 1:
        raise RecordRefused(f"{approval.run} was approved more than once")
    return Finding(f"{approval.run} approved", f"pipeline {approval.pipeline}")


def _released(dossier: Dossier, run: _Run) -> Iterator[Finding]:
    name = run.approval.document.run
    allowed = [item for item in run.releases if item.document.allowed]
    if not allowed:
        yield Finding(f"{name} keys", "none went out")
        return
    if len(allowed) > 1:
        raise RecordRefused(f"keys were released {len(allowed)} times for {name}")
    release = allowed[0]
    document = release.document
    approval = run.approval.document
    if document.pipeline != approval.pipeline:
        raise RecordRefused(f"keys were released for another pipeline than approved for {name}")
    if release.index < run.approval.index:
        raise RecordRefused(f"keys were released before {name} was approved")
    if document.released_at >= approval.expires_at.timestamp():
        raise RecordRefused(f"keys were released after the approval of {name} had expired")
    if any(item.index < release.index for item in dossier.revocations):
        raise RecordRefused(f"keys were released for {name} after a party had revoked")
    dossier.permitted(
        document.decision,
        entrypoint="release",
        before=release.index,
        what=f"the release of keys for {name}",
        run=name,
        pipeline=document.pipeline,
    )
    if document.host_data not in dossier.contract.attestation.host_data:
        raise RecordRefused(f"keys of {name} went to a launch policy outside the contract")
    listed = dossier.contract.attestation.measurements
    if listed is not None and document.measurement not in listed:
        raise RecordRefused(f"keys of {name} went to a launch measurement outside the contract")
    if not any(b.document.state == "reserved" and b.index < release.index for b in run.bookings):
        raise RecordRefused(f"keys were released for {name} without a reservation before")
    if any(item.document.decision != document.decision for item in run.bookings):
        raise RecordRefused(f"the budget of {name} was booked for another decision than its keys")
    dossier.document(document.token, what=f"the attestation token of {name}")
    yield Finding(f"{name} keys", f"{len(document.keys)} released at entry {release.index}")


def _reported(run: _Run) -> Iterator[Finding]:
    approval = run.approval.document
    if len(run.reports) > 1:
        raise RecordRefused(f"{approval.run} reported {len(run.reports)} times")
    for item in run.reports:
        report = item.document
        if report.pipeline != approval.pipeline:
            raise RecordRefused(f"{approval.run} reports another pipeline than was approved")
        release = next(each for each in run.releases if each.document.allowed)
        measured = (release.document.host_data, release.document.measurement)
        if (report.host_data, report.measurement) != measured:
            raise RecordRefused(f"{approval.run} reports other hardware than keys were released to")
        detail: str = report.state
        if report.spent is not None:
            _check_spent(run, report.spent)
            detail += (
                f", epsilon {report.spent.micro_epsilon / MILLION:.4f} at delta "
                f"{report.spent.delta_trillionths / TRILLION:g} in {report.spent.steps} steps"
            )
        if report.restarts is not None:
            detail += f", training killed and resumed {report.restarts} times"
        yield Finding(f"{approval.run} report", detail)


def _check_spent(run: _Run, spent: Spent) -> None:
    """Check that a report's epsilon is what its mechanism costs, was approved and was booked."""
    approval = run.approval.document
    cost = compose(
        [event_from_json(spent.event)],
        delta=spent.delta_trillionths / TRILLION,
        adjacency=spent.adjacency,
    )
    if cost > spent.micro_epsilon / MILLION + _BOOKED_AGAIN:
        raise RecordRefused(
            f"{approval.run} reports epsilon {spent.micro_epsilon / MILLION}, "
            f"its mechanism costs {cost:.6f}"
        )
    if any(spent.micro_epsilon > charge.micro_epsilon for charge in approval.charges):
        raise RecordRefused(f"{approval.run} reports more epsilon than was approved")
    for booking in run.bookings:
        if booking.document.state == "settled" and any(
            charge.event != spent.event for charge in booking.document.charges
        ):
            raise RecordRefused(f"{approval.run} was booked as another mechanism than reported")


def _budgets(dossier: Dossier, runs: list[_Run]) -> Iterator[Finding]:
    contract = dossier.contract
    charges = [charge for run in runs for charge in _final(run)]
    for limit in contract.constraints.privacy:
        booked = [c for c in charges if c.dataset == limit.dataset and c.tdc == contract.tdc.id]
        events = [event_from_json(charge.event) for charge in booked]
        spent = compose(events, delta=limit.total.delta, adjacency=limit.adjacency)
        if spent > limit.total.epsilon + _BOOKED_AGAIN:
            raise RecordRefused(
                f"data set {limit.dataset}: epsilon {spent:.6f} is booked, "
                f"{limit.total.epsilon} was granted"
            )
        yield Finding(
            f"budget of {limit.dataset}",
            f"epsilon {micro_epsilon(spent) / MILLION:.4f} of {limit.total.epsilon} "
            f"at delta {limit.total.delta:g}, {len(booked)} runs",
        )


def _final(run: _Run) -> tuple[Charge, ...]:
    """Return what a run's last booking leaves charged."""
    name = run.approval.document.run
    states = [item.document.state for item in run.bookings]
    if states not in ([], ["reserved"], ["reserved", "settled"], ["reserved", "returned"]):
        raise RecordRefused(f"the bookings of {name} are {', '.join(states)}")
    if not states:
        return ()
    if states[-1] == "returned":
        if any(item.document.allowed for item in run.releases):
            raise RecordRefused(f"the budget of {name} was returned though keys went out")
        return ()
    return run.bookings[-1].document.charges
