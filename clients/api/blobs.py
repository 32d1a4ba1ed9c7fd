"""Where sealed files lie: a folder or Azure Blob storage, behind one Protocol, chosen by URL.

Blobs are opaque here: what lies in a store is sealed, and whoever reads it compares the digest that
the contract or the run report names.

    file:///srv/sealed                                   a folder
    https://<account>.blob.core.windows.net/<container>   Azure Blob storage

Errors, all of them `clients.api.errors.ClientError`:

* BlobError           the URL or the name cannot be used
  + BlobMissingError  there is no such blob
  + BlobExistsError   there is one already, and overwriting was not asked for
  + BlobDeniedError   the store does not let this caller in
* NetworkError, UntrustedAnswerError as everywhere
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from clients.api.errors import ClientError, UntrustedAnswerError

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""
Credential: TypeAlias = "AzureNamedKeyCredential | AzureSasCredential | TokenCredential"

MAX_BLOB_BYTES = 2**44
_CHUNK_BYTES = 4 * 1024**2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}(/[A-Za-z0-9][A-Za-z0-9._-]{0,126}){0,7}")


class BlobError(ClientError):
    """A blob store's URL or a blob's name cannot be used."""

    code = "blob"
    exit_code = 2
    http_status = 422


class BlobMissingError(BlobError):
    """There is no such blob."""

    code = "blob-missing"
    exit_code = 3
    http_status = 404


class BlobExistsError(BlobError):
    """There is a blob of that name already."""

    code = "blob-exists"
    exit_code = 4
    http_status = 409


class BlobDeniedError(BlobError):
    """The store does not let this caller in."""

    code = "blob-denied"
    exit_code = 6
    http_status = 403


@dataclass(frozen=True)
class BlobInfo:
    """A blob that was transferred and checked."""

    url: str
    digest: str
    """`sha256:...` of all of it."""
    size: int
    """Bytes."""


class BlobStore(Protocol):
    """A place for sealed files."""

    def url(self, name: str) -> str:
        """Return the URL of a blob, as it stands in a contract."""
        ...

    def upload(
        self,
        source: Path,
        *,
        name: str,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> BlobInfo:
        """Store a file; readers see all of it or nothing.

        Raises:
            BlobExistsError: when the name is taken and `overwrite` is not set.
            UntrustedAnswerError: when less or something else was stored.
        """
        ...

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Read a blob from its first byte; the caller MUST check its digest.

        Raises:
            BlobMissingError: when there is none.
        """
        ...

    def size(self, name: str) -> int:
        """Return a blob's size in bytes.

        Raises:
            BlobMissingError: when there is none.
        """
        ...

    def names(self) -> tuple[str, ...]:
        """Return the names of all blobs, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Remove a blob.

        Raises:
            BlobMissingError: when there is none.
        """
        ...


def split_blob_url(url: str) -> tuple[str, str]:
    """Return the store's URL and the blob's name, the last part.

    Raises:
        BlobError: when there is no plain name at the end.
    """
    store, _, name = url.rpartition("/")
    return store, check_name(name)


def check_name(name: str) -> str:
    """Return the name if it is plain: parts of letters, digits, `.`, `_` and `-`.

    Raises:
        BlobError: otherwise, in particular for anything that leaves the store.
    """
    if not _NAME.fullmatch(name):
        raise BlobError(f"blob name: expected plain names separated by /, got {name[:200]!r}")
    return name


def download(
    store: BlobStore,
    name: str,
    *,
    out: Path,
    expected_digest: str,
    expected_size: int | None = None,
    progress: Progress | None = None,
) -> BlobInfo:
    """Fetch a blob into the new file `out`, which is there only if the digest was right.

    Raises:
        BlobMissingError: when there is no such blob.
        BlobExistsError: when `out` exists.
        UntrustedAnswerError: when size or digest is another one.
    """
    if out.exists():
        raise BlobExistsError(f"{out} exists", hint="choose another name or remove it first")
    total = store.size(name)
    if expected_size is not None and total != expected_size:
        raise UntrustedAnswerError(f"size of {name}", expected=expected_size, got=total)
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        with store.open(name) as source, scratch.open("xb") as file:
            digest, size = copy(source, file, total=total, progress=progress)
            file.flush()
            os.fsync(file.fileno())
        if digest != expected_digest:
            hint = "the blob was replaced or damaged after it was named"
            raise UntrustedAnswerError(
                f"digest of {name}", expected=expected_digest, got=digest, hint=hint
            )
        publish(scratch, out, overwrite=False)
    finally:
        scratch.unlink(missing_ok=True)
    return BlobInfo(store.url(name), digest, size)


