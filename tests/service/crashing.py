"""A process that runs services only to have them killed; started once, it forks for each of them.

It reads one order a line (JSON) and answers with the wait status of the service. Nothing but the
main thread runs when it forks. A service takes what it needs from its folder, as after any restart.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from contract_service.audit.record import Record
from contract_service.keybroker import release
from tests import simulator
from tests.service.vault import VAULT, Clock
from tests.service.world import running


def die(*_: Any, **__: Any) -> NoReturn:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def arm(where: str) -> None:
    """Have this process die at a point: before a step of the release, or around the ledger."""
    if where == "before registering":
        Record.settle = die  # type: ignore[method-assign]
    elif where == "before remembering":
        Record._mark = die  # type: ignore[method-assign]
    else:
        steps = list(release.STEPS)
        steps.insert(int(where), die)
        release.STEPS = tuple(steps)  # type: ignore[misc]


def serve_once(order: dict[str, Any]) -> None:
    """Run the service on a folder, send it one request, and die on the way."""
    with running(Path(order["folder"]), clock=Clock(order["now"])) as world:
        arm(order["arm"])
        world.http.request(
            order["method"],
            order["url"],
            headers=order["headers"],
            content=base64.b64decode(order["content"]),
        )


def main(answer: Callable[[str], object]) -> None:
    """Obey until there are no more orders."""
    # Made once, not by each service.
    simulator.token_key(VAULT)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                serve_once(json.loads(line))
            finally:
                os._exit(7)
        answer(f"{os.waitpid(child, 0)[1]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.stdout.write)
