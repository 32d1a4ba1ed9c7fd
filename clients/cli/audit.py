"""`depa audit`: prove, without a network, what happened under a contract."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.errors import Refused
from clients.cli.files import read_bytes, write_new
from clients.cli.output import Answer
from clients.cli.tasks.service import connect
from ledger.bundle import MAX_BUNDLE_BYTES, Bundle
from ledger.verify import verify_bundle

app = new_app("Verify offline what happened.")
_KEEP = "keep the database as it is, and compare it with a backup and the parties' bundles"


@command(app, "export", examples="depa audit export sha256:... --out case.json")
def export(
    session: Session,
    contract: Annotated[str, typer.Argument(help="Digest of the contract.")],
    *,
    out: Annotated[Path, typer.Option(help="File to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> Answer:
    """Fetch everything that an auditor needs about a contract, as one file."""
    data = connect(session).contract_bundle(contract)
    entries = len(Bundle.parse(data).entries)
    write_new(out, data, overwrite=overwrite)
    return Answer(
        {"file": str(out), "entries": entries, "size": len(data)},
        f"{out}: {entries} entries, {len(data)} bytes",
    )


@command(app, "verify", examples="depa audit verify case.json --root 3f0c...")
def verify(
    session: Session,
    bundle: Annotated[Path, typer.Argument(help="Exported file.")],
    *,
    root: Annotated[str | None, typer.Option(help="Root fingerprint, if not set.")] = None,
) -> Answer:
    """Verify signatures, receipts, checkpoint, order, decisions and budgets; needs no network."""
    # The accountant takes seconds to load; no other command of this noun needs it.
    from clients.cli.tasks.auditing import audit_bundle  # noqa: PLC0415

    fingerprint = root or session.settings.need("root")
    audited = audit_bundle(read_bytes(bundle, what="bundle", limit=MAX_BUNDLE_BYTES), fingerprint)
    return Answer(
        {
            "root": fingerprint,
            "contracts": list(audited.contracts),
            "entries": len(audited.log.entries),
            "treeSize": audited.log.checkpoint.tree_size,
            "checks": [{"check": one.title, "found": one.detail} for one in audited.findings],
        },
        f"{bundle}: everything holds, {len(audited.findings)} checks",
        columns=("check", "found"),
        rows=[(one.title, one.detail) for one in audited.findings],
    )


@command(app, "show", examples="depa audit show case.json --root 3f0c...")
def show(
    session: Session,
    bundle: Annotated[Path, typer.Argument(help="Exported file.")],
    *,
    root: Annotated[str | None, typer.Option(help="Root fingerprint, if not set.")] = None,
) -> Answer:
    """List the entries of a verified bundle, in the order of the log."""
    data = read_bytes(bundle, what="bundle", limit=MAX_BUNDLE_BYTES)
    fingerprint = root or session.settings.need("root")
    log = verify_bundle(Bundle.parse(data), root_fingerprint=fingerprint, at=int(time.time()))
    rows = [
        (
            str(entry.index),
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.statement.issued_at)),
            entry.statement.kind,
            _issuer(entry.statement.issuer),
            entry.statement.payload_digest,
        )
        for entry in log.entries
    ]
    names = ("entry", "time (UTC)", "kind", "issuer", "document")
    listed = [dict(zip(names, row, strict=True)) for row in rows]
    return Answer({"entries": listed}, columns=names, rows=rows)


def _issuer(did: str) -> str:
    """Return a DID as a table has room for it: what it pins, or the beginning of its key."""
    return did.rpartition("::")[2] if "::" in did else f"{did[:24]}…"


@command(app, "fsck", examples="depa audit fsck sqlite:///service/ledger.db")
def fsck(
    session: Session,
    database: Annotated[str, typer.Argument(help="URL of the log's database, not in use.")],
) -> Answer:
    """Recompute a log from its database, believing nothing that is stored; changes nothing."""
    del session
    # The database library belongs to the operator's installation alone.
    from ledger.fsck import check_store  # noqa: PLC0415
    from ledger.store import Store  # noqa: PLC0415

    store = Store(database)
    try:
        report = check_store(store)
    finally:
        store.close()
    if report.problems:
        raise Refused("the log is damaged: " + "; ".join(report.problems), hint=_KEEP)
    return Answer(
        {"entries": report.size, "root": report.root.hex()},
        f"{report.size} entries are sound, their root is {report.root.hex()}",
    )
