"""One process of the local stack: a vault or the attestation service, on a socket it was given.

    python -m deploy.local.member vault --home H --fd 3 --owner DID ...
    python -m deploy.local.member attestation --home H --fd 3 --machine M ...

The passphrase of a vault comes from DEPA_PASSPHRASE.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI

from clients.api.attestation import AuthorityKeys
from deploy.local import attestation
from deploy.local.hardware import UnsafeSimulatedMachine
from deploy.local.server import tls_server, url_of
from deploy.local.tls import TlsFiles
from deploy.local.vault.app import VaultSettings, create_app
from deploy.local.vault.release import ReleaseSigner
from deploy.local.vault.store import KeyStore


def main() -> None:
    """Read the command line and serve until told to stop."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    listener = socket.socket(fileno=arguments.fd)
    tls = TlsFiles(arguments.ca, arguments.certificate, arguments.key)
    app = (
        _vault(arguments, url=url_of(listener), tls=tls)
        if arguments.kind == "vault"
        else _attestation(arguments, url=url_of(listener))
    )
    tls_server(app, tls=tls).run(sockets=[listener])


def _vault(arguments: argparse.Namespace, *, url: str, tls: TlsFiles) -> FastAPI:
    passphrase = os.environ.pop("DEPA_PASSPHRASE").encode()
    return create_app(
        VaultSettings(url=url, owner=arguments.owner, releasers=tuple(arguments.releaser)),
        store=KeyStore(arguments.home / "keys.db", passphrase=passphrase),
        verifier=AuthorityKeys(dict.fromkeys(arguments.authority, arguments.ca)),
        signer=ReleaseSigner.load(tls),
    )


def _attestation(arguments: argparse.Namespace, *, url: str) -> FastAPI:
    now = datetime.now(UTC)
    machine = UnsafeSimulatedMachine(arguments.machine, now=now)
    return attestation.create_app(
        url,
        key=attestation.token_key(arguments.home, issuer=url, now=now),
        roots=machine.roots,
        endorsers=(machine.endorser,),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("vault", "attestation"))
    parser.add_argument("--fd", type=int, required=True, help="listening socket")
    for name in ("home", "ca", "certificate", "key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--machine", type=Path, help="home of the simulated machine")
    parser.add_argument("--owner", help="DID of the vault's owner")
    parser.add_argument("--releaser", action="append", default=[], help="DID; repeatable")
    parser.add_argument("--authority", action="append", default=[], help="URL; repeatable")
    return parser


if __name__ == "__main__":
    main()
