from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable

import pytest
import rfc8785

from policies.bundle import build, load_bundle, parse
from policies.errors import DocumentError, PolicyError

RULE = b"package depa.contract\n\nanswer := 42\n"
CODES = b'{"version":"1.2.3","codes":{}}'


def test_the_digest_is_that_of_a_canonical_map_from_path_to_file_digest() -> None:
    bundle = load_bundle()
    files = {
        path: "sha256:" + hashlib.sha256(data).hexdigest() for path, data in bundle.files.items()
    }
    assert bundle.digest == "sha256:" + hashlib.sha256(rfc8785.dumps(files)).hexdigest()
    assert bundle.manifest == rfc8785.dumps(files)


def test_the_shipped_bundle_holds_rules_and_codes_and_no_tests() -> None:
    bundle = load_bundle()
    assert "codes.json" in bundle.files
    assert {path.split("/")[1] for path in bundle.rules} == {
        "lib", "agreed", "standing", "pipeline", "tables", "terms",
        "contract", "training", "attestation", "release",
    }  # fmt: skip
    assert not any(path.endswith("_test.rego") for path in bundle.files)


def test_a_packed_bundle_is_the_same_bytes_every_time_and_reads_back() -> None:
    bundle = load_bundle()
    packed = bundle.pack()
    assert packed == bundle.pack()
    assert packed[4:8] == b"\0\0\0\0"  # RFC 1952, 2.3.1: no modification time
    assert parse(packed) == bundle
    assert parse(packed).digest == bundle.digest


def test_an_archive_is_what_an_opa_server_loads() -> None:
    bundle = load_bundle()
    with tarfile.open(fileobj=io.BytesIO(bundle.pack()), mode="r:gz") as archive:
        names = archive.getnames()
        manifest = archive.extractfile(".manifest")
        assert manifest is not None
        assert json.load(manifest) == {
            "revision": bundle.digest,
            "roots": ["depa"],
            "rego_version": 1,
            "metadata": {"version": bundle.version},
        }
        assert {member.mtime for member in archive.getmembers()} == {0}
    assert names == [".manifest", *sorted(bundle.files)]


def test_any_other_text_is_another_digest() -> None:
    one = build({"codes.json": CODES, "depa/contract/a.rego": RULE})
    two = build({"codes.json": CODES, "depa/contract/a.rego": RULE + b"\n"})
    moved = build({"codes.json": CODES, "depa/contract/b.rego": RULE})
    assert len({one.digest, two.digest, moved.digest}) == 3


def test_a_bundle_is_refused_where_another_is_expected() -> None:
    bundle = load_bundle()
    assert bundle.require(bundle.digest) is bundle
    with pytest.raises(PolicyError, match="policy bundle: expected sha256:00"):
        bundle.require("sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("path", "data", "problem"),
    [
        ("depa/contract/a_test.rego", RULE, "no file of a policy bundle"),
        ("../a.rego", RULE, "no file of a policy bundle"),
        ("/depa/contract/a.rego", RULE, "no file of a policy bundle"),
        ("other/a.rego", RULE, "no file of a policy bundle"),
        ("depa/data.json", b"{}", "no file of a policy bundle"),
        ("depa/contract/a.rego", b"package a\r\n", "line feeds alone"),
        ("depa/contract/a.rego", b"\xff", "UTF-8"),
        ("codes.json", b"{}", "expected a version"),
        ("codes.json", b'{"version":"1","codes":{}}', "expected a version"),
        ("codes.json", b'{"version":"1.0.0","codes":{"A":{}}}', "expected a version"),
        ("codes.json", b"[", "not valid JSON"),
    ],
)
def test_a_file_that_does_not_belong_into_a_bundle_is_refused(
    path: str, data: bytes, problem: str
) -> None:
    with pytest.raises(DocumentError, match=problem):
        build({"codes.json": CODES, "depa/lib/b.rego": RULE, path: data})


def test_a_bundle_without_explanations_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"codes\.json: is missing"):
        build({"depa/contract/a.rego": RULE})


def archive(change: Callable[[tarfile.TarFile], None]) -> bytes:
    """Return a packed bundle with something more in it."""
    buffer = io.BytesIO(gzip.decompress(load_bundle().pack()))
    with tarfile.open(fileobj=buffer, mode="a", format=tarfile.USTAR_FORMAT) as opened:
        change(opened)
    return gzip.compress(buffer.getvalue(), mtime=0)


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    def add(opened: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.type = len(data), kind
        if kind == tarfile.SYMTYPE:
            info.linkname = "/etc/passwd"
        opened.addfile(info, io.BytesIO(data))

    return archive(add)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is cut off"),
        (b"not gzip", "is not gzip"),
        (load_bundle().pack()[:-1], "is cut off"),
        (load_bundle().pack() + b"x", "is followed by something"),
        (gzip.compress(b"x" * 600), "tar archive"),
        (gzip.compress(bytes(5 * 1024 * 1024)), "holds over 4194304 bytes"),
        (bytes(1024 * 1024 + 1), "the limit is 1048576"),
        (member("depa/contract/x.rego", RULE), "is not the archive of its files"),
        (member("depa/lib/shape.rego", RULE), "which no bundle does"),
        (member("../x.rego", RULE), "no file of a policy bundle"),
        (member("depa/lib/link.rego", kind=tarfile.SYMTYPE), "which no bundle does"),
        (member("depa/lib/folder", kind=tarfile.DIRTYPE), "which no bundle does"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_an_archive_that_is_not_a_bundle_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        parse(data)


def test_an_archive_with_another_revision_is_refused() -> None:
    packed = gzip.decompress(load_bundle().pack())
    revision = load_bundle().digest.encode()
    forged = packed.replace(revision, b"sha256:" + b"0" * 64)
    assert forged != packed
    with pytest.raises(DocumentError, match="is not the archive of its files"):
        parse(gzip.compress(forged, mtime=0))
