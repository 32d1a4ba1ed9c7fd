from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from policies.bundle import load_bundle
from policies.errors import DocumentError
from policies.releases import (
    ARCHIVE,
    LABEL,
    Policies,
    pack_release,
    read_releases,
    released,
    shipped_policies,
)
from tests.unit.policies.good import (
    attestation_case,
    contract_case,
    other_bundle,
    release_case,
    training_case,
)


def write(folder: Path, name: str | None = None) -> Path:
    bundle = other_bundle()
    release = folder / (name or bundle.version)
    release.mkdir(parents=True)
    for file, data in pack_release(bundle).items():
        (release / file).write_bytes(data)
    return release


def test_a_release_is_read_as_it_was_packed(tmp_path: Path) -> None:
    write(tmp_path)
    assert read_releases(tmp_path) == {other_bundle().digest: other_bundle()}


def test_a_release_is_the_same_bytes_each_time_it_is_packed() -> None:
    assert pack_release(other_bundle()) == pack_release(other_bundle())


def test_a_folder_that_is_not_there_holds_no_release(tmp_path: Path) -> None:
    assert read_releases(tmp_path / "none") == {}


def test_the_shipped_text_is_kept_as_the_release_of_its_version() -> None:
    shipped = load_bundle()
    with as_file(files("policies") / "releases") as folder:
        kept = {bundle.version: bundle for bundle in read_releases(folder).values()}
    # Rules that were released never change: raise the version in codes.json and lib/policy.rego.
    assert kept[shipped.version] == shipped


def test_the_shipped_text_is_always_among_the_released() -> None:
    assert released()[load_bundle().digest] == load_bundle()
    assert all(digest == bundle.digest for digest, bundle in released().items())


def _other_label(release: Path) -> None:
    label = json.loads((release / LABEL).read_text()) | {"digest": load_bundle().digest}
    (release / LABEL).write_text(json.dumps(label))


def _other_version(release: Path) -> None:
    label = json.loads((release / LABEL).read_text()) | {"version": "9.9.9"}
    (release / LABEL).write_text(json.dumps(label))


def _other_archive(release: Path) -> None:
    (release / ARCHIVE).write_bytes(load_bundle().pack())


def _broken_archive(release: Path) -> None:
    (release / ARCHIVE).write_bytes((release / ARCHIVE).read_bytes()[:-1])


def _no_archive(release: Path) -> None:
    (release / ARCHIVE).unlink()


def _no_label(release: Path) -> None:
    (release / LABEL).unlink()


def _not_json(release: Path) -> None:
    (release / LABEL).write_text("sha256")


@pytest.mark.parametrize(
    "bend",
    [
        _other_label,
        _other_version,
        _other_archive,
        _broken_archive,
        _no_archive,
        _no_label,
        _not_json,
    ],
)
def test_a_release_that_is_not_what_its_label_says_is_refused(
    tmp_path: Path, bend: Callable[[Path], None]
) -> None:
    bend(write(tmp_path))
    with pytest.raises(DocumentError):
        read_releases(tmp_path)


def test_a_release_under_the_name_of_another_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1.0.9")
    with pytest.raises(DocumentError, match=r"/1\.0\.9"):
        read_releases(tmp_path)


def test_a_contract_is_judged_by_the_release_that_it_names() -> None:
    both = {each.digest: each for each in (load_bundle(), other_bundle())}
    policies = Policies(both, load_bundle())
    assert policies.of(other_bundle().digest).bundle == other_bundle()
    assert policies.of(load_bundle().digest).contract(contract_case()).allow


@pytest.mark.parametrize(
    ("entrypoint", "facts"),
    [
        ("contract", contract_case()),
        ("training", training_case()),
        ("attestation", attestation_case()),
        ("release", release_case()),
    ],
)
def test_a_policy_that_nobody_knows_denies(entrypoint: str, facts: object) -> None:
    elsewhere = Policies({other_bundle().digest: other_bundle()}, other_bundle())
    decision = getattr(elsewhere.of(load_bundle().digest), entrypoint)(facts)
    assert {reason.code for reason in decision.reasons} == {"POLICY_MISMATCH"}
    assert decision.policy == other_bundle().digest
    assert shipped_policies().of("sha256:" + "0" * 64).bundle == load_bundle()
