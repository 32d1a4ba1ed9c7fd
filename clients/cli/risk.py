"""`depa risk`: what a run, a pipeline or some noise lets an attacker do, in probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.output import Answer

app = new_app("What an attacker could do to one person, in probabilities.", alone=True)


@command(
    app,
    "risk",
    examples="depa risk run-...; depa risk --pipeline pipeline.json --contract contract.json "
    "--out risk.html; depa risk --noise 1.1 --sampling-rate 0.01 --steps 2000 --units 25600 "
    "--success-at-most 0.05",
)
def risk(
    session: Session,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Id of a run whose report is on the log.")
    ] = None,
    *,
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline, or folder of parts.")] = None,
    contract: Annotated[str | None, typer.Option(help="Its contract: file or digest.")] = None,
    event: Annotated[
        Path | None, typer.Option(help="JSON of a mechanism, a run report, or what was spent.")
    ] = None,
    noise: Annotated[float | None, typer.Option(help="Noise multiplier.")] = None,
    sampling_rate: Annotated[float | None, typer.Option(help="Of a unit in a step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps.")] = None,
    adjacency: Annotated[
        Literal["add-remove", "replace-one"] | None,
        typer.Option(help="Neighbouring data sets.", show_default="add-remove"),
    ] = None,
    delta: Annotated[float | None, typer.Option(help="Delta to give an epsilon for.")] = None,
    units: Annotated[int | None, typer.Option(help="How many people or records there are.")] = None,
    baseline: Annotated[
        list[float] | None,
        typer.Option(
            help="What a guess succeeds with without the model; may be given several times.",
            show_default="0.01, 0.1",
        ),
    ] = None,
    success_at_most: Annotated[
        float | None,
        typer.Option(help="Find the noise that keeps a guess of the first --baseline at this."),
    ] = None,
    advantage_at_most: Annotated[
        float | None, typer.Option(help="Find the noise that keeps membership advantage at this.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="HTML page to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG or SVG to draw.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
) -> Answer:
    """Say how far a model helps whoever wants to find or reconstruct one unit of its data.

    Give a run, a pipeline with its contract, a mechanism, or noise, sampling rate and steps.
    """
    # The accountant takes seconds to load.
    from clients.cli.tasks.mechanisms import Numbers, find_mechanism  # noqa: PLC0415
    from clients.cli.tasks.risks import Files, Limits, weigh  # noqa: PLC0415

    found = find_mechanism(
        session,
        run=run,
        pipeline=pipeline,
        contract=contract,
        file=event,
        numbers=Numbers(noise, sampling_rate, steps),
    )
    return weigh(
        found.told(adjacency=adjacency, delta=delta, units=units),
        Limits(tuple(baseline or ()), success_at_most, advantage_at_most),
        Files(page=out, plot=plot, overwrite=overwrite),
    )
