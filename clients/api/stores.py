"""Find the blob store behind a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from clients.api.blobs import BlobError, BlobStore, Credential, FolderStore


def open_store(url: str, *, credential: Credential | None = None) -> BlobStore:
    """Return the store behind a URL.

    Args:
        url: `file:` folder, or container of Azure Blob storage, optionally with a folder in it.
        credential: For Azure: what `azure.storage.blob` takes; None asks `azure-identity`.

    Raises:
        BlobError: when the URL is of no known kind or carries a secret.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username or parts.password:
        hint = "give a SAS token or a password as the credential: URLs are logged and signed"
        raise BlobError("a blob store's URL has no query, fragment or user name", hint=hint)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise BlobError(f"file URL: expected no host, got {parts.netloc!r}")
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme in ("https", "http"):
        # The Azure SDK is an extra: a laptop with a folder does without it.
        from clients.api.azure_blobs import AzureStore  # noqa: PLC0415

        return AzureStore(url, credential=credential)
    known = "file:///folder or https://account.blob.core.windows.net/container"
    raise BlobError(f"blob store: expected {known}, got scheme {parts.scheme!r}")
