"""`depa contract import` and `depa run import`: documents of DEPA-Training, brought over."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.cli.command import Session
from clients.cli.errors import UsageError
from clients.cli.files import read_bytes, write_new
from clients.cli.identity import Card, own_card, read_card
from clients.cli.output import Answer
from clients.cli.tasks.agreement import load_contract
from clients.cli.tasks.importing import (
    attestation_terms,
    parse_shape,
    read_table,
    read_table_terms,
    run_budget,
)
from clients.cli.tasks.offer import Offer, read_offer
from clients.cli.tasks.pipelines import pretty
from policies.bundle import load_bundle
from policies.depa.contract import Given, import_contract
from policies.depa.form import Change
from policies.depa.pipeline import PipelineGiven, import_pipeline


class UnitName(StrEnum):
    """Whom privacy protects."""

    PATIENT = "patient"
    RECORD = "record"


class AdjacencyName(StrEnum):
    """Which two data sets count as neighbours."""

    ADD_REMOVE = "add-remove"
    REPLACE_ONE = "replace-one"


class ModelName(StrEnum):
    """Kinds of networks."""

    UNET2D = "unet2d"
    UNET3D = "unet3d"
    CNN = "cnn"
    MLP = "mlp"
    ONNX = "onnx"
    GRAPH = "graph"


def contract_import(
    session: Session,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="DEPA's contract.json.")],
    *,
    offer: Annotated[list[Path], typer.Option(help="Offer of a sealed file; repeatable.")],
    ccrp: Annotated[Path, typer.Option(help="Card of the clean room's provider.")],
    unit: Annotated[UnitName, typer.Option(help="Whom privacy protects.")],
    max_grad_norm: Annotated[float, typer.Option(help="Largest clipping norm.")],
    max_steps: Annotated[int, typer.Option(help="Most steps of a run.", min=1)],
    model: Annotated[list[ModelName], typer.Option(help="Kind of network; repeatable.")],
    max_parameters: Annotated[int, typer.Option(help="Most weights of a network.", min=1)],
    minimum_guest_svn: Annotated[int, typer.Option(help="Oldest utility VM.", min=0)],
    tdc: Annotated[Path | None, typer.Option(help="Consumer's card; without it, own.")] = None,
    adjacency: Annotated[
        AdjacencyName, typer.Option(help="What one unit more or less means.")
    ] = AdjacencyName.ADD_REMOVE,
    runs: Annotated[int, typer.Option(help="Runs that the budget is for.", min=1, max=1000)] = 1,
    days: Annotated[
        int | None,
        typer.Option(help="Valid from now on; DEPA's window without it.", min=1, max=3650),
    ] = None,
    open_data: Annotated[
        list[str] | None, typer.Option(help="Data set that needs no privacy; repeatable.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="A run's, where DEPA has none.")] = None,
    delta: Annotated[float | None, typer.Option(help="A run's, where DEPA has none.")] = None,
    table_terms: Annotated[
        Path | None, typer.Option(help="File: what is lent of each table.")
    ] = None,
    authority: Annotated[list[str] | None, typer.Option(help="Attestation authority.")] = None,
    host_data: Annotated[list[str] | None, typer.Option(help="SHA-256 of a launch policy.")] = None,
    max_token_age: Annotated[int, typer.Option(help="Seconds that evidence is good for.")] = 600,
    output_url: Annotated[str | None, typer.Option(help="Folder for the sealed model.")] = None,
    title: Annotated[str | None, typer.Option(help="What the contract is called.")] = None,
    out: Annotated[Path, typer.Option(help="Contract to write.")] = Path("contract.json"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the contract.")] = False,
) -> Answer:
    """Make a contract from one of DEPA's, saying what that leaves open.

    The answer lists everything that was given, tightened, changed or dropped.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    consumer = own_card(session.home) if tdc is None else read_card(tdc)
    offers = [read_offer(path) for path in offer]
    bundle = load_bundle()
    given = Given(
        contract_id=str(uuid.uuid4()),
        title=title or f"Training on {', '.join(_names(offers))}"[:200],
        now=now,
        expiry_time=None if days is None else now + timedelta(days=days),
        tdc=consumer.party,
        ccrp=read_card(ccrp).party,
        providers={one.party.id: one.party.name for one in offers},
        datasets=[one.dataset for one in offers if one.dataset is not None],
        base_models=[one.base_model for one in offers if one.base_model is not None],
        output_key=_output_key(consumer),
        output_url=output_url or session.settings.need("blobs"),
        unit=unit.value,
        adjacency=adjacency.value,
        max_grad_norm=max_grad_norm,
        max_steps=max_steps,
        runs=runs,
        models=[one.value for one in model],
        max_parameters=max_parameters,
        attestation=attestation_terms(
            session,
            authorities=authority,
            host_data=host_data,
            minimum_guest_svn=minimum_guest_svn,
            max_token_age=max_token_age,
        ),
        policy={"id": "depa", "version": bundle.version, "digest": bundle.digest},
        tables=read_table_terms(table_terms),
        open_data=frozenset(open_data or ()),
        unlimited=run_budget(epsilon, delta),
    )
    found = import_contract(read_bytes(source, what="DEPA contract"), given)
    write_new(out, found.contract.canonical(), overwrite=overwrite)
    digest = found.contract.digest()
    return _answer(
        {"file": str(out), "digest": digest},
        [f"contract in {out}", digest, f"check it with: depa contract check {out}"],
        found.changes,
    )


