"""What a clean room says about itself: progress on the way, and one signed report at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from policies.agreement import Agreement
from policies.wire.contract import contract_urn
from policies.wire.run import Progress, RunReport, Spent
from trainer.gate import Attested
from trainer.messages import Stepped

COMPLETED = "completed"


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: str
    """`completed`, or the code of what went wrong: a fixed word, never a message."""
    opened: tuple[str, ...] = ()
    """Digests of the sealed files that were opened."""
    spent: Spent | None = None
    model: str | None = None
    """Digest of the sealed model."""
    model_url: str | None = None
    restarts: int = 0
    """How often the training process was killed and started again."""


@dataclass(frozen=True)
class Reporter:
    """Tells how far a run is; everything here is public."""

    say: Callable[[Progress], None]
    seconds: Callable[[], float]
    """Since the clean room started."""
    steps: int = 0
    micro_epsilon_limit: int = 0

    def phase(self, phase: str, *, step: int = 0) -> None:
        """Say that a phase has begun."""
        self._say(phase, step=step)

    def step(self, done: Stepped, *, restarts: int = 0) -> None:
        """Say that a training step is done."""
        more: dict[str, Any] = {"etaSeconds": done.eta_seconds}
        if restarts:
            more["restarts"] = restarts
        self._say("training", step=done.step, spent=done.micro_epsilon, **more)

    def _say(self, phase: str, *, step: int, spent: int = 0, **more: Any) -> None:
        value = {
            "phase": phase,
            "step": step,
            "steps": self.steps,
            "microEpsilon": spent,
            "microEpsilonLimit": self.micro_epsilon_limit,
            "seconds": round(self.seconds(), 1),
            **more,
        }
        self.say(Progress.from_json(value))


def sign_report(
    outcome: Outcome,
    *,
    agreement: Agreement,
    attested: Attested,
    started_at: int,
    finished_at: int,
) -> tuple[RunReport, bytes]:
    """Return the run report and the statement that vouches for it.

    Args:
        outcome: How the run ended.
        agreement: What it was approved to do.
        attested: The clean room, whose report key signs.
        started_at: Unix seconds.
        finished_at: Unix seconds.
    """
    report = RunReport(
        run=agreement.run,
        contract=agreement.contract_digest,
        pipeline=agreement.pipeline_digest,
        state="completed" if outcome.reason == COMPLETED else "failed",
        reason=outcome.reason,
        host_data=attested.host_data,
        measurement=attested.measurement,
        datasets=outcome.opened,
        spent=outcome.spent,
        model=outcome.model,
        model_url=outcome.model_url,
        restarts=outcome.restarts or None,
        started_at=started_at,
        finished_at=finished_at,
    )
    statement = attested.reporter.issue(
        payload_hash=hashlib.sha256(report.canonical()).digest(),
        kind=RunReport.kind,
        subject=contract_urn(agreement.contract_digest),
        issued_at=finished_at,
    )
    return report, statement
