"""However a run ends, its signed report says why by one word, and the budget is settled by it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.did import did_jwk_for
from ledger.identity import Identity
from policies.agreement import Agreement
from policies.errors import DepaError
from policies.wire.contract import Contract
from tests.room import STAGE, Lent, agreement_of, keks
from tests.service.crash import record_of, spent
from tests.service.world import Room, World, contract, running
from tests.simulator import HOST_DATA, evidence_claims
from trainer.faults import reason_of
from trainer.gate import Attested
from trainer.report import sign_report

STEPS = 4
SCRIPT = """
import json, sys
sys.stdin.readline()
for word in {words!r}:
    print(json.dumps(word), flush=True)
{end}
"""
READY = {"ready": True}


@dataclass(frozen=True)
class Offer:
    """A contract that is executed, and the sealed files under it."""

    world: World
    lent: Lent
    agreed: Contract


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offer]:
    lent = Lent(tmp_path_factory.mktemp("lent"))
    terms = lent.terms(contract().to_json())
    with running(tmp_path_factory.mktemp("world")) as world:
        yield Offer(world, lent, world.executed(**terms))


def stepped(step: int) -> dict[str, Any]:
    return {"stepped": {"step": step, "microEpsilon": step, "etaSeconds": 0}}


def worker(*words: dict[str, Any], end: str = "") -> tuple[str, ...]:
    """Return the command of a training process that says these words."""
    return (sys.executable, "-c", SCRIPT.format(words=words, end=end))


def ended(offer: Offer, command: tuple[str, ...]) -> dict[str, Any]:
    """Run a clean room with this training process; return the run's end and its report."""
    world, lent = offer.world, offer.lent
    room = world.room(world.approved(offer.agreed, **STAGE).run)
    room.release()
    agreement = agreement_of(offer.agreed, run=room.run)
    work = lent.work(agreement, [], command=command, scratch=lent.root / room.run)
    work.scratch.mkdir(mode=0o700)
    try:
        outcome = work.do(keks(agreement))
    except DepaError as error:
        outcome = work.outcome(reason_of(error))
    document, statement = sign_report(
        outcome, agreement=agreement, attested=attested(room), started_at=1, finished_at=2
    )
    room.client.report(room.run, document, statement)
    status = world.client().run(room.run)
    assert status.message == document.reason
    return {"agreement": agreement, "report": document, "state": status.state}


def attested(room: Room) -> Attested:
    key = room.keys.report
    return Attested(
        token="",
        keys=room.keys,
        nonce="",
        reporter=Identity(did=did_jwk_for(key.public_key()), chain=(), private_key=key),
        host_data=HOST_DATA,
        measurement=evidence_claims().measurement,
    )


def bookings(offer: Offer, agreement: Agreement) -> list[tuple[str, int]]:
    record = record_of(offer.world, agreement.contract_digest, audited=False)
    return [
        (item.document.state, item.document.charges[0].micro_epsilon)
        for item in record.bookings
        if item.document.run == agreement.run
    ]


@pytest.mark.parametrize(
    ("command", "reason", "steps"),
    [
        (worker({"failed": "data-refused"}), "data-refused", 0),
        (worker(READY, {"failed": "out-of-memory"}), "out-of-memory", 1),
        (worker(READY, stepped(1), {"failed": "not-finite"}), "not-finite", 2),
        (worker(READY, *map(stepped, range(1, 5)), end="1 / 0"), "training-process-died", 4),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_run_that_fails_says_why_and_its_budget_is_settled(
    offer: Offer, command: tuple[str, ...], reason: str, steps: int
) -> None:
    found = ended(offer, command)
    report = found["report"]
    assert (found["state"], report.state, report.reason) == ("failed", "failed", reason)
    assert report.model is None
    assert (0 if report.spent is None else report.spent.steps) == steps
    (reserved, whole), (settled, charged) = bookings(offer, found["agreement"])
    assert (reserved, settled) == ("reserved", "settled")
    assert charged == (0 if report.spent is None else report.spent.micro_epsilon)
    assert (charged < whole) == (steps < STEPS)


def test_a_damaged_sealed_file_ends_the_run_before_training_and_costs_nothing(
    offer: Offer,
) -> None:
    path = offer.lent.root / "mri-b.sealed"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    try:
        found = ended(offer, worker(READY))
    finally:
        path.write_bytes(whole)
    assert (found["report"].reason, found["report"].spent) == ("sealed-file-refused", None)
    assert [state for state, _ in bookings(offer, found["agreement"])] == ["reserved", "settled"]
    # What the runs before have cost stays booked.
    assert spent(offer.world, offer.agreed.digest(), offer.agreed.datasets[0].digest) > 0
