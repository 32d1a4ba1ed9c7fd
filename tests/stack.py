"""The attestation service and a vault over real TLS on loopback, in threads of the test's
process."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from clients.api.attestation import AuthorityKeys, attest_snp
from clients.api.vault import VaultClient, VaultCredential
from deploy.local.attestation import create_app as attestation_app
from deploy.local.attestation import make_token_key
from deploy.local.server import bind, tls_server, url_of
from deploy.local.tls import KeyKind, TlsFiles, server_certificate
from deploy.local.vault.app import VaultSettings
from deploy.local.vault.app import create_app as vault_app
from deploy.local.vault.release import ReleaseSigner
from deploy.local.vault.store import KeyStore
from tests.simulator import NOW, Evidence, machine, party

OWNER = "Hospital A"
RELEASER = "Contract service"


@contextmanager
def serving(build: Callable[[str], FastAPI], *, tls: TlsFiles) -> Iterator[str]:
    """Serve the app that `build` returns for its URL, until the block ends."""
    listener = bind()
    url = url_of(listener)
    server = tls_server(build(url), tls=tls)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield url
    finally:
        # The vault's client library leaves some refusals unread; their connections end with them.
        gc.collect()
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()


@dataclass(frozen=True)
class Stack:
    """Where the services are."""

    attestation_url: str
    vault_url: str
    ca_file: Path
    store: KeyStore

    def vault(self, name: str = OWNER) -> VaultClient:
        """Return a client of the vault for a party."""
        credential = VaultCredential(party(name), clock=NOW.timestamp)
        return VaultClient(self.vault_url, credential=credential, ca_file=self.ca_file)

    def token(self, evidence: Evidence) -> str:
        """Return the attestation service's token, fetched over the network."""
        return attest_snp(
            self.attestation_url,
            report=evidence.report(),
            certs_pem=machine().certificates,
            uvm=(machine().endorsement,),
            runtime_data=evidence.runtime_data(),
            ca_file=self.ca_file,
        )


@contextmanager
def running_stack(home: Path) -> Iterator[Stack]:
    """Run attestation service and vault in `home`; their clocks stand at `NOW`."""
    tls = server_certificate(home / "tls", name="server", now=NOW)
    signer = ReleaseSigner.load(
        server_certificate(home / "tls", name="release", now=NOW, kind=KeyKind.RELEASE)
    )
    store = KeyStore(home / "vault" / "keys.sqlite", passphrase=b"correct horse", cost=1 << 10)
    with ExitStack() as stack:
        stack.callback(store.close)
        attestation_url = stack.enter_context(
            serving(
                lambda url: attestation_app(
                    url,
                    key=make_token_key(url, now=NOW),
                    roots=machine().roots,
                    endorsers=(machine().endorser,),
                    clock=NOW.timestamp,
                ),
                tls=tls,
            )
        )
        verifier = AuthorityKeys({attestation_url: tls.authority})
        vault_url = stack.enter_context(
            serving(
                lambda url: vault_app(
                    VaultSettings(url, owner=party(OWNER).did, releasers=(party(RELEASER).did,)),
                    store=store,
                    verifier=verifier,
                    signer=signer,
                    clock=NOW.timestamp,
                ),
                tls=tls,
            )
        )
        yield Stack(attestation_url, vault_url, tls.authority, store)
