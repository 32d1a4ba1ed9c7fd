"""Open what a run made: check it against the signed report, then measure it on public data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from clients.api.blobs import download, split_blob_url
from clients.api.stores import open_store
from clients.cli.command import Session
from clients.cli.errors import NotFoundError, Refused, UsageError
from clients.cli.files import new_folder, write_new
from clients.cli.identity import OUTPUT_KEY
from clients.cli.output import Answer
from clients.cli.tasks.measuring import COLUMNS, Measurement, measured, taken, written
from clients.cli.tasks.origin import Origin, Preparation, model_digest, origin_path
from clients.cli.tasks.plots import draw_masks
from clients.cli.tasks.record import proven_dossier
from clients.cli.tasks.service import connect, open_identity
from policies.dossier import Dossier
from policies.wire.base import load_json
from policies.wire.datasets import patch_of
from policies.wire.pipeline import Pipeline
from policies.wire.run import RunReport
from trainer.data.join import open_dataset
from trainer.data.manifest import Manifest, VolumesManifest, read_manifest
from trainer.models.factory import build_model, read_base_model
from trainer.sealed import open_output


def fetch_result(
    session: Session, run: str, *, out: Path, test: Path | None, plot: Path | None
) -> Answer:
    """Fetch, open, check and measure the model of a completed run.

    Raises:
        Refused: when the run is not completed, or the log does not prove its report.
        SealedError: when the model is not the reported one, or not for this key.
    """
    if plot is not None and test is None:
        raise UsageError("there is nothing to plot without test data", hint="give --test")
    if out.exists():
        raise UsageError(f"{out} exists already", hint="choose another folder")
    beside = out.with_name(f"{out.name}-metrics")
    for other in (origin_path(out), beside):
        if other.exists():
            raise UsageError(f"{other} exists already", hint="choose another folder for --out")
    identity = open_identity(session)
    client = connect(session, identity)
    dossier = proven_dossier(session, client, client.run(run).contract)
    report = _report(dossier, run)
    pipeline = Pipeline.from_json(
        load_json(dossier.document(report.pipeline, what="the pipeline"), kind=Pipeline.kind)
    )
    key = X25519PrivateKey.from_private_bytes(identity.keystore.read(OUTPUT_KEY))
    with new_folder(out) as folder:
        digest = _open(report, key=key, folder=folder)
        private = taken(folder)
        found = _measured(folder, pipeline, test=test, plot=plot)
        found = written(replace(found, private=private), beside=beside)
        write_new(origin_path(out), _origin(report, pipeline, folder=folder, test=test).canonical())
    return Answer(
        {
            "run": run,
            "model": str(out),
            "origin": str(origin_path(out)),
            "digest": digest,
            "report": report.digest(),
            "spent": None if report.spent is None else report.spent.to_json(),
            **found.to_json(),
            "plot": None if plot is None else str(plot),
        },
        f"{out}: the model of {run}, as its signed report says",
        columns=COLUMNS if found.rows() else (),
        rows=found.rows(),
    )


def _report(dossier: Dossier, run: str) -> RunReport:
    found = [item.document for item in dossier.reports if item.document.run == run]
    if not found:
        raise NotFoundError(f"the log holds no report of {run} yet", hint="depa run wait")
    if found[0].state != "completed" or found[0].model is None or found[0].model_url is None:
        raise Refused(f"{run} is reported as {found[0].state}: {found[0].reason}")
    return found[0]


def _measured(
    folder: Path, pipeline: Pipeline, *, test: Path | None, plot: Path | None
) -> Measurement:
    train = pipeline.train
    model = build_model(train.model, base=read_base_model(folder))
    if test is None:
        return Measurement()
    units = open_dataset(test)
    found = measured(model, units, config=train)
    if plot is not None:
        patch = patch_of(train.dataset)
        draw_masks(model, units, threshold=train.threshold, png=plot, patch=patch)
    return found


def _origin(report: RunReport, pipeline: Pipeline, *, folder: Path, test: Path | None) -> Origin:
    if report.model is None:
        raise Refused(f"{report.run} reports no model")
    manifest = None if test is None else read_manifest(test)
    return Origin(
        run=report.run,
        contract=report.contract,
        report=report.digest(),
        sealed=report.model,
        file=model_digest(folder),
        pipeline=pipeline,
        preparation=Preparation(layout=manifest.layout, recipe=manifest.recipe)
        if isinstance(manifest, Manifest | VolumesManifest)
        else None,
    )


def _open(report: RunReport, *, key: X25519PrivateKey, folder: Path) -> str:
    """Put the opened model into `folder`, and return the digest of the sealed one."""
    if report.model is None or report.model_url is None:
        raise Refused(f"{report.run} reports no model")
    store, name = split_blob_url(report.model_url)
    sealed = folder.with_name(f"{folder.name}.sealed")
    try:
        download(open_store(store), name, out=sealed, expected_digest=report.model)
        with sealed.open("rb") as stream:
            open_output(
                stream,
                key=key,
                info={"contract": report.contract, "run": report.run},
                expected_digest=report.model,
                into=folder,
            )
    finally:
        sealed.unlink(missing_ok=True)
    return report.model
