"""A service that dies between two states goes on, or settles, when it starts again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlmodel import col, select

from contract_service.audit.tables import StatementRow
from tests.service.crash import killed, record_of, spent
from tests.service.vault import Clock
from tests.service.world import CCRP, TDC, TDP_A, TDP_B, World, contract, running
from tests.simulator import NOW

OTHER_ID = "0f7e6a52-0000-4000-8000-000000000002"
THIRD_ID = "0f7e6a52-0000-4000-8000-000000000003"
ARMS = ["before registering", "before remembering"]


@pytest.mark.parametrize("arm", ARMS)
def test_the_last_signature_and_the_execution_come_together_or_not_at_all(
    tmp_path: Path, arm: str
) -> None:
    agreed = contract()
    with running(tmp_path) as world:
        world.client(TDC).propose(agreed)
        for name in (TDC, TDP_A, TDP_B):
            world.sign(agreed, name)
    killed(tmp_path, lambda world: world.sign(agreed, CCRP), arm=arm)
    with running(tmp_path) as world:
        assert world.client().contract_status(agreed.digest()).state == "executed"
        record = record_of(world, agreed.digest())
        assert record.executed is not None
        assert not record.missing


@pytest.mark.parametrize("arm", ARMS)
def test_a_proposal_is_registered_after_the_restart(tmp_path: Path, arm: str) -> None:
    agreed = contract()
    with running(tmp_path):
        pass
    killed(tmp_path, lambda world: world.client(TDC).propose(agreed), arm=arm)
    with running(tmp_path) as world:
        again = world.client(TDC).propose(agreed)
        assert again.state == "proposed"
        statements = world.client().contract_status(agreed.digest()).statements
        assert [item.kind for item in statements] == ["contract"]


@pytest.mark.parametrize("arm", ARMS)
def test_an_approval_is_registered_after_the_restart(
    executed: Path, tmp_path: Path, arm: str
) -> None:
    folder = shutil.copytree(executed, tmp_path / "copy")
    agreed = contract()
    killed(folder, lambda world: world.approved(agreed), arm=arm)
    with running(folder) as world:
        [run] = world.client().runs().runs
        assert run.state == "approved"
        record = record_of(world, agreed.digest())
        assert [item.document.run for item in record.approvals] == [run.run]
        assert world.room(run.run).release().keys


@pytest.mark.parametrize("arm", ARMS)
def test_a_report_settles_the_budget_once_even_if_the_answer_was_lost(
    executed: Path, tmp_path: Path, arm: str
) -> None:
    folder, agreed = shutil.copytree(executed, tmp_path / "copy"), contract()
    with running(folder) as world:
        run = world.approved(agreed).run
        room = world.room(run)
        room.release()
        document, statement = room.report()

    def report(world: World) -> None:
        world.room_with(run, room.capability).client.report(run, document, statement)

    killed(folder, report, arm=arm)
    with running(folder) as world:
        assert world.client().run(run).state == "completed"
        again = world.room_with(run, room.capability).client.report(run, document, statement)
        assert again.state == "completed"
        record = record_of(world, agreed.digest())
        assert [b.document.state for b in record.bookings] == ["reserved", "settled"]
        assert len(record.reports) == 1
        assert spent(world, agreed.digest(), agreed.datasets[0].digest) > 0


def test_an_approval_that_was_not_used_expires_while_the_service_was_down(
    executed: Path, tmp_path: Path
) -> None:
    folder, agreed = shutil.copytree(executed, tmp_path / "copy"), contract()
    with running(folder) as world:
        run = world.approved(agreed).run
        capability = world.room(run).capability
    with running(folder, clock=Clock(NOW.timestamp() + 3600)) as world:
        assert world.client().run(run).state == "expired"
        answer = world.http.post(
            f"/runs/{run}/nonce", headers={"Authorization": f"Bearer {capability}"}
        )
        assert answer.status_code == 409
        assert spent(world, agreed.digest(), agreed.datasets[0].digest) == 0


def test_a_training_run_that_never_reports_is_failed_and_charged_in_full(
    executed: Path, tmp_path: Path
) -> None:
    folder, agreed = shutil.copytree(executed, tmp_path / "copy"), contract()
    with running(folder) as world:
        run = world.approved(agreed).run
        world.room(run).release()
        reserved = spent(world, agreed.digest(), agreed.datasets[0].digest)
    with running(folder, clock=Clock(NOW.timestamp() + 86_400)) as world:
        status = world.client().run(run)
        assert (status.state, status.message) == ("failed", "no report came before the deadline")
        assert spent(world, agreed.digest(), agreed.datasets[0].digest) == reserved > 0
        record_of(world, agreed.digest())


def test_a_run_within_its_deadline_goes_on_after_a_restart(executed: Path, tmp_path: Path) -> None:
    folder, agreed = shutil.copytree(executed, tmp_path / "copy"), contract()
    with running(folder) as world:
        run = world.approved(agreed).run
        room = world.room(run)
        room.release()
        document, statement = room.report()
    with running(folder) as world:
        client = world.room_with(run, room.capability).client
        assert client.report(run, document, statement).state == "completed"


def test_a_statement_that_the_ledger_will_never_take_does_not_hold_up_the_others(
    executed: Path, tmp_path: Path
) -> None:
    folder, other = shutil.copytree(executed, tmp_path / "copy"), contract(id=OTHER_ID)
    with running(folder) as world:
        world.client(TDC).propose(other)
    killed(folder, lambda world: world.sign(other, TDP_A), arm=ARMS[0])
    with running(folder) as world:
        database = world.app.state.services.context.database
        with database.write() as session:
            row = session.exec(
                select(StatementRow).order_by(col(StatementRow.position).desc())
            ).first()
            row.entry_id, row.receipt = None, None
            row.encoded = row.encoded[:-1] + bytes([row.encoded[-1] ^ 1])
            session.add(row)
        assert world.client(TDC).propose(contract(id=THIRD_ID)).state == "proposed"
        assert world.app.state.services.context.record.settle() == 0
