"""What happens at once, on every database that the service runs on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import make_url

from clients.api.errors import ClientError
from contract_service.contracts.signing import take
from contract_service.database import Database
from contract_service.schema import METADATA
from ledger.statement import verify_statement
from tests.service.crash import record_of, spent
from tests.service.world import (
    CCRP,
    ORIGIN,
    TDC,
    TDP_A,
    TDP_B,
    contract,
    pipeline,
    running,
    sign_contract,
)
from tests.simulator import party

T = TypeVar("T")
Start = Callable[[], Any]

# With DEPA_TEST_POSTGRES, such as postgresql://user@host/postgres, the same tests run there too.
_POSTGRES = os.environ.get("DEPA_TEST_POSTGRES")


@contextmanager
def fresh_database() -> Iterator[str]:
    """Make a database on the server, and drop it afterwards."""
    server = make_url(str(_POSTGRES)).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"depa_{secrets.token_hex(8)}"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        yield server.set(database=name).render_as_string(hide_password=False)
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"] if _POSTGRES else ["sqlite"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Return what starts a service on one database, as often as a test likes."""
    if request.param == "sqlite":
        yield lambda **changes: running(tmp_path / "world", **changes)
        return
    with fresh_database() as service, fresh_database() as ledger:
        urls = {"database": service, "ledger_database": ledger}
        yield lambda **changes: running(tmp_path / "world", **(urls | changes))


def at_once(*calls: Callable[[], T]) -> tuple[list[T], list[ClientError]]:
    """Make all calls at the same time; return answers and refusals."""

    def run(call: Callable[[], T]) -> tuple[T | None, ClientError | None]:
        try:
            return call(), None
        except ClientError as error:
            return None, error

    with ThreadPoolExecutor(len(calls)) as pool:
        results = list(pool.map(run, calls))
    return [r for r, _ in results if r is not None], [e for _, e in results if e is not None]


def test_the_whole_way_and_a_restart(start: Start) -> None:
    with start() as world:
        agreed = world.executed()
        run = world.approved(agreed).run
        room = world.room(run)
        room.release()
        document, statement = room.report()
    with start() as world:
        client = world.room_with(run, room.capability).client
        assert client.report(run, document, statement).state == "completed"
        assert len(record_of(world, agreed.digest()).reports) == 1
        assert world.client().budget(agreed.datasets[0].digest).budgets[0].total.bookings == 1


def test_the_migrations_make_exactly_the_tables_of_the_code(start: Start) -> None:
    with start() as world:
        database: Database = world.app.state.services.context.database
        with database.engine.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={
                    "include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables
                },
            )
            assert compare_metadata(context, METADATA) == []


def test_all_parties_sign_at_once_and_the_contract_is_executed_once(start: Start) -> None:
    agreed = contract()
    with start() as world:
        world.client().propose(agreed)
        clients = [(world, name) for name in (TDC, TDP_A, TDP_B, CCRP)]
        won, lost = at_once(*(lambda w=w, n=n: w.sign(agreed, n) for w, n in clients))
        assert (len(won), lost) == (4, [])
        status = world.client().contract_status(agreed.digest())
        assert status.state == "executed"
        assert [item.kind for item in status.statements].count("executed") == 1
        record_of(world, agreed.digest())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signature_is_answered_though_the_last_one_comes_in_meanwhile(
    start: Start, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whether the last one is taken in before what was owed is registered, or right after."""
    agreed = contract()
    with start() as world:
        world.client().propose(agreed)
        for name in (TDC, TDP_A):
            world.sign(agreed, name)
        context = world.app.state.services.context
        settle, last = context.record.settle, sign_contract(agreed, CCRP, now=world.clock())

        def overtaken() -> int:
            monkeypatch.undo()
            done = settle() if moment == "after" else 0
            with context.database.write() as session:
                take(context, session, verify_statement(last), digest=agreed.digest())
            return done if moment == "after" else settle()

        monkeypatch.setattr(context.record, "settle", overtaken)
        answer = world.sign(agreed, TDP_B)
        assert (answer.missing, answer.executed) == ((party(CCRP).did,), None)
        assert world.sign(agreed, TDP_B).executed is not None
        assert world.client().contract_status(agreed.digest()).state == "executed"


def test_a_token_that_is_presented_twice_at_once_is_good_once(start: Start) -> None:
    with start() as world:
        bearer = party(TDC).bearer(audience=ORIGIN, now=world.clock())
        headers = {"Authorization": f"Bearer {bearer}"}
        answers, _ = at_once(
            *(lambda: world.http.get("/contracts", headers=headers).status_code for _ in range(4))
        )
        assert sorted(answers) == [200, 401, 401, 401]


def test_of_two_releases_of_one_run_at_once_one_wins(start: Start) -> None:
    with start() as world:
        agreed = world.executed()
        room = world.room(world.approved(agreed).run)
        tokens = [room.token(), room.token()]
        won, lost = at_once(*(lambda t=token: room.release(t) for token in tokens))
        assert (len(won), len(lost)) == (1, 1)
        record = record_of(world, agreed.digest())
        assert sum(item.document.allowed for item in record.releases) == 1


def test_of_runs_racing_for_the_last_budget_one_wins(start: Start) -> None:
    terms = contract().to_json()["constraints"]
    for limit in terms["privacy"]:
        limit["total"] = {"epsilon": 9.0, "delta": 0.001}
    with start() as world:
        agreed = world.executed(constraints=terms)
        rooms = [world.room(world.approved(agreed).run) for _ in range(3)]
        asks = [(room, room.token()) for room in rooms]
        won, lost = at_once(*(lambda r=room, t=token: r.release(t) for room, token in asks))
        assert (len(won), len(lost)) == (1, 2)
        assert spent(world, agreed.digest(), agreed.datasets[0].digest) <= 9_000_000
        record_of(world, agreed.digest())


def test_a_report_and_an_abandoning_at_once_settle_once(start: Start) -> None:
    with start() as world:
        agreed = world.executed()
        run = world.approved(agreed).run
        room = world.room(run)
        room.release()
        document, statement = room.report()
        won, lost = at_once(
            lambda: room.client.report(run, document, statement).state,
            lambda: world.client().abandon(run).state,
        )
        assert (len(won), len(lost)) == (1, 1)
        states = [b.document.state for b in record_of(world, agreed.digest()).bookings]
        assert states == ["reserved", "settled"]


def test_many_submissions_at_once_are_all_judged(start: Start) -> None:
    with start() as world:
        agreed = world.executed()
        won, lost = at_once(
            *(lambda: world.client().submit(pipeline(agreed)).state for _ in range(4))
        )
        assert (won, lost) == (["approved"] * 4, [])
        assert len({run.run for run in world.client().runs().runs}) == 4


def test_a_contract_that_is_proposed_many_times_at_once_is_one_contract(start: Start) -> None:
    agreed = contract()
    with start() as world:
        won, lost = at_once(*(lambda: world.client().propose(agreed).state for _ in range(4)))
        assert (won, lost) == (["proposed"] * 4, [])
        statements = world.client().contract_status(agreed.digest()).statements
        assert [item.kind for item in statements] == ["contract"]
