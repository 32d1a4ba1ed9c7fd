from __future__ import annotations

import io
from pathlib import Path

import pytest

from clients.api.azure_blobs import AzureStore
from clients.api.blobs import (
    BlobError,
    BlobExistsError,
    BlobMissingError,
    FolderStore,
    check_name,
    copy,
    download,
    publish,
    split_blob_url,
)
from clients.api.errors import UntrustedAnswerError
from clients.api.stores import open_store
from policies.wire.base import sha256

CONTENT = bytes(range(256)) * 40_000
"""10 MB: more than two chunks."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.sealed"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root)


def test_what_is_uploaded_is_downloaded(store: FolderStore, source: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    stored = store.upload(
        source, name="icmr/a.sealed", progress=lambda done, total: steps.append((done, total))
    )
    assert stored.digest == sha256(CONTENT)
    assert stored.size == store.size("icmr/a.sealed") == len(CONTENT)
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert steps == sorted(steps)
    out = tmp_path / "back.sealed"
    fetched = download(
        store, "icmr/a.sealed", out=out, expected_digest=stored.digest, expected_size=len(CONTENT)
    )
    assert fetched == stored
    assert out.read_bytes() == CONTENT
    assert store.names() == ("icmr/a.sealed",)


def test_a_blob_is_found_by_the_url_in_a_contract(store: FolderStore, source: Path) -> None:
    stored = store.upload(source, name="a.sealed")
    url, name = split_blob_url(stored.url)
    with open_store(url).open(name) as stream:
        assert stream.read() == CONTENT


def test_an_existing_blob_is_kept_unless_overwriting_is_asked_for(
    store: FolderStore, source: Path, tmp_path: Path
) -> None:
    store.upload(source, name="a")
    other = tmp_path / "other"
    other.write_bytes(b"other")
    with pytest.raises(BlobExistsError, match="a exists"):
        store.upload(other, name="a")
    assert store.size("a") == len(CONTENT)
    store.upload(other, name="a", overwrite=True)
    assert store.size("a") == 5


def test_a_failed_upload_leaves_nothing(store: FolderStore, root: Path, source: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise InterruptedError(f"{done} of {total}")

    with pytest.raises(InterruptedError):
        store.upload(source, name="a", progress=fail)
    assert list(root.iterdir()) == []


def test_a_replaced_blob_is_refused_and_leaves_nothing(
    store: FolderStore, root: Path, source: Path, tmp_path: Path
) -> None:
    stored = store.upload(source, name="a")
    changed = bytearray(CONTENT)
    changed[77] ^= 1
    (root / "a").write_bytes(changed)
    out = tmp_path / "out" / "a"
    out.parent.mkdir()
    with pytest.raises(UntrustedAnswerError, match="digest of a"):
        download(store, "a", out=out, expected_digest=stored.digest)
    with pytest.raises(UntrustedAnswerError, match="size of a: expected 9, got"):
        download(store, "a", out=out, expected_digest=stored.digest, expected_size=9)
    assert list(out.parent.iterdir()) == []


def test_a_download_never_overwrites(store: FolderStore, source: Path, tmp_path: Path) -> None:
    stored = store.upload(source, name="a")
    out = tmp_path / "mine"
    out.write_text("mine")
    with pytest.raises(BlobExistsError):
        download(store, "a", out=out, expected_digest=stored.digest)
    assert out.read_text() == "mine"


def test_a_missing_blob_is_named(store: FolderStore) -> None:
    for action in (store.size, store.delete, lambda name: store.open(name).__enter__()):
        with pytest.raises(BlobMissingError, match="store/nothing"):
            action("nothing")
    assert store.names() == ()


def test_a_deleted_blob_is_gone(store: FolderStore, source: Path) -> None:
    store.upload(source, name="a")
    store.delete("a")
    assert store.names() == ()


@pytest.mark.parametrize(
    "name",
    ["", "..", "../a", "a/../../b", "/etc/passwd", "a//b", "a/", ".hidden", "a b", "a\\b", "a\0",
     "ä", "x" * 200, "/".join("abcdefghij"), "a%2fb", "a?sig=x", "a\n"],
)  # fmt: skip
def test_a_name_that_leaves_the_store_is_refused(
    store: FolderStore, source: Path, name: str
) -> None:
    with pytest.raises(BlobError, match="plain names"):
        check_name(name)
    for action in (store.url, store.size, store.delete):
        with pytest.raises(BlobError):
            action(name)
    with pytest.raises(BlobError):
        store.upload(source, name=name)


def test_a_link_out_of_the_store_is_not_followed(
    store: FolderStore, root: Path, source: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    root.mkdir()
    (root / "out").symlink_to(secret)
    (root / "key").symlink_to(secret / "key")
    for name in ("out/key", "key"):
        with pytest.raises(BlobError, match="leads out of the store"):
            store.size(name)
        with pytest.raises(BlobError, match="leads out of the store"):
            store.upload(source, name=name, overwrite=True)
    assert (secret / "key").read_text() == "secret"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://host/a", "got scheme 'ftp'"),
        ("store", "got scheme ''"),
        ("file://elsewhere/a", "expected no host"),
        ("file:relative", "absolute path"),
        ("https://account.blob.core.windows.net/sealed?sig=secret", "no query"),
        ("https://user:secret@account.blob.core.windows.net/sealed", "user name"),
        ("https://account.blob.core.windows.net", "expected a container"),
        ("http://account.blob.core.windows.net/sealed", "expected https"),
        ("http://127.0.0.1:10000/account", "expected a container"),
        ("https://account.blob.core.windows.net/sealed/../other", "plain names"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secret(url: str, reason: str) -> None:
    with pytest.raises(BlobError, match=reason) as caught:
        open_store(url)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_an_azure_url_chooses_azure_and_keeps_its_folder() -> None:
    store = open_store("https://account.blob.core.windows.net/sealed/icmr")
    assert isinstance(store, AzureStore)
    assert store.url("a.sealed") == "https://account.blob.core.windows.net/sealed/icmr/a.sealed"


@pytest.mark.parametrize(("total", "got"), [(4, "more"), (6, "5 bytes")])
def test_a_stream_of_another_length_is_refused(total: int, got: str) -> None:
    with pytest.raises(UntrustedAnswerError, match=f"expected {total} bytes, got {got}"):
        copy(io.BytesIO(b"12345"), io.BytesIO(), total=total)


def test_a_name_taken_in_the_meantime_is_not_overwritten(tmp_path: Path) -> None:
    scratch, target = tmp_path / "scratch", tmp_path / "target"
    scratch.write_text("late")
    target.write_text("first")
    with pytest.raises(BlobExistsError, match="target exists"):
        publish(scratch, target, overwrite=False)
    assert target.read_text() == "first"


def test_a_file_is_no_folder_store(source: Path) -> None:
    with pytest.raises(BlobError, match="is not a folder"):
        open_store(source.as_uri())