def copy(
    source: BinaryIO, out: BinaryIO, *, total: int, progress: Progress | None = None
) -> tuple[str, int]:
    """Copy a stream of known size; return its digest and size.

    Raises:
        UntrustedAnswerError: when it is shorter or longer.
    """
    sha256 = hashlib.sha256()
    done = 0
    while chunk := source.read(_CHUNK_BYTES):
        done += len(chunk)
        if done > total:
            break
        sha256.update(chunk)
        out.write(chunk)
        if progress is not None:
            progress(done, total)
    if done != total:
        got = f"{done} bytes" if done < total else "more"
        raise UntrustedAnswerError("size of a blob", expected=f"{total} bytes", got=got)
    return "sha256:" + sha256.hexdigest(), done


def publish(scratch: Path, target: Path, *, overwrite: bool) -> None:
    """Give a finished file its name, in one step.

    Raises:
        BlobExistsError: when the name is taken and `overwrite` is not set.
    """
    if overwrite:
        scratch.replace(target)
        return
    try:
        # A link, unlike a rename, refuses a name that someone took in the meantime.
        os.link(scratch, target)
    except FileExistsError:
        hint = "overwrite it explicitly or choose another name"
        raise BlobExistsError(f"{target.name} exists", hint=hint) from None


class FolderStore:
    """Blobs as files below a folder."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which need not exist before the first upload.

        Raises:
            BlobError: when the path is not absolute or is a file.
        """
        if not folder.is_absolute():
            raise BlobError(f"file URL: expected an absolute path, got {str(folder)!r}")
        if folder.exists() and not folder.is_dir():
            raise BlobError(f"{folder} is not a folder")
        self._folder = folder

    def url(self, name: str) -> str:
        """Return the blob's `file:` URL."""
        return f"{self._folder.as_uri()}/{check_name(name)}"

    def upload(
        self,
        source: Path,
        *,
        name: str,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> BlobInfo:
        """Copy a file beside its place, then give it its name."""
        target = self._path(name)
        if target.exists() and not overwrite:
            hint = "overwrite it explicitly or choose another name"
            raise BlobExistsError(f"{name} exists", hint=hint)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        try:
            with source.open("rb") as file, scratch.open("xb") as out:
                total = os.fstat(file.fileno()).st_size
                digest, size = copy(file, out, total=total, progress=progress)
                out.flush()
                os.fsync(out.fileno())
            publish(scratch, target, overwrite=overwrite)
        finally:
            scratch.unlink(missing_ok=True)
        return BlobInfo(self.url(name), digest, size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read a blob from its first byte."""
        with self._existing(name).open("rb") as file:
            yield file

    def size(self, name: str) -> int:
        """Return a blob's size in bytes."""
        return self._existing(name).stat().st_size

    def names(self) -> tuple[str, ...]:
        """Return the names of all blobs, sorted; unfinished ones are hidden."""
        found = (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*"))
        return tuple(
            sorted(name for name in found if _NAME.fullmatch(name) and self._path(name).is_file())
        )

    def delete(self, name: str) -> None:
        """Remove a blob."""
        self._existing(name).unlink()

    def _path(self, name: str) -> Path:
        path = self._folder / check_name(name)
        root = self._folder.resolve()
        if not path.resolve().is_relative_to(root):
            raise BlobError(f"{name} leads out of the store")
        return path

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise BlobMissingError(f"there is no {self.url(name)}", hint="was it uploaded?")
        return path
