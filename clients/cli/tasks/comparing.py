"""What two policy bundles differ in: codes, files, lines."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal

from clients.cli.output import Answer, Listing
from policies.bundle import Bundle, Explanation

Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class Difference:
    """What is in one bundle and not, or not so, in the other."""

    files: tuple[tuple[str, Change], ...]
    codes: tuple[tuple[str, Change, str], ...]
    """Code, how it changed, and in what."""
    text: str
    """Unified diff."""


def compare(old: Bundle, new: Bundle) -> Difference:
    """Return what distinguishes two bundles."""
    files = [
        (path, _change(path in old.files, path in new.files))
        for path in sorted({*old.files, *new.files})
        if old.files.get(path) != new.files.get(path)
    ]
    codes = [
        (code, _change(code in old.codes, code in new.codes), _what(old, new, code))
        for code in sorted({*old.codes, *new.codes})
        if old.codes.get(code) != new.codes.get(code)
    ]
    lines = [line for path, _ in files for line in _lines(old, new, path)]
    return Difference(tuple(files), tuple(codes), "".join(lines))


def show_difference(old: Bundle, new: Bundle) -> Answer:
    """Return the difference as a command answers it."""
    found = compare(old, new)
    value: dict[str, Any] = {
        "old": {"version": old.version, "digest": old.digest},
        "new": {"version": new.version, "digest": new.digest},
        "files": [{"path": path, "change": change} for path, change in found.files],
        "codes": [
            {"code": code, "change": change, "what": what} for code, change, what in found.codes
        ],
        "diff": found.text,
    }
    if old.digest == new.digest:
        return Answer(value, f"{old.version} and {new.version} are one text: {old.digest}")
    rows = [("file", path, change, "") for path, change in found.files]
    rows += [("code", code, change, what) for code, change, what in found.codes]
    return Answer(
        value,
        f"{old.version} {old.digest}\n{new.version} {new.digest}",
        columns=("kind", "name", "change", "what"),
        rows=rows,
        listings=[Listing(found.text, "diff")],
    )


def _change(before: bool, after: bool) -> Change:
    if before and after:
        return "changed"
    return "removed" if before else "added"


def _what(old: Bundle, new: Bundle, code: str) -> str:
    before, after = old.codes.get(code), new.codes.get(code)
    if before is None or after is None:
        return _title(before or after)
    names = ("title", "severity", "fixed_by", "remedy")
    differ = [name for name in names if getattr(before, name) != getattr(after, name)]
    if "severity" in differ:
        return f"{before.severity} becomes {after.severity}"
    return ", ".join(differ).replace("fixed_by", "fixedBy")


def _title(found: Explanation | None) -> str:
    return "" if found is None else f"{found.severity}: {found.title}"


def _lines(old: Bundle, new: Bundle, path: str) -> list[str]:
    before, after = (bundle.files.get(path, b"").decode() for bundle in (old, new))
    return list(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            fromfile=f"{old.version}/{path}" if before else "/dev/null",
            tofile=f"{new.version}/{path}" if after else "/dev/null",
        )
    )
