"""Check a policy bundle: each check by name, all of them made before the first is complained of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clients.cli.errors import Refused, UsageError
from clients.cli.output import Answer
from clients.cli.tasks.bundles import known_bundles, read_bundle
from clients.cli.tasks.pem import read_public_key
from policies.bundle import Bundle
from policies.errors import DepaError
from policies.signing import BundleSignature, verify_bundle, verify_certified


@dataclass(frozen=True)
class Expected:
    """What a bundle has to be."""

    digest: str | None = None
    key: Path | None = None
    key_id: str = ""
    root: str | None = None
    scope: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    holds: bool
    found: str


def verify_file(path: Path, expected: Expected) -> Answer:
    """Check an archive, and say what was found.

    Raises:
        DocumentError: when it is no archive of a bundle.
        Refused: naming every check that does not hold.
        UsageError: when both a key and a root are given.
    """
    if expected.key is not None and expected.root is not None:
        raise UsageError("give either --key or --root, not both")
    bundle = read_bundle(path)
    checks = list(_checks(bundle, expected))
    found = [{"check": one.name, "holds": one.holds, "found": one.found} for one in checks]
    failed = [f"{one.name}: {one.found}" for one in checks if not one.holds]
    if failed:
        raise Refused("\n".join(failed), hint="do not load this bundle", found=found)
    return Answer(
        {"digest": bundle.digest, "version": bundle.version, "checks": found},
        f"{path}: everything holds, {len(checks)} checks",
        columns=("check", "found"),
        rows=[(one.name, one.found) for one in checks],
    )


def _checks(bundle: Bundle, expected: Expected) -> Iterator[Check]:
    yield Check("archive", holds=True, found=f"{len(bundle.files)} files, and nothing beside them")
    yield Check("revision", holds=True, found=f"{bundle.digest}, computed from the files")
    if expected.digest is not None:
        same = bundle.digest == expected.digest
        said = bundle.digest if same else f"expected {expected.digest}, got {bundle.digest}"
        yield Check("digest", holds=same, found=said)
    yield _version(bundle)
    if expected.key is not None:
        key, name = read_public_key(expected.key)
        wanted = expected.key_id or name
        yield _signed(lambda: verify_bundle(bundle, key=key, key_id=wanted, scope=expected.scope))
    elif expected.root is not None:
        root, now = expected.root, int(time.time())
        yield _signed(lambda: verify_certified(bundle, root=root, at=now, scope=expected.scope))
    else:
        said = "none" if bundle.signatures is None else "there is one; give --key or --root"
        yield Check("signature", holds=True, found=f"not checked: {said}")


def _version(bundle: Bundle) -> Check:
    known = [one.digest for one in known_bundles() if one.version == bundle.version]
    if not known:
        return Check("version", holds=True, found=f"{bundle.version}, unknown to this release")
    if bundle.digest in known:
        return Check("version", holds=True, found=f"{bundle.version}, as this release carries it")
    # Two texts under one version would let people talk past each other.
    said = f"{bundle.version} was released as {', '.join(known)}"
    return Check("version", holds=False, found=said)


def _signed(verify: Callable[[], BundleSignature]) -> Check:
    try:
        found = verify()
    except DepaError as error:
        return Check("signature", holds=False, found=str(error))
    return Check(
        "signature",
        holds=True,
        found=f"{found.algorithm} by {found.key_id}, over {found.files} files",
    )
