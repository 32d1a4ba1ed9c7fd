"""Build the archive of a policy folder, and sign it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from clients.cli.command import Session
from clients.cli.errors import UsageError
from clients.cli.files import write_new
from clients.cli.identity import SIGNING_KEY
from clients.cli.output import Answer
from clients.cli.tasks.bundles import build_folder, rules_of
from clients.cli.tasks.pem import read_private_key
from clients.cli.tasks.service import open_identity
from policies.bundle import Bundle
from policies.lint import lint
from policies.signing import sign_bundle


@dataclass(frozen=True)
class Signing:
    """Who signs, if anybody does."""

    own: bool = False
    """This party, with the key of its statements."""
    pem: Path | None = None
    key_id: str = ""
    scope: str = ""


def build_archive(
    session: Session, folder: Path | None, signing: Signing, *, out: Path, overwrite: bool
) -> Answer:
    """Write the archive of a folder of rules.

    Raises:
        NotFoundError: when there is no such folder or key.
        DocumentError: naming each file that does not belong into a bundle.
        UsageError: when the archive exists, or the options do not fit together.
        SignatureRefused: when the key is of a kind that OPA or this project does not verify.
    """
    bundle = _signed(session, build_folder(folder), signing)
    findings = lint(rules_of(folder))
    if findings:
        session.out.note(
            f"warning: {len(findings)} findings, run depa policy lint"
            + (f" {folder}" if folder else "")
        )
    write_new(out, bundle.pack(), overwrite=overwrite)
    signed = "signed" if bundle.signatures else "not signed"
    return Answer(
        {
            "file": str(out),
            "digest": bundle.digest,
            "version": bundle.version,
            "signed": bundle.signatures is not None,
            "findings": len(findings),
        },
        f"{out}: depa {bundle.version}, {len(bundle.files)} files, {signed}\n{bundle.digest}",
    )


def _signed(session: Session, bundle: Bundle, signing: Signing) -> Bundle:
    if signing.own and (signing.pem or signing.key_id):
        raise UsageError("give either --sign or --key, not both")
    if signing.own:
        identity = open_identity(session)
        signatures = sign_bundle(
            bundle,
            key=identity.keystore.read_ec_key(SIGNING_KEY),
            key_id=identity.card.id,
            scope=signing.scope,
            chain=identity.card.chain_der,
        )
    elif signing.pem is not None:
        if not signing.key_id:
            raise UsageError(
                "a signature says which key it is by", hint="give --key-id, such as a name and year"
            )
        key = read_private_key(signing.pem)
        signatures = sign_bundle(bundle, key=key, key_id=signing.key_id, scope=signing.scope)
    elif signing.key_id or signing.scope:
        raise UsageError("--key-id and --scope are of a signature", hint="give --sign or --key")
    else:
        return bundle
    return replace(bundle, signatures=signatures)
