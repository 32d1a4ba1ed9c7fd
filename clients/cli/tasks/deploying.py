"""Start a clean room for an approved run on this machine's simulated hardware."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from clients.cli.command import Session
from clients.cli.errors import Refused
from clients.cli.files import read_bytes
from clients.cli.tasks.service import ca_file, connect
from clients.cli.tasks.stack import stack_folder
from deploy.local.launch_policy import MAX_POLICY_BYTES
from deploy.local.room import Deployment, Ended, run_room
from deploy.local.stackfile import read_stack
from policies.wire.run import Progress


class RoomRefused(Refused):
    """The clean room ended without a result; the exit code is its own."""

    code = "room-refused"

    def __init__(self, ended: Ended) -> None:
        super().__init__(
            f"the clean room ended with {ended.exit_code}, {ended.code}: {ended.message}",
            hint=ended.hint or "depa run list shows what became of the run",
        )
        self.exit_code = ended.exit_code  # type: ignore[misc]  # this one's own, not the family's


def deploy_local(
    session: Session,
    run: str,
    *,
    launch_policy: Path | None,
    on_progress: Callable[[Progress], None],
) -> float:
    """Run the clean room to its end and return how many seconds it took.

    Raises:
        RoomRefused: when it did not complete, with its exit code.
    """
    settings = session.settings
    policy = launch_policy or Path(settings.need("launch_policy"))
    text = read_bytes(policy, what="launch policy", limit=MAX_POLICY_BYTES).decode()
    stack = read_stack(stack_folder(session))
    access = connect(session).access(run)
    deployment = Deployment(
        launch_policy=text,
        machine=stack.machine,
        service_url=settings.need("service"),
        attestation_url=settings.need("attestation"),
        ca_file=ca_file(settings),
        run=run,
        run_token=access.token,
    )
    session.out.note("simulated hardware: this clean room protects nothing", style="yellow")
    begun = time.monotonic()
    ended = run_room(deployment, on_progress=on_progress)
    if ended.exit_code != 0:
        raise RoomRefused(ended)
    return round(time.monotonic() - begun, 1)