def pipeline_import(
    session: Session,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="DEPA's pipeline_config.json.")],
    *,
    contract: Annotated[str, typer.Option(help="Digest of the contract, or its file.")],
    shape: Annotated[
        str | None, typer.Option(help="Of a sample, such as 1x64x64: channels first.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Classes, or channels of a mask.", min=1)
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="File: features and target taken of joined tables.")
    ] = None,
    max_rows_per_unit: Annotated[
        int, typer.Option(help="Rows of a unit that a join keeps.", min=1, max=64)
    ] = 1,
    samples_per_unit: Annotated[
        int, typer.Option(help="Samples of a unit in a step.", min=1, max=64)
    ] = 1,
    name: Annotated[str, typer.Option(help="What the run is called.")] = "training run",
    out: Annotated[Path, typer.Option(help="Pipeline to write.")] = Path("pipeline.json"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the pipeline.")] = False,
) -> Answer:
    """Make a pipeline from one of DEPA's configurations, under a contract.

    The answer lists everything that was given, tightened, changed or dropped; what has no safe
    meaning is refused by its pointer.
    """
    agreed = load_contract(session, contract)
    given = PipelineGiven(
        contract=agreed,
        name=name,
        shape=None if shape is None else parse_shape(shape),
        classes=classes,
        table=read_table(table),
        max_rows_per_unit=max_rows_per_unit,
        samples_per_unit=samples_per_unit,
    )
    found = import_pipeline(read_bytes(source, what="DEPA pipeline"), given)
    write_new(out, pretty(found.pipeline), overwrite=overwrite)
    digest = found.pipeline.digest()
    return _answer(
        {"file": str(out), "digest": digest, "contract": agreed.digest()},
        [
            f"pipeline in {out}",
            digest,
            f"check it with: depa run check {out} --contract {contract}",
        ],
        found.changes,
    )


def _names(offers: Sequence[Offer]) -> list[str]:
    return [one.file.name for one in offers if one.dataset is not None]


def _output_key(consumer: Card) -> str:
    if consumer.output_key is None:
        raise UsageError(
            f"{consumer.name} is no consumer: its card has no key for results",
            hint="give the consumer's card with --tdc",
        )
    return consumer.output_key


def _answer(value: dict[str, Any], lines: list[str], changes: Sequence[Change]) -> Answer:
    listed = [{"kind": c.kind, "pointer": c.pointer, "message": c.message} for c in changes]
    return Answer(
        {**value, "changes": listed},
        "\n".join(lines),
        columns=("what", "at", "how"),
        rows=[(change.kind, change.pointer, change.message) for change in changes],
    )
