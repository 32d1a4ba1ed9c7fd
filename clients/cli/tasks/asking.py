"""Ask the service what its policy would say; it judges as ever, and nothing comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clients.cli.command import Session
from clients.cli.output import Answer
from clients.cli.tasks.agreement import load_contract
from clients.cli.tasks.pipelines import read_pipeline
from clients.cli.tasks.places import Places
from clients.cli.tasks.reasons import judged
from clients.cli.tasks.rules import policy_with_rules
from clients.cli.tasks.service import connect

_ASSUMED: Final = {
    "signatures": "as if all parties had signed it",
    "unspent-budgets": "as if nothing were spent",
}
_MILLION: Final = 10**6


def ask_service(session: Session, which: str, config: Path | None) -> Answer:
    """Return what the service would decide about a contract, or a pipeline under it.

    Args:
        session: The command's.
        which: File or digest of the contract.
        config: Pipeline, or folder of its parts; None to judge the contract alone.

    Raises:
        Denied: when its policy says no, with every reason, its place and its remedy.
        ServiceError: when it does not answer, or may not.
    """
    client = connect(session)
    contract = load_contract(session, which, client=client)
    pipeline = None
    if config is not None:
        pipeline = read_pipeline(config, contract=contract.digest(), name=config.stem)
    answer = client.check(which if which == contract.digest() else contract, pipeline)
    cost = None if answer.micro_epsilon is None else answer.micro_epsilon / _MILLION
    return judged(
        answer.decision,
        policy_with_rules(session, which, contract),
        Places.of(which, contract, config=config, pipeline=pipeline),
        epsilon=cost,
        notes=[f"judged by the service {_ASSUMED[each]}" for each in answer.assumes],
    )
