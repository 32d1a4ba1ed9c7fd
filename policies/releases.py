"""Every policy bundle that was ever released, by digest, and the text that this release ships.

A contract names its policy by digest for as long as it runs, so a release is kept for ever, in a
folder `releases/<version>` of two files: `bundle.tar.gz` and `digest.json`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import ClassVar, Final

from pydantic import Field

from policies.bundle import Bundle, load_bundle, parse
from policies.decide import Policy
from policies.engine.embedded import RegorusEngine
from policies.engine.protocol import PolicyEngine
from policies.errors import DocumentError, Problem
from policies.wire.base import Digest, Document, Version

ARCHIVE: Final = "bundle.tar.gz"
LABEL: Final = "digest.json"


class ReleaseLabel(Document):
    """What a release is called, beside its archive."""

    kind: ClassVar[str] = "policy-release"

    version: Version
    bundle: Digest = Field(alias="digest")


@dataclass(frozen=True)
class Policies:
    """The policies that contracts may name, and the engine that evaluates them."""

    bundles: Mapping[str, Bundle]
    """By digest."""
    shipped: Bundle
    """The text that came with this code; the newest."""
    engine: PolicyEngine = field(default_factory=RegorusEngine)

    def of(self, digest: str) -> Policy:
        """Return the policy of a contract; of an unknown digest, one that denies.

        The shipped text judges then, whose first question is whether the contract names it.
        """
        return Policy(self.bundles.get(digest, self.shipped), self.engine)


def shipped_policies() -> Policies:
    """Return the released policies and the shipped one, evaluated in this process."""
    return Policies(released(), load_bundle())


@functools.cache
def released() -> Mapping[str, Bundle]:
    """Return every release that this package keeps, and the text that it ships, by digest.

    Raises:
        DocumentError: if a release is not what its label says.
    """
    found = read_releases(resources.files("policies") / "releases")
    shipped = load_bundle()
    return MappingProxyType({**found, shipped.digest: shipped})


def read_releases(folder: Traversable) -> Mapping[str, Bundle]:
    """Return the releases in a folder by digest; none if there is no such folder.

    Raises:
        DocumentError: if a release is not what its label says, or one version is released twice.
    """
    if not folder.is_dir():
        return {}
    found = [_read(item) for item in sorted(folder.iterdir(), key=lambda item: item.name)]
    return {bundle.digest: bundle for bundle in found}


def pack_release(bundle: Bundle) -> Mapping[str, bytes]:
    """Return the files of a release by name."""
    label = ReleaseLabel(version=bundle.version, bundle=bundle.digest)
    return {ARCHIVE: bundle.pack(), LABEL: label.canonical() + b"\n"}


def _read(folder: Traversable) -> Bundle:
    try:
        label = ReleaseLabel.parse((folder / LABEL).read_bytes())
        bundle = parse((folder / ARCHIVE).read_bytes())
    except OSError:
        raise _refused(folder.name, f"expected {ARCHIVE} and {LABEL}, one cannot be read") from None
    said = (folder.name, label.version, label.bundle)
    if said != (bundle.version, bundle.version, bundle.digest):
        raise _refused(
            folder.name,
            f"holds {bundle.version} {bundle.digest}, its label says {label.version} "
            f"{label.bundle}",
        )
    return bundle


def _refused(version: str, message: str) -> DocumentError:
    return DocumentError("policy release", [Problem(f"/{version}", message)])
