"""The simulated machine keeps its keys to itself and its identity over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.hardware import ReportFields, UnsafeSimulatedMachine
from deploy.local.keyfile import read_key
from policies.attestation.amd import AMD_ROOTS
from policies.attestation.der import pem_certificates
from policies.attestation.snp import verify_report
from tests.simulator import NOW, machine, refusal


def fields() -> ReportFields:
    return ReportFields(report_data=bytes(64), host_data=bytes(32))


def test_its_reports_are_of_no_real_machine() -> None:
    chain = pem_certificates(machine().certificates)
    report = machine().sign_report(fields())
    assert refusal(lambda: verify_report(report, chain=chain, now=NOW)) == "amd.root"
    assert not set(machine().roots) & set(AMD_ROOTS)


def test_a_machine_is_the_same_after_a_restart(machine_home: Path) -> None:
    first, second = (UnsafeSimulatedMachine(machine_home, now=NOW) for _ in range(2))
    assert first.roots == second.roots == machine().roots
    assert first.endorser == second.endorser
    assert first.certificates == second.certificates
    chain = pem_certificates(first.certificates)
    assert verify_report(second.sign_report(fields()), chain=chain, now=NOW, roots=first.roots)


def test_its_keys_are_readable_by_their_owner_only(machine_home: Path) -> None:
    names = {path.name for path in machine_home.iterdir()}
    assert {"ark-key.pem", "ask-key.pem", "vcek-key.pem"} <= names
    for path in machine_home.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


@pytest.mark.parametrize("name", ["vcek-key.pem"])
def test_a_key_that_others_can_read_is_refused(machine_home: Path, name: str) -> None:
    (machine_home / name).chmod(0o644)
    try:
        with pytest.raises(PermissionError, match="chmod 600"):
            read_key(machine_home / name)
    finally:
        (machine_home / name).chmod(0o600)


def test_a_field_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="another length"):
        machine().sign_report(ReportFields(report_data=bytes(63), host_data=bytes(32)))


@pytest.fixture
def machine_home() -> Path:
    return machine().home
