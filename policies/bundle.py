"""The policy bundle: the rules that the parties agree to, under one digest.

The digest is the SHA-256 of the canonical JSON map from path to SHA-256 of each Rego file and of
`codes.json`, so it depends on the text alone and on no archive format. The archive is one that an
OPA server loads as it is, with the digest as its revision; it may hold a signature, see
`policies.signing`.
"""

from __future__ import annotations

import functools
import io
import posixpath
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final, Literal

from policies.errors import DocumentError, PolicyMismatchError, Problem
from policies.wire.base import canonical_json, load_json, sha256

MAX_ARCHIVE_BYTES: Final = 1024 * 1024
MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024
MAX_FILES: Final = 128
MAX_SIGNATURES_BYTES: Final = 128 * 1024
CODES: Final = "codes.json"
_MANIFEST: Final = ".manifest"
_SIGNATURES: Final = ".signatures.json"
_RULES = re.compile(r"depa(/[a-z_]{1,40}){1,3}\.rego")
_VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}")


@dataclass(frozen=True)
class Explanation:
    """What a reason code means, and what can be done about it."""

    code: str
    title: str
    severity: Literal["deny", "warn"]
    fixed_by: tuple[str, ...]
    """Who can fix it: tdc, tdp, ccrp, operator."""
    remedy: str


@dataclass(frozen=True)
class Bundle:
    """A set of policy files."""

    files: Mapping[str, bytes]
    """Rego files and `codes.json` by path, without tests."""
    version: str
    codes: Mapping[str, Explanation]
    signatures: bytes | None = field(default=None, repr=False)
    """The archive's `.signatures.json`, not verified; no part of the digest."""

    @functools.cached_property
    def manifest(self) -> bytes:
        """Canonical JSON map from path to digest; what a policy-bundle statement covers."""
        return canonical_json({path: sha256(data) for path, data in self.files.items()})

    @functools.cached_property
    def digest(self) -> str:
        """Digest that a contract agrees to."""
        return sha256(self.manifest)

    @property
    def members(self) -> Mapping[str, bytes]:
        """What the archive holds besides the signature, by path."""
        manifest = {
            "revision": self.digest,
            "roots": ["depa"],
            "rego_version": 1,
            "metadata": {"version": self.version},
        }
        return {_MANIFEST: canonical_json(manifest), **self.files}

    @property
    def rules(self) -> Mapping[str, str]:
        """Rego text by path."""
        return {p: data.decode() for p, data in self.files.items() if p.endswith(".rego")}

    def pack(self) -> bytes:
        """Return the bundle as an archive, the same bytes for the same files."""
        packer = zlib.compressobj(9, wbits=31)
        return packer.compress(_tar(self)) + packer.flush()

    def require(self, digest: str) -> Bundle:
        """Return this bundle if it is the one of `digest`.

        Raises:
            PolicyMismatchError: if it is another one.
        """
        if self.digest != digest:
            raise PolicyMismatchError(
                f"policy bundle: expected {digest}, got {self.digest}",
                hint="fetch the bundle that the contract names",
            )
        return self


def build(files: Mapping[str, bytes]) -> Bundle:
    """Return the bundle of these files.

    Raises:
        DocumentError: naming each file that does not belong into a bundle, or is malformed.
    """
    problems = [
        Problem(f"/{path}", "is no file of a policy bundle")
        for path in sorted(files)
        if path != CODES and not (_RULES.fullmatch(path) and not path.endswith("_test.rego"))
    ]
    problems += [
        Problem(f"/{path}", "is not UTF-8 text with line feeds alone")
        for path, data in sorted(files.items())
        if not _is_text(data)
    ]
    if CODES not in files:
        problems.append(Problem(f"/{CODES}", "is missing"))
    if problems:
        raise DocumentError("policy bundle", problems)
    version, codes = _codes(files[CODES])
    ordered = {path: files[path] for path in sorted(files)}
    return Bundle(files=MappingProxyType(ordered), version=version, codes=codes)


@functools.cache
def load_bundle() -> Bundle:
    """Return the bundle that this release of the project ships."""
    return build(dict(_walk(resources.files("policies") / "rego")))


def parse(data: bytes) -> Bundle:
    """Read an archive made by `Bundle.pack`; the whole input must be that archive.

    The caller MUST compare the digest with the one it expects, see `Bundle.require`; a signature is
    carried along, and proves nothing before `policies.signing` has verified it.

    Raises:
        DocumentError: if it is anything else, or too large.
    """
    if len(data) > MAX_ARCHIVE_BYTES:
        raise _refused(f"is {len(data)} bytes, the limit is {MAX_ARCHIVE_BYTES}")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        archive = unpacker.decompress(data, MAX_UNPACKED_BYTES)
    except zlib.error:
        raise _refused("is not gzip") from None
    if not unpacker.eof or unpacker.unused_data:
        raise _refused(
            f"is cut off, is followed by something, or holds over {MAX_UNPACKED_BYTES} bytes"
        )
    files = _untar(archive)
    signatures = files.pop(_SIGNATURES, None)
    if signatures is not None and len(signatures) > MAX_SIGNATURES_BYTES:
        raise _refused(f"holds over {MAX_SIGNATURES_BYTES} bytes of signatures")
    bundle = replace(build(files), signatures=signatures)
    # Nothing can hide in an archive that can only have been made from these files.
    if _tar(bundle) != archive:
        raise _refused(f"is not the archive of its files with revision {bundle.digest}")
    return bundle


def _refused(message: str) -> DocumentError:
    return DocumentError("policy bundle", [Problem("", message)])


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\r" not in data


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for item in folder.iterdir():
        path = posixpath.join(prefix, item.name)
        if item.is_dir():
            found += _walk(item, path)
        elif path == CODES or (path.endswith(".rego") and not path.endswith("_test.rego")):
            found.append((path, item.read_bytes()))
    return found


def _tar(bundle: Bundle) -> bytes:
    signed = {} if bundle.signatures is None else {_SIGNATURES: bundle.signatures}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in {**signed, **bundle.members}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _untar(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or member.name in files or len(files) >= MAX_FILES:
                    raise _refused(f"holds {member.name!r}, which no bundle does")
                files[member.name] = content.read()
    except (tarfile.TarError, UnicodeDecodeError, EOFError):
        raise _refused("does not hold a tar archive") from None
    files.pop(_MANIFEST, None)
    return files


def _codes(data: bytes) -> tuple[str, Mapping[str, Explanation]]:
    value = load_json(data, kind=CODES)
    try:
        version, entries = value["version"], value["codes"]
        if not _VERSION.fullmatch(version):
            raise ValueError(version)
        codes = {
            code: Explanation(
                code=code,
                title=str(entry["title"]),
                severity=entry["severity"],
                fixed_by=tuple(entry["fixedBy"]),
                remedy=str(entry["remedy"]),
            )
            for code, entry in sorted(entries.items())
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        message = "expected a version and title, severity, fixedBy and remedy of each code"
        raise DocumentError("policy bundle", [Problem(f"/{CODES}", message)]) from None
    return version, MappingProxyType(codes)
