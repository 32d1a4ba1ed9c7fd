"""Kill a service with SIGKILL at a chosen point, and look at what is left when it starts again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ledger.bundle import Bundle
from ledger.verify import verify_bundle
from policies.audit import audit
from policies.bundle import load_bundle
from policies.dossier import Dossier, read_dossier
from tests.service.world import TDC, World, running


def die(*_: Any, **__: Any) -> NoReturn:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def killed(folder: Path, work: Callable[[World], object], *, arm: Callable[[], None]) -> None:
    """Run `work` on a service in a process of its own that `arm` makes die on the way."""
    child = os.fork()
    if child == 0:
        try:
            with running(folder) as world:
                arm()
                work(world)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the service was not killed, it ended with {status}"
    assert os.WTERMSIG(status) == signal.SIGKILL


def record_of(world: World, contract: str, *, audited: bool = True) -> Dossier:
    """Return the record of a contract, every statement, receipt, decision and budget proven.

    Without the audit, which composes budgets, statements and receipts are proven alone.
    """
    bundle = Bundle.parse(world.client(TDC).contract_bundle(contract))
    log = verify_bundle(bundle, root_fingerprint=world.root, at=int(world.clock()))
    dossier = read_dossier(log, contract_digest=contract)
    if audited:
        audit(dossier, policies={load_bundle().digest: load_bundle()})
    return dossier


def spent(world: World, contract: str, dataset: str) -> int:
    """Return what is booked of a data set, in millionths."""
    budgets = world.client().budget(dataset).budgets
    [found] = [item for item in budgets if item.contract == contract]
    return found.total.micro_epsilon_spent
