"""Azure Blob storage as a blob store, by the unmodified `azure-storage-blob`.

A blob is created with `If-None-Match: *` unless it may be overwritten, each block travels with its
MD5, and reads are pinned to the first answer's ETag by the SDK.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import DefaultAzureCredential
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    StorageStreamDownloader,
)

from clients.api.blobs import (
    MAX_BLOB_BYTES,
    BlobDeniedError,
    BlobError,
    BlobExistsError,
    BlobInfo,
    BlobMissingError,
    Credential,
    Progress,
    check_name,
)
from clients.api.errors import NetworkError, UntrustedAnswerError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_TIMEOUT_SECONDS = 60
_BLOCK_BYTES = 8 * 1024**2


class AzureStore:
    """Blobs in a container, optionally below a folder in it."""

    def __init__(self, url: str, *, credential: Credential | None = None, retries: int = 3) -> None:
        """Use a container.

        Args:
            url: `https://<account>.blob.core.windows.net/<container>[/<folder>]`; for an emulator
                `http://127.0.0.1:<port>/<account>/<container>[/<folder>]`.
            credential: What `azure.storage.blob` takes; None asks `azure-identity`.
            retries: How often a request that got no answer is sent again.

        Raises:
            BlobError: when the URL names no container or is not encrypted.
        """
        parts = urlsplit(url)
        path = [part for part in parts.path.split("/") if part]
        # Azurite has no host names for accounts: the account is the path's first part.
        local = _is_address(parts.hostname or "")
        account = path.pop(0) if local and path else ""
        if not path or (local and not account):
            raise BlobError(f"blob store: expected a container in the URL, got {url!r}")
        if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise BlobError("blob store: expected https, got http")
        self._base = f"{parts.scheme}://{parts.netloc}" + (f"/{account}" if account else "")
        self._container_name, *folder = path
        self._prefix = "".join(f"{check_name(part)}/" for part in folder)
        service = BlobServiceClient(
            self._base,
            credential=credential or DefaultAzureCredential(),
            max_single_put_size=_BLOCK_BYTES,
            max_block_size=_BLOCK_BYTES,
            retry_total=retries,
            connection_timeout=_TIMEOUT_SECONDS,
            read_timeout=_TIMEOUT_SECONDS,
        )
        self._container: ContainerClient = service.get_container_client(self._container_name)

    def __repr__(self) -> str:
        return f"AzureStore({self._base}/{self._container_name}/{self._prefix})"

    def url(self, name: str) -> str:
        """Return the blob's URL, without any credential."""
        return f"{self._base}/{self._container_name}/{self._prefix}{check_name(name)}"

    def upload(
        self,
        source: Path,
        *,
        name: str,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> BlobInfo:
        """Send a file block by block; it becomes visible with the last one."""
        blob = self._blob(name)

        def report(done: int, total: int | None) -> None:
            if progress is not None:
                progress(done, total or size)

        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            with _translated(self.url(name)):
                blob.upload_blob(
                    file,
                    length=size,
                    overwrite=overwrite,
                    validate_content=True,
                    max_concurrency=1,
                    progress_hook=report,
                )
                stored = blob.get_blob_properties().size
            after = os.fstat(file.fileno()).st_size
        if not size == stored == after:
            raise UntrustedAnswerError(f"size of {self.url(name)}", expected=size, got=stored)
        return BlobInfo(self.url(name), digest, size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read a blob from its first byte."""
        with _translated(self.url(name)):
            downloader = self._blob(name).download_blob(max_concurrency=1)
        with io.BufferedReader(_Reader(downloader, self.url(name)), _BLOCK_BYTES) as stream:
            yield stream

    def size(self, name: str) -> int:
        """Return a blob's size in bytes."""
        with _translated(self.url(name)):
            size: int = self._blob(name).get_blob_properties().size
        if size > MAX_BLOB_BYTES:
            raise UntrustedAnswerError(
                f"size of {self.url(name)}", expected=f"at most {MAX_BLOB_BYTES}", got=size
            )
        return size

    def names(self) -> tuple[str, ...]:
        """Return the names of all blobs, sorted."""
        with _translated(f"{self._base}/{self._container_name}"):
            found = list(self._container.list_blob_names(name_starts_with=self._prefix))
        return tuple(sorted(name.removeprefix(self._prefix) for name in found))

    def delete(self, name: str) -> None:
        """Remove a blob."""
        with _translated(self.url(name)):
            self._blob(name).delete_blob()

    def _blob(self, name: str) -> BlobClient:
        return self._container.get_blob_client(self._prefix + check_name(name))


class _Reader(io.RawIOBase):
    """A download as a stream, its errors ours."""

    def __init__(self, downloader: StorageStreamDownloader[bytes], url: str) -> None:
        self._downloader, self._url = downloader, url

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with _translated(self._url):
            data = self._downloader.read(len(view))
        view[: len(data)] = data
        return len(data)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn the SDK's errors into ours; their text may quote headers and stays out."""
    try:
        yield
    except ResourceNotFoundError:
        raise BlobMissingError(f"there is no {url}", hint="was it uploaded?") from None
    except ResourceExistsError:
        hint = "overwrite it explicitly or choose another name"
        raise BlobExistsError(f"{url} exists", hint=hint) from None
    except ClientAuthenticationError as error:
        raise _denied(url, error) from None
    except HttpResponseError as error:
        if error.status_code == HTTPStatus.FORBIDDEN:
            raise _denied(url, error) from None
        raise NetworkError(f"{url}: the store answered {_code(error)}") from None
    except AzureError as error:
        raise NetworkError(f"{url}: no answer ({type(error).__name__})") from None


def _denied(url: str, error: HttpResponseError) -> BlobDeniedError:
    hint = "sign in with `az login` or ask for the role Storage Blob Data Contributor"
    return BlobDeniedError(f"{url}: not let in ({_code(error)})", hint=hint)


def _code(error: HttpResponseError) -> str:
    return f"{error.status_code} {getattr(error, 'error_code', None) or ''}".strip()


def _is_address(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
