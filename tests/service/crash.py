"""Kill a service with SIGKILL at a chosen point, and look at what is left when it starts again."""

from __future__ import annotations

import atexit
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, cast

import httpx2
from fastapi import FastAPI

from ledger.bundle import Bundle
from ledger.verify import verify_bundle
from policies.audit import audit
from policies.bundle import load_bundle
from policies.dossier import Dossier, read_dossier
from tests.service.vault import Clock
from tests.service.world import TDC, World
from tests.simulator import NOW


class Caught(Exception):
    """A request that a client was about to send."""

    def __init__(self, request: httpx2.Request) -> None:
        super().__init__(request.url)
        self.request = request


class _Catcher(httpx2.BaseTransport):
    def handle_request(self, request: httpx2.Request) -> NoReturn:
        raise Caught(request)


def killed(folder: Path, work: Callable[[World], object], *, arm: str) -> None:
    """Send the request of `work` to a service on a folder, which dies where `arm` says.

    Args:
        folder: Of a service that is stopped.
        work: Makes a client send one request.
        arm: A step of the release before which it dies, or a point around the ledger.
    """
    request = _request_of(folder, work)
    order = {
        "folder": str(folder),
        "now": NOW.timestamp(),
        "arm": arm,
        "method": request.method,
        "url": str(request.url),
        "headers": dict(request.headers),
        "content": base64.b64encode(request.read()).decode(),
    }
    process = _crashing()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    status = int(process.stdout.readline())
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


def _request_of(folder: Path, work: Callable[[World], object]) -> httpx2.Request:
    http = httpx2.Client(transport=_Catcher())
    # The service is not running, and the clients do not need it to make a request.
    nobody = World(folder, Clock(NOW.timestamp()), FastAPI(), http, cast("Any", None), "0" * 64)
    try:
        work(nobody)
    except Caught as caught:
        return caught.request
    raise AssertionError("nothing was sent")


@cache
def _crashing() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.crashing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    atexit.register(process.kill)
    return process
