"""Open what a run made: check it against the signed report, then measure it on public data."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from clients.api.blobs import download, split_blob_url
from clients.api.stores import open_store
from clients.cli.command import Session
from clients.cli.errors import NotFoundError, Refused, UsageError
from clients.cli.files import new_folder
from clients.cli.identity import OUTPUT_KEY
from clients.cli.output import Answer
from clients.cli.tasks.measuring import COLUMNS, Measurement, measured
from clients.cli.tasks.plots import draw_masks
from clients.cli.tasks.record import proven_dossier
from clients.cli.tasks.service import connect, open_identity
from policies.dossier import Dossier
from policies.wire.base import load_json
from policies.wire.datasets import patch_of
from policies.wire.pipeline import Pipeline
from policies.wire.run import RunReport
from trainer.data.join import open_dataset
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
    if test is not None and beside.exists():
        raise UsageError(f"{beside} exists already", hint="choose another folder for --out")
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
        model = build_model(pipeline.train.model, base=read_base_model(folder))
        found = Measurement()
        if test is not None:
            units = open_dataset(test)
            found = measured(model, units, config=pipeline.train, beside=beside)
            if plot is not None:
                threshold, patch = pipeline.train.threshold, patch_of(pipeline.train.dataset)
                draw_masks(model, units, threshold=threshold, png=plot, patch=patch)
    return Answer(
        {
            "run": run,
            "model": str(out),
            "digest": digest,
            "report": report.digest(),
            "spent": None if report.spent is None else report.spent.to_json(),
            **found.to_json(),
            "plot": None if plot is None else str(plot),
        },
        f"{out}: the model of {run}, as its signed report says",
        columns=COLUMNS if found.figures else (),
        rows=found.rows(),
    )


def _report(dossier: Dossier, run: str) -> RunReport:
    found = [item.document for item in dossier.reports if item.document.run == run]
    if not found:
        raise NotFoundError(f"the log holds no report of {run} yet", hint="depa run wait")
    if found[0].state != "completed" or found[0].model is None or found[0].model_url is None:
        raise Refused(f"{run} is reported as {found[0].state}: {found[0].reason}")
    return found[0]


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
