"""A vault of one owner and one releaser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from deploy.local.tls import KeyKind, server_certificate
from deploy.local.vault.app import VaultSettings, create_app
from deploy.local.vault.release import ReleaseSigner
from deploy.local.vault.store import KeyStore
from tests.simulator import (
    NOW,
    SimulatedVerifier,
    party,
)
from tests.unit.deploy.local.vault.calling import OWNER, RELEASER, URL, Caller


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> ReleaseSigner:
    home = tmp_path_factory.mktemp("tls")
    return ReleaseSigner.load(
        server_certificate(home, name="release", now=NOW, kind=KeyKind.RELEASE)
    )


@pytest.fixture
def call(tmp_path: Path, signer: ReleaseSigner) -> Iterator[Caller]:
    store = KeyStore(tmp_path / "keys.db", passphrase=b"p", cost=1 << 10)
    app = create_app(
        VaultSettings(URL, owner=party(OWNER).did, releasers=(party(RELEASER).did,)),
        store=store,
        verifier=SimulatedVerifier(),
        signer=signer,
        clock=NOW.timestamp,
    )
    with TestClient(app, base_url=URL) as client:
        yield Caller(client)
    store.close()
