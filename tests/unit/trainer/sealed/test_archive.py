from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.trainer.sealed.conftest import contents
from trainer.sealed import Limits, SealedError, SealReason
from trainer.sealed.archive import extract_archive, write_archive


def packed(source: Path) -> bytes:
    out = io.BytesIO()
    write_archive(source, out)
    return out.getvalue()


def unpack(data: bytes, into: Path, limits: Limits | None = None) -> dict[str, bytes]:
    into.mkdir()
    extract_archive(io.BytesIO(data), into, limits=limits or Limits())
    return contents(into)


def member(name: str, data: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry, data


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for entry, data in members:
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_the_bytes_depend_on_names_and_contents_only(folder: Path, tmp_path: Path) -> None:
    first = packed(folder)
    os.utime(folder / "dataset.json", (1, 1))
    (folder / "dataset.json").chmod(0o644)
    assert packed(folder) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = archive.getmembers()
    assert [one.name for one in members] == ["dataset.json", "empty", "more/p1.safetensors"]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in members} == {
        (0, 0, 0, "", 0o600)
    }
    assert unpack(first, tmp_path / "out") == contents(folder)


def test_long_and_foreign_names_travel_in_extended_headers(tmp_path: Path) -> None:
    root = tmp_path / "in"
    name = "/".join(["d" * 120, "ü" * 60, "file"])
    (root / name).parent.mkdir(parents=True)
    (root / name).write_bytes(b"content")
    assert unpack(packed(root), tmp_path / "out") == {name: b"content"}


def test_an_extended_size_is_believed_over_the_short_one(tmp_path: Path) -> None:
    data = tar(member("a", b"hello", pax_headers={"size": "5", "mtime": "1.5"}))
    assert unpack(data, tmp_path / "out") == {"a": b"hello"}


HOSTILE: dict[str, bytes] = {
    "parent": tar(member("../a")),
    "inner parent": tar(member("b/../../a")),
    "absolute": tar(member("/etc/a")),
    "dot": tar(member("./a")),
    "double slash": tar(member("b//a")),
    "backslash": tar(member("..\\a")),
    "control": tar(member("a\nb")),
    "deep": tar(member("/".join("abcdefghi"))),
    "long part": tar(member("d" * 300)),
    "long": tar(member("/".join(["d" * 250] * 5))),
    "empty name": tar(member("a", pax_headers={"path": ""})),
    "pax parent": tar(member("a", pax_headers={"path": "../a"})),
    "pax link": tar(member("a", pax_headers={"linkpath": "/etc/passwd"})),
    "pax vendor": tar(member("a", pax_headers={"GNU.sparse.major": "1"})),
    "pax size": tar(member("a", pax_headers={"size": "-1"})),
    "pax huge": tar(member("a", pax_headers={"gname": "x" * 70_000})),
    "twice": tar(member("a"), member("a")),
    "file as folder": tar(member("a"), member("a/b")),
    "folder": tar(member("a", b"", type=tarfile.DIRTYPE)),
    "symbolic link": tar(member("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "hard link": tar(member("b"), member("a", b"", type=tarfile.LNKTYPE, linkname="b")),
    "device": tar(member("a", b"", type=tarfile.CHRTYPE)),
    "pipe": tar(member("a", b"", type=tarfile.FIFOTYPE)),
    "GNU format": tar(member("a"), format=tarfile.GNU_FORMAT),
    "GNU long name": tar(member("d" * 200), format=tarfile.GNU_FORMAT),
    "global header": tar(member("a", type=tarfile.XGLTYPE)),
    "no file": tar(),
    "nothing": b"",
    "no tar": b"hello" * 1000,
    "cut": tar(member("a"))[:600],
    "no end": tar(member("a"))[:1024],
    "half an end": tar(member("a"))[:1536],
    "trailing byte": tar(member("a")) + b"x",
    "trailing archive": tar(member("a")) + tar(member("b")),
    "trailing zeros": tar(member("a")) + bytes(20_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(SealedError) as caught:
        unpack(HOSTILE[name], tmp_path / "out")
    assert caught.value.reason is SealReason.ARCHIVE
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _patch(at: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    "change",
    [
        _patch(124, b"99999999999\0"),
        _patch(148, b"0000000\0"),
        _patch(0, b"\xff"),
        _patch(513, b"y"),
    ],
    ids=["size", "checksum", "name", "padding"],
)
def test_a_damaged_entry_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SealedError):
        unpack(change(tar(member("a"))), tmp_path / "out")


def test_more_than_the_limits_is_refused_before_it_is_written(tmp_path: Path) -> None:
    data = tar(member("a", b"12345"), member("b", b"12345"))
    for number, limits in enumerate((Limits(files=1), Limits(total_bytes=9))):
        into = tmp_path / str(number)
        with pytest.raises(SealedError) as caught:
            unpack(data, into, limits)
        assert caught.value.reason is SealReason.LIMIT
        assert not (into / "b").exists()


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_never_escapes_or_crashes(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(tar(member("a", b"1" * 600), member("more/b", b"2" * 600)))
    for at, value in changes:
        data[at] = value
    into = tmp_path / os.urandom(8).hex() / "out"
    into.parent.mkdir()
    with contextlib.suppress(SealedError):
        unpack(bytes(data), into)
    assert [path.name for path in into.parent.iterdir()] == ["out"]
