"""The contract service: contracts, runs, budgets and key releases, on a log of its own.

`create_app` takes everything from its arguments, so that one process may hold several services.
Until its lifespan has begun nothing is opened and nothing is answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

import structlog
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from contract_service import problems
from contract_service.access import Parts, Services
from contract_service.audit.record import Record
from contract_service.audit.routes import router as log_routes
from contract_service.budget.routes import router as budget_routes
from contract_service.context import Context
from contract_service.contracts.routes import router as contract_routes
from contract_service.contracts.service import Contracts
from contract_service.database import Database
from contract_service.engine import opening_engine
from contract_service.init import load_home
from contract_service.keybroker.evidence import Authorities
from contract_service.keybroker.vaults import KeyVaults, Vaults, azure_credential, own_credential
from contract_service.middleware import BodyLimit, RequestContext
from contract_service.openapi import PROBLEM_SCHEMA, binary
from contract_service.parties.routes import router as party_routes
from contract_service.policy.routes import router as policy_routes
from contract_service.rules.routes import router as rules_routes
from contract_service.runs.routes import router as run_routes
from contract_service.runs.service import Runs
from contract_service.runs.settle import settle_runs
from contract_service.settings import Settings
from ledger.errors import LedgerError
from ledger.identity import Identity
from ledger.sequencer import Sequencer
from ledger.store import Store
from ledger.trust import log_subject
from policies.bundle import Bundle, load_bundle
from policies.errors import DepaError
from policies.releases import Policies, released

_LOG: Final = structlog.get_logger("depa.service")
VERSION: Final = "1"


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    vaults: Vaults | None = None,
    authorities: Authorities | None = None,
    bundles: tuple[Bundle, ...] = (),
) -> FastAPI:
    """Return the service; everything is opened when its lifespan begins.

    Args:
        settings: What the operator has set.
        clock: Unix seconds.
        vaults: Where keys are; those that contracts name, if not given.
        authorities: Who attests clean rooms; those that contracts name, if not given.
        bundles: Policies besides those that were released.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            opened = opening(
                settings, clock=clock, vaults=vaults, authorities=authorities, bundles=bundles
            )
            try:
                app.state.services = await run_in_threadpool(stack.enter_context, opened)
            except (DepaError, LedgerError) as error:
                app.state.failure = error
                raise
            yield

    app = FastAPI(
        title="DEPA contract service", version=VERSION, lifespan=lifespan, redirect_slashes=False
    )
    problems.install(app)
    for router in (
        contract_routes,
        run_routes,
        party_routes,
        budget_routes,
        policy_routes,
        rules_routes,
        log_routes,
    ):
        app.include_router(router)
    _add_operations(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(RequestContext)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


@contextmanager
def opening(
    settings: Settings,
    *,
    clock: Callable[[], float],
    vaults: Vaults | None,
    authorities: Authorities | None,
    bundles: tuple[Bundle, ...],
) -> Iterator[Services]:
    """Open database and log, make good what a crash left, and keep settling overdue runs.

    Raises:
        HomeError: If the keys do not open.
        EngineError: If the policy engine cannot be asked.
        PolicyError: If it does not answer, or holds another policy.
        LedgerError: If the log is held by another process, or is not what was signed.
    """
    home = load_home(
        settings.home, passphrase=settings.passphrase.get_secret_value(), now=int(clock())
    )
    with ExitStack() as stack:
        engine = stack.enter_context(opening_engine(settings))
        database = Database(settings.database_url)
        stack.callback(database.close)
        database.migrate()
        store = Store(settings.ledger_url)
        stack.callback(store.close)
        log = stack.enter_context(Sequencer(store, keys=home.keys, clock=lambda: int(clock())))
        context = Context(
            settings=settings,
            database=database,
            log=log,
            fingerprint=home.fingerprint,
            record=Record(database=database, log=log, identity=home.identity),
            policies=Policies(
                {**released(), **{each.digest: each for each in bundles}}, load_bundle(), engine
            ),
            authorities=authorities or Authorities(ca_file=settings.attestation_ca),
            vaults=vaults or _vaults(settings, home.identity, clock),
            clock=clock,
        )
        _begin(context)
        stack.enter_context(_settling(context))
        contracts = Contracts(context)
        _LOG.info("started", origin=settings.origin, log=log.origin, root=home.fingerprint)
        yield Services(context, contracts, Runs(context, contracts))


def _vaults(settings: Settings, identity: Identity, clock: Callable[[], float]) -> Vaults:
    credential = (
        azure_credential()
        if settings.vault_identity == "azure"
        else own_credential(identity, clock=clock)
    )
    return KeyVaults(credential=credential, ca_file=settings.vault_ca)


def _begin(context: Context) -> None:
    """Make good what a crash left: the log first, then runs, then what they owe to the log."""
    context.record.settle()
    with context.database.write() as session:
        for bundle in context.policies.bundles.values():
            if not context.record.has(session, kind="policy-bundle", payload=bundle.digest):
                context.record.issue(
                    session,
                    bundle.manifest,
                    kind="policy-bundle",
                    subject=log_subject(context.log.origin),
                    now=context.now,
                )
    settled = settle_runs(context, restarted=True)
    owed = context.record.settle()
    _LOG.info("recovered", runs=settled, statements=owed)


@contextmanager
def _settling(context: Context) -> Iterator[None]:
    done = threading.Event()

    def work() -> None:
        while not done.wait(context.settings.settle_seconds):
            try:
                settle_runs(context)
                context.record.settle()
            except Exception:  # noqa: BLE001  (the next round tries again)
                _LOG.exception("settling failed")

    thread = threading.Thread(target=work, name="settle", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _add_operations(app: FastAPI) -> None:
    @app.get("/healthz", tags=["operations"])
    def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"])
    def readyz(parts: Parts) -> dict[str, str | int]:
        """Say that database and log answer."""
        parts.context.database.ping()
        return {"status": "ok", "tree_size": parts.context.log.size}

    @app.get(
        "/metrics",
        tags=["operations"],
        response_class=Response,
        responses=binary("text/plain", "Prometheus text format."),
    )
    def metrics() -> Response:
        """Return the counters in the format of Prometheus."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schema.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
        app.openapi_schema = schema
    return app.openapi_schema
