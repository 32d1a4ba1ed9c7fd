"""Policy bundles as commands name them: a version, a digest, an archive, or a folder of rules."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import policies
from clients.cli.errors import NotFoundError
from clients.cli.files import read_bytes
from policies.bundle import MAX_ARCHIVE_BYTES, Bundle, build, load_bundle, parse
from policies.lint import read_folder
from policies.releases import released

SHIPPED: Final = Path(policies.__file__).parent / "rego"
"""Folder of the rules, with their tests."""
_TEST: Final = "_test.rego"


def rules_of(folder: Path | None) -> dict[str, bytes]:
    """Return the files of a policy folder, with its tests; those that ship without one.

    Raises:
        NotFoundError: when there is no such folder, or it holds no rules.
    """
    where = folder or SHIPPED
    if not where.is_dir():
        raise NotFoundError(f"policy folder: {where} is not there")
    files = read_folder(where)
    if not any(path.endswith(".rego") for path in files):
        raise NotFoundError(f"policy folder: {where} holds no .rego files")
    return files


def build_folder(folder: Path | None) -> Bundle:
    """Return the bundle of a folder, without its tests.

    Raises:
        NotFoundError: when there is no such folder.
        DocumentError: naming each file that does not belong into a bundle.
    """
    files = rules_of(folder)
    return build({path: data for path, data in files.items() if not path.endswith(_TEST)})


def known_bundles() -> tuple[Bundle, ...]:
    """Return every bundle that this release carries, the shipped one first, then by version."""
    shipped = load_bundle()
    others = [bundle for bundle in released().values() if bundle.digest != shipped.digest]
    return (shipped, *sorted(others, key=lambda bundle: bundle.version))


def read_bundle(path: Path) -> Bundle:
    """Return the bundle in an archive.

    Raises:
        NotFoundError: when it is not there.
        DocumentError: when it is no archive of a bundle.
    """
    return parse(read_bytes(path, what="policy bundle", limit=MAX_ARCHIVE_BYTES))


def find_bundle(which: str | None) -> Bundle:
    """Return the bundle that a word of a command names; the shipped one for None.

    Args:
        which: A version, a digest, an archive, or a folder of rules.

    Raises:
        NotFoundError: when there is none.
        DocumentError: when it is a file or folder that is no bundle.
    """
    if which is None:
        return load_bundle()
    path = Path(which)
    if path.is_dir():
        return build_folder(path)
    if path.is_file():
        return read_bundle(path)
    for bundle in known_bundles():
        if which in {bundle.version, bundle.digest}:
            return bundle
    known = ", ".join(bundle.version for bundle in known_bundles())
    raise NotFoundError(
        f"policy bundle: {which} is no file, folder, or bundle that this release carries",
        hint=f"it carries {known}; build an archive with depa policy build",
    )
