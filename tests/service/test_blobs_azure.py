"""The Azure side of the blob store, by the unmodified SDK against Azurite.

Azurite comes from npm: `npm ci --prefix tests/service`.
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient

from clients.api.azure_blobs import AzureStore
from clients.api.blobs import BlobDeniedError, BlobExistsError, BlobMissingError, download
from clients.api.errors import NetworkError, UntrustedAnswerError
from clients.api.stores import open_store
from policies.wire.base import sha256

# Node and npm are not everywhere; `make test-all` installs Azurite first.
pytestmark = pytest.mark.slow

AZURITE = Path(__file__).parent / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "depatest"
CONTENT = os.urandom(20_000_000)
"""More than two blocks."""


@dataclass(frozen=True)
class Azurite:
    url: str
    """Of the account."""
    credential: AzureNamedKeyCredential


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    assert AZURITE.exists(), "run: npm ci --prefix tests/service"
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    port = free_port()
    process = subprocess.Popen(
        [
            str(AZURITE),
            *("--blobHost", "127.0.0.1", "--blobPort", str(port)),
            *("--location", str(tmp_path_factory.mktemp("azurite"))),
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        ],
        env={"PATH": os.environ["PATH"], "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "successfully listens" in line:
                break
        yield Azurite(f"http://127.0.0.1:{port}/{ACCOUNT}", AzureNamedKeyCredential(ACCOUNT, key))
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.fixture
def store(azurite: Azurite) -> AzureStore:
    container = f"c{secrets.token_hex(8)}"
    with BlobServiceClient(azurite.url, credential=azurite.credential) as service:
        service.create_container(container)
    opened = open_store(f"{azurite.url}/{container}/icmr", credential=azurite.credential)
    assert isinstance(opened, AzureStore)
    return opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def test_what_is_uploaded_is_downloaded(store: AzureStore, source: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    stored = store.upload(
        source, name="a.sealed", progress=lambda done, total: steps.append((done, total))
    )
    assert stored.digest == sha256(CONTENT)
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert store.names() == ("a.sealed",)
    out = tmp_path / "back"
    assert download(store, "a.sealed", out=out, expected_digest=stored.digest) == stored
    assert out.read_bytes() == CONTENT


def test_an_existing_blob_is_kept_unless_overwriting_is_asked_for(
    store: AzureStore, source: Path, tmp_path: Path
) -> None:
    store.upload(source, name="a")
    other = tmp_path / "other"
    other.write_bytes(b"other")
    with pytest.raises(BlobExistsError):
        store.upload(other, name="a")
    assert store.size("a") == len(CONTENT)
    store.upload(other, name="a", overwrite=True)
    assert store.size("a") == 5


def test_a_replaced_blob_is_refused_and_leaves_nothing(
    store: AzureStore, source: Path, tmp_path: Path
) -> None:
    agreed = store.upload(source, name="a").digest
    source.write_bytes(CONTENT[:-1] + b"x")
    store.upload(source, name="a", overwrite=True)
    out = tmp_path / "out" / "a"
    out.parent.mkdir()
    with pytest.raises(UntrustedAnswerError, match="digest of a"):
        download(store, "a", out=out, expected_digest=agreed)
    assert list(out.parent.iterdir()) == []


def test_a_missing_blob_is_named_and_a_deleted_one_is_missing(
    store: AzureStore, source: Path
) -> None:
    store.upload(source, name="a")
    store.delete("a")
    for action in (store.size, store.delete, lambda name: store.open(name).__enter__()):
        with pytest.raises(BlobMissingError, match="icmr/a"):
            action("a")


def test_a_wrong_key_is_let_into_nothing(azurite: Azurite, store: AzureStore) -> None:
    wrong = AzureNamedKeyCredential(ACCOUNT, base64.b64encode(bytes(32)).decode())
    url = store.url("a").removesuffix("/a")
    with pytest.raises(BlobDeniedError) as caught:
        open_store(url, credential=wrong).names()
    assert base64.b64encode(bytes(32)).decode() not in str(caught.value)


def test_a_store_that_does_not_answer_is_a_network_error(azurite: Azurite) -> None:
    url = f"http://127.0.0.1:{free_port()}/{ACCOUNT}/sealed"
    store = AzureStore(url, credential=azurite.credential, retries=0)
    with pytest.raises(NetworkError, match="no answer"):
        store.size("a")
