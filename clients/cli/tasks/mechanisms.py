"""Mechanisms whose risks are weighed: of a proven run, of a plan, of a file, or in numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dp_accounting import dp_event

from clients.cli.command import Session
from clients.cli.errors import NotFoundError, UsageError
from clients.cli.files import read_bytes
from clients.cli.tasks.agreement import load_contract
from clients.cli.tasks.pipelines import read_pipeline
from clients.cli.tasks.record import proven_dossier
from clients.cli.tasks.service import connect
from policies import accounting
from policies.accounting import Adjacency, Event
from policies.dossier import Dossier
from policies.errors import DocumentError, Problem
from policies.events import event_from_json
from policies.population import most_units
from policies.wire.base import Document, load_json
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.run import Spent

_LIMIT = 16 * 1024 * 1024
_HINT = "give a run, --pipeline with --contract, --event, or --noise, --sampling-rate and --steps"


class _SpentFile(Document):
    kind: ClassVar[str] = "privacy event"

    spent: Spent


@dataclass(frozen=True)
class Training:
    """A mechanism as steps of noise, so that other noise can be tried in it."""

    noise_multiplier: float
    sampling_rate: float
    steps: int


@dataclass(frozen=True)
class Mechanism:
    """What is weighed; all of it is public."""

    title: str
    event: Event
    adjacency: Adjacency | None = None
    """None where the source does not say."""
    delta: float | None = None
    units: int | None = None
    unit: str = "unit"

    @property
    def training(self) -> Training | None:
        """The mechanism as steps of noise, if it is that and nothing else."""
        match self.event:
            case dp_event.SelfComposedDpEvent(
                event=dp_event.PoissonSampledDpEvent(
                    sampling_probability=rate,
                    event=dp_event.GaussianDpEvent(noise_multiplier=noise),
                ),
                count=steps,
            ):
                return Training(float(noise), float(rate), int(steps))
        return None

    def told(
        self, *, adjacency: Adjacency | None, delta: float | None, units: int | None
    ) -> Mechanism:
        """Return it with what the command line says besides.

        Raises:
            UsageError: if the source says it already, and says something else.
        """
        for name, given, known in (
            ("--adjacency", adjacency, self.adjacency),
            ("--units", units, self.units),
        ):
            if given is not None and known is not None and given != known:
                raise UsageError(f"{name}: expected {known}, got {given}", hint=f"leave out {name}")
        return replace(
            self,
            adjacency=self.adjacency or adjacency or "add-remove",
            delta=self.delta if delta is None else delta,
            units=units if self.units is None else self.units,
        )


@dataclass(frozen=True)
class Numbers:
    """Steps of noise as the command line gives them."""

    noise: float | None = None
    sampling_rate: float | None = None
    steps: int | None = None

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return any(one is not None for one in (self.noise, self.sampling_rate, self.steps))


def find_mechanism(
    session: Session,
    *,
    run: str | None,
    pipeline: Path | None,
    contract: str | None,
    file: Path | None,
    numbers: Numbers,
) -> Mechanism:
    """Return the mechanism that the command line names.

    Raises:
        UsageError: if it names none, or more than one.
        NotFoundError: if it is not there, or not yet.
        DocumentError: naming the field that is wrong.
        BudgetError: if a pipeline is not private, or a number is out of range.
        LedgerError: if the record of a run does not verify.
    """
    sources = [run is not None, pipeline is not None, file is not None, numbers.given]
    if sum(sources) != 1 or (pipeline is None) != (contract is None):
        raise UsageError("expected exactly one thing to weigh", hint=_HINT)
    if run is not None:
        client = connect(session)
        return of_run(proven_dossier(session, client, client.run(run).contract), run)
    if pipeline is not None and contract is not None:
        agreed = load_contract(session, contract)
        found = read_pipeline(pipeline, contract=agreed.digest(), name=pipeline.stem)
        return of_pipeline(found, agreed)
    if file is not None:
        return of_file(file)
    return of_numbers(numbers)


def of_run(dossier: Dossier, run: str) -> Mechanism:
    """Return what the signed report of a run says that it spent.

    Raises:
        NotFoundError: if the log holds no report, or nothing was spent.
    """
    reports = [item.document for item in dossier.reports if item.document.run == run]
    if not reports:
        raise NotFoundError(f"the log holds no report of {run} yet", hint="depa run wait")
    report = reports[0]
    if report.spent is None:
        raise NotFoundError(f"{run} is reported as {report.state} and spent nothing")
    pipeline = Pipeline.from_json(
        load_json(dossier.document(report.pipeline, what="the pipeline"), kind=Pipeline.kind)
    )
    found = _of_spent(report.spent, title=f"{pipeline.name} ({run})")
    return replace(found, units=most_units(pipeline, dossier.contract) or None)


def of_pipeline(pipeline: Pipeline, contract: Contract) -> Mechanism:
    """Return what a pipeline would do under a contract.

    Raises:
        BudgetError: if it is not private, or no noise is enough.
    """
    units = most_units(pipeline, contract)
    plan = accounting.plan_training(pipeline.train, units=units)
    params = pipeline.train.privacy_params
    return Mechanism(
        title=pipeline.name,
        event=plan.event,
        adjacency=plan.adjacency,
        delta=plan.delta,
        units=units,
        unit="unit" if params is None else params.unit,
    )


def of_file(path: Path) -> Mechanism:
    """Return the mechanism in a file: an event, a run report, or what one spent.

    Raises:
        DocumentError: naming the field that is wrong.
    """
    value = load_json(read_bytes(path, what="event", limit=_LIMIT), kind="privacy event")
    if not isinstance(value, dict):
        raise DocumentError("privacy event", [Problem("", "is not an object")])
    if "class_name" in value:
        return Mechanism(path.name, event_from_json(value))
    # Reports and the answers of `depa run` hold what was spent among other things.
    spent = _SpentFile.from_json({"spent": value.get("spent", value)}).spent
    run = value.get("run")
    return _of_spent(spent, title=run if isinstance(run, str) else path.name)


def of_numbers(numbers: Numbers) -> Mechanism:
    """Return steps of noise.

    Raises:
        UsageError: if a number is missing.
        BudgetError: if one is out of range.
    """
    noise, rate, steps = numbers.noise, numbers.sampling_rate, numbers.steps
    if noise is None or rate is None or steps is None:
        raise UsageError("expected --noise, --sampling-rate and --steps together", hint=_HINT)
    event = accounting.training_event(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    return Mechanism(f"{steps} steps of noise {noise:g} at sampling rate {rate:g}", event)


def _of_spent(spent: Spent, *, title: str) -> Mechanism:
    return Mechanism(
        title=title,
        event=event_from_json(spent.event),
        adjacency=spent.adjacency,
        delta=spent.delta_trillionths / 1e12,
        unit=spent.unit,
    )
