"""Weigh a mechanism: the answer of `depa risk`, and the files that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.cli.errors import UsageError
from clients.cli.files import write_new
from clients.cli.output import Answer
from clients.cli.tasks.mechanisms import Mechanism
from clients.cli.tasks.risk_page import render_page
from clients.cli.tasks.risk_plot import draw
from clients.cli.tasks.risk_words import headline, named_risks
from policies import accounting, risk
from policies.risk import BASELINES, Goal, RiskReport

_PLOTS = {".png": "png", ".svg": "svg"}


@dataclass(frozen=True)
class Limits:
    """What is asked of the risks."""

    baselines: tuple[float, ...] = ()
    success_at_most: float | None = None
    advantage_at_most: float | None = None

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The limits as goals."""
        baseline = (self.baselines or BASELINES)[0]
        wanted = (
            None
            if self.success_at_most is None
            else Goal("success", self.success_at_most, baseline=baseline),
            None if self.advantage_at_most is None else Goal("advantage", self.advantage_at_most),
        )
        return tuple(goal for goal in wanted if goal is not None)


@dataclass(frozen=True)
class Files:
    """What is written."""

    page: Path | None = None
    plot: Path | None = None
    overwrite: bool = False


def weigh(found: Mechanism, limits: Limits, files: Files) -> Answer:
    """Return the risks of a mechanism, and the noise that limits would take.

    Raises:
        UsageError: if a file exists, has a wrong name, or cannot be drawn here.
        BudgetError: if a number is out of range, or no noise is enough.
    """
    _check_names(files)
    adjacency = found.adjacency or "add-remove"
    report = risk.assess(
        [found.event],
        adjacency=adjacency,
        delta=found.delta,
        units=found.units,
        baselines=limits.baselines or BASELINES,
    )
    needed = [_needed(goal, found, adjacency) for goal in limits.goals]
    if files.plot is not None:
        kind = _PLOTS[files.plot.suffix]
        write_new(files.plot, draw(report, kind=kind), overwrite=files.overwrite)
    if files.page is not None:
        page = render_page(found, report, picture=draw(report, kind="svg"))
        write_new(files.page, page.encode(), overwrite=files.overwrite)
    return _answer(found, report, needed, files)


def _check_names(files: Files) -> None:
    """Refuse before the work what could not be written after it."""
    if files.plot is not None and files.plot.suffix not in _PLOTS:
        raise UsageError(f"--plot: expected a name in .png or .svg, got {files.plot.name}")
    for path in (files.page, files.plot):
        if path is not None and path.exists() and not files.overwrite:
            raise UsageError(f"{path} exists already", hint="give --overwrite")


def _needed(goal: Goal, found: Mechanism, adjacency: accounting.Adjacency) -> Mapping[str, Any]:
    training = found.training
    if training is None:
        raise UsageError(
            "noise can be found for steps of training only", hint="give a run or a pipeline"
        )
    noise, profile = risk.noise_for(
        goal, sampling_rate=training.sampling_rate, steps=training.steps, adjacency=adjacency
    )
    epsilon = None if found.delta is None else profile.epsilon(found.delta)
    return {
        "measure": goal.measure,
        "atMost": goal.at_most,
        "baseline": goal.baseline if goal.measure == "success" else None,
        "noiseMultiplier": noise,
        "epsilon": epsilon,
        "reached": training.noise_multiplier >= noise,
    }


def _answer(
    found: Mechanism, report: RiskReport, needed: list[Mapping[str, Any]], files: Files
) -> Answer:
    training = found.training
    value = {
        "title": found.title,
        "unit": found.unit,
        **report.to_json(),
        "event": accounting.event_to_json(found.event),
        "training": None
        if training is None
        else {
            "noiseMultiplier": training.noise_multiplier,
            "samplingRate": training.sampling_rate,
            "steps": training.steps,
        },
        "needed": needed,
        "page": None if files.page is None else str(files.page),
        "plot": None if files.plot is None else str(files.plot),
    }
    lines = [found.title, headline(found, report), *map(_needed_text, needed)]
    lines += [f"wrote {path}" for path in (files.page, files.plot) if path is not None]
    return Answer(
        value,
        "\n".join(lines),
        columns=("at most", "without the model", "with it"),
        rows=[(risk.name, risk.without, risk.with_it) for risk in named_risks(report)],
    )


def _needed_text(found: Mapping[str, Any]) -> str:
    of = "" if found["baseline"] is None else f" from {found['baseline']:g}"
    verdict = "reached" if found["reached"] else "not reached"
    epsilon = "" if found["epsilon"] is None else f", epsilon {found['epsilon']:.3g}"
    return (
        f"{found['measure']} at most {found['atMost']:g}{of}: {verdict}; "
        f"takes noise {found['noiseMultiplier']:g}{epsilon}"
    )
