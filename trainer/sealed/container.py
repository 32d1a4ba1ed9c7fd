"""The outer shape of sealed files, shared by data sets, base models and outputs.

    magic line | length of the header, 4 bytes, big-endian | header, RFC 8785 JSON | Tink ciphertext

The header is the ciphertext's associated data (Tink streaming AEAD, AES256_GCM_HKDF_1MB).
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import tink

from policies.errors import DocumentError
from policies.wire.base import Document
from trainer.sealed.archive import Limits, Source, extract_archive, write_archive
from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.keys import DataKey

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_HEADER_BYTES = 16 * 1024
_DRAIN_BYTES = 1024**2
NAMED = (SealReason.FORMAT, SealReason.DATASET, SealReason.VERSION, SealReason.INFO)
"""Reasons that explain a wrong digest; of all others the digest is the explanation."""


@dataclass(frozen=True)
class SealedBlob:
    """A sealed file that was written."""

    path: Path
    digest: str
    """`sha256:...` of the whole file, as the contract or the run report names it."""
    size: int
    """Bytes."""


class HashingWriter(io.RawIOBase):
    """Counts and hashes what goes to a file; closing it leaves the file open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Say that this is a destination."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # Tink hands over bytes only
        """Write, count and hash."""
        self._file.write(data)
        self._sha256.update(data)
        self.size += len(data)
        return len(data)

    def digest(self) -> str:
        """Return the digest of everything that was written."""
        return "sha256:" + self._sha256.hexdigest()


class HashingReader(io.RawIOBase):
    """Counts and hashes what comes from a stream, up to a limit."""

    def __init__(self, stream: BinaryIO, *, limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._sha256 = hashlib.sha256()
        self.failure: Exception | None = None
        """What reading raised: Tink takes any exception of its source for the end."""

    def readable(self) -> bool:
        """Say that this is a source."""
        return True

    def close(self) -> None:
        """Stay open: Tink closes its source, whose rest is still to be hashed."""

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read, count and hash."""
        view = memoryview(buffer).cast("B")
        try:
            data = self._stream.read(len(view))
            self._left -= len(data)
            if self._left < 0:
                raise SealedError(SealReason.LIMIT, expected="a smaller file", got="a larger one")
        except Exception as error:
            self.failure = error
            raise
        view[: len(data)] = data
        self._sha256.update(data)
        return len(data)

    def digest(self) -> str:
        """Read to the end and return the digest of everything."""
        while self.read(_DRAIN_BYTES):
            pass
        return "sha256:" + self._sha256.hexdigest()


def write_sealed(
    out: Path, *, magic: bytes, header: bytes, key: DataKey, source: Path
) -> SealedBlob:
    """Seal a file or folder into the new file `out`, which appears complete or not at all.

    Raises:
        SealedError: when `out` exists or the source is no plain file or folder of files.
    """
    if out.exists():
        hint = "choose another name or remove the file first"
        raise SealedError(SealReason.FORMAT, expected="a new file", got=f"{out} exists", hint=hint)
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        with scratch.open("xb") as file:
            scratch.chmod(0o600)
            sink = HashingWriter(file)
            sink.write(magic + len(header).to_bytes(4, "big") + header)
            with key.primitive().new_encrypting_stream(sink, header) as plain:  # type: ignore[arg-type]  # a RawIOBase is a BinaryIO
                write_archive(source, plain)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(out)
    finally:
        scratch.unlink(missing_ok=True)
    return SealedBlob(out, sink.digest(), sink.size)


HeaderT = TypeVar("HeaderT", bound=Document)


def open_sealed(
    stream: BinaryIO,
    *,
    magic: bytes,
    header_type: type[HeaderT],
    unlock: Callable[[HeaderT], DataKey],
    expected_digest: str,
    into: Path,
    limits: Limits,
) -> HeaderT:
    """Open a sealed file into the new private folder `into`.

    1. The header is read; `unlock` refuses it or unwraps its data key.
    2. Segments are authenticated one by one and unpacked beside `into`.
    3. The end is authenticated and the file's digest compared; only then the folder gets its name.

    Whatever goes wrong, the scratch folder is removed before this raises. A file that is not the
    contract's is reported as that, not by what its damage happened to break first.

    Args:
        stream: The sealed file from its first byte; need not be seekable.
        magic: First line of the format.
        header_type: Schema of the header.
        unlock: Checks the header's claims and returns the data key, or raises `SealedError`.
        expected_digest: `sha256:...` of the whole file.
        into: Folder to create, on encrypted memory or storage; its parent MUST be private.
        limits: How much may be unpacked.

    Raises:
        SealedError: naming what did not hold.
    """
    if into.exists():
        raise SealedError(SealReason.FORMAT, expected="a new folder", got=f"{into} exists")
    reader = HashingReader(stream, limit=limits.total_bytes + limits.total_bytes // 100 + 2**26)
    scratch = into.with_name(f".{into.name}.{secrets.token_hex(8)}")
    scratch.mkdir(mode=0o700)
    try:
        header_bytes, header = read_header(reader, magic=magic, header_type=header_type)
        primitive = unlock(header).primitive()
        plain = primitive.new_decrypting_stream(reader, header_bytes)  # type: ignore[arg-type]  # a RawIOBase is a BinaryIO
        extract_archive(plain, scratch, limits=limits)
        _compare_digest(reader, expected_digest)
        scratch.rename(into)
    except (tink.TinkError, SealedError) as error:
        raise _blame(error, reader, expected_digest) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return header


def _compare_digest(reader: HashingReader, expected: str) -> None:
    digest = reader.digest()
    if digest != expected:
        hint = "the file was changed after it was sealed, or it is another file"
        raise SealedError(SealReason.DIGEST, expected=expected, got=digest, hint=hint)


def _blame(error: Exception, reader: HashingReader, expected_digest: str) -> Exception:
    """Return the failure that explains the others."""
    if reader.failure is not None:
        return reader.failure
    if not (isinstance(error, SealedError) and error.reason in NAMED):
        try:
            _compare_digest(reader, expected_digest)
        except (SealedError, OSError) as cause:
            return cause
    if isinstance(error, SealedError):
        return error
    return SealedError(
        SealReason.AUTHENTICATION,
        expected="ciphertext and header as they were sealed",
        got="a segment that does not authenticate",
    )


def read_header(
    reader: Source, *, magic: bytes, header_type: type[HeaderT]
) -> tuple[bytes, HeaderT]:
    """Read what stands before the ciphertext: its bytes, and what they say.

    Raises:
        SealedError: when it is no header of this format.
    """
    start = _exactly(reader, len(magic) + 4)
    if start[:-4] != magic:
        raise SealedError(SealReason.FORMAT, expected=magic.decode().strip(), got="other bytes")
    length = int.from_bytes(start[-4:], "big")
    if not 2 <= length <= MAX_HEADER_BYTES:
        limit = f"a header of at most {MAX_HEADER_BYTES} bytes"
        raise SealedError(SealReason.FORMAT, expected=limit, got=length)
    data = _exactly(reader, length)
    try:
        header = header_type.parse(data)
    except DocumentError as error:
        raise SealedError(SealReason.FORMAT, expected="a header", got=str(error)) from None
    if header.canonical() != data:
        raise SealedError(SealReason.FORMAT, expected="a canonical header", got="another form")
    return data, header


def _exactly(reader: Source, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = reader.read(size - len(data))
        if not part:
            raise SealedError(SealReason.FORMAT, expected=f"{size} bytes", got=f"{len(data)}")
        data += part
    return data
