"""`depa key`: put keys into the party's own vault, so that only one contract's room gets them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from clients.api.vault import VaultClient, VaultCredential
from clients.cli.command import Session, command, new_app
from clients.cli.errors import NotFoundError, Refused
from clients.cli.identity import Identity
from clients.cli.output import Answer
from clients.cli.tasks.kek import own_private_kek
from clients.cli.tasks.record import executed_contract
from clients.cli.tasks.service import ca_file, connect, open_identity
from policies.attestation.release_policy import build_release_policy
from policies.wire.contract import Contract, SealedFile

app = new_app("Put keys into the party's own vault, bound to a contract.")


@command(app, "import", examples="depa key import sha256:...")
def import_(
    session: Session,
    contract: Annotated[str, typer.Argument(help="Digest of an executed contract.")],
) -> Answer:
    """Import the keys of this party's sealed files, releasable to this contract's room alone."""
    identity = open_identity(session)
    client = connect(session, identity)
    found = executed_contract(session, client, contract)
    files = [file for file in _files(found) if file.provider == identity.card.id]
    if not files:
        raise NotFoundError(f"{identity.card.name} has no sealed file in this contract")
    policy = _release_policy(found)
    vault = _vault(session, identity)
    imported = []
    for file in files:
        if file.key.vault != vault.url:
            raise Refused(f"{file.id}: its key is of vault {file.key.vault}, this is {vault.url}")
        key = own_private_kek(identity.keystore, file.key.name)
        stored = vault.import_key(file.key.name, key=key, release_policy=policy)
        imported.append({"file": file.id, "key": stored.kid, "kind": stored.kty})
    return Answer(
        {"contract": found.digest(), "keys": imported, "policy": json.loads(policy)},
        f"only a clean room of {found.digest()} gets these keys",
        columns=("file", "key", "kind"),
        rows=[(item["file"], item["key"], item["kind"]) for item in imported],
    )


@command(app, "list", examples="depa key list")
def list_(session: Session) -> Answer:
    """List the keys in this party's vault."""
    vault = _vault(session, open_identity(session))
    keys = [vault.get_key(name) for name in vault.list_names()]
    return Answer(
        {"keys": [{"name": k.name, "version": k.version, "kind": k.kty} for k in keys]},
        columns=("name", "kind", "version", "exportable"),
        rows=[(k.name, k.kty, k.version, "yes" if k.exportable else "no") for k in keys],
    )


@command(app, "policy", examples="depa key policy brats-a-key")
def policy_(
    session: Session, name: Annotated[str, typer.Argument(help="Name of the key.")]
) -> Answer:
    """Print the release policy that the vault holds for a key."""
    key = _vault(session, open_identity(session)).get_key(name)
    policy = None if key.release_policy is None else json.loads(key.release_policy)
    return Answer({"key": key.kid, "policy": policy}, json.dumps(policy, indent=2))


def _files(contract: Contract) -> tuple[SealedFile, ...]:
    return (*contract.datasets, *contract.base_models)


def _release_policy(contract: Contract) -> bytes:
    return build_release_policy(
        contract.digest(),
        authorities=contract.attestation.authorities,
        host_data=contract.attestation.host_data,
        compliance=contract.attestation.compliance[0],
    )


def _vault(session: Session, identity: Identity) -> VaultClient:
    return VaultClient(
        session.settings.need("vault"),
        credential=VaultCredential(identity.credential),
        ca_file=ca_file(session.settings),
    )
