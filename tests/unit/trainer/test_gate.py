from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import LedgerError, VerificationError
from policies.agreement import Agreement
from policies.dossier import RecordRefused
from policies.errors import EvidenceError
from policies.releases import shipped_policies
from tests.record import BEFORE_RELEASE, HOST_DATA, NOW, RUN, TOKEN, Record
from trainer import gate
from trainer.gate import Attested
from trainer.keys import RoomKeys
from trainer.room import Room

POLICIES = shipped_policies()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path, left_out=set(BEFORE_RELEASE))


def room(record: Record, **change: Any) -> Room:
    started = Room(
        root_fingerprint=record.root,
        service_url="https://127.0.0.1:1",
        attestation_url="https://127.0.0.1:9443",
        run=RUN,
        run_token="capability",  # noqa: S106
        scratch=record.folder,
        ca_file=None,
    )
    return replace(started, **change)


def verify(record: Record, **change: Any) -> Agreement:
    bundle = record.bundle().encode()
    return gate.verify(bundle, room=room(record, **change), policies=POLICIES, now=NOW)


def attested(record: Record) -> Attested:
    return Attested(
        token=TOKEN.decode(),
        keys=RoomKeys.make(),
        nonce="A" * 43,
        reporter=record.room,
        host_data=HOST_DATA,
        measurement="d" * 96,
    )


def test_a_room_admits_the_run_that_was_approved(record: Record) -> None:
    assert verify(record).pipeline == record.pipeline


def test_a_room_refuses_a_log_under_another_root(record: Record) -> None:
    with pytest.raises(VerificationError):
        verify(record, root_fingerprint="0" * 64)


def test_a_room_refuses_a_run_that_the_record_does_not_approve(record: Record) -> None:
    with pytest.raises(RecordRefused, match="under 0 contracts"):
        verify(record, run="run-" + "b" * 26)


def test_a_room_refuses_a_bundle_with_a_flipped_byte(record: Record) -> None:
    bundle = bytearray(record.bundle().encode())
    place = bundle.index(b'"statement":"') + 200
    bundle[place] = ord("A") if bundle[place] != ord("A") else ord("B")
    with pytest.raises(LedgerError):
        gate.verify(bytes(bundle), room=room(record), policies=POLICIES, now=NOW)


def test_a_room_refuses_an_authority_that_the_contract_does_not_name(record: Record) -> None:
    agreement = verify(record)
    stranger = room(record, attestation_url="https://attest.example")
    with pytest.raises(EvidenceError, match="attestation authority"):
        gate.attest(agreement, room=stranger, tee=_NoTee(), nonce="A" * 43)


class _NoTee:
    certificates = b""
    endorsements = ()

    def report(self, report_data: bytes) -> bytes:
        raise AssertionError(f"evidence over {report_data!r} is made for a stranger")


def confirm(record: Record, agreement: Agreement) -> None:
    gate.confirm(
        record.bundle().encode(),
        room=room(record),
        agreement=agreement,
        attested=attested(record),
        now=NOW,
    )


def test_keys_are_used_once_the_log_says_that_they_went_here(record: Record) -> None:
    agreement = verify(record)
    record.left_out = {"revoked", "reported", "settled"}
    confirm(record, agreement)


@pytest.mark.parametrize(
    "bend",
    [
        lambda release: release.model_copy(update={"token": "sha256:" + "0" * 64}),
        lambda release: release.model_copy(update={"report_key": "did:jwk:e30"}),
        lambda release: release.model_copy(update={"pipeline": "sha256:" + "0" * 64}),
        lambda release: release.model_copy(update={"allowed": False}),
        lambda release: release.model_copy(update={"run": "run-" + "b" * 26}),
    ],
    ids=["another token", "another report key", "another pipeline", "a refusal", "another run"],
)
def test_keys_are_not_used_if_the_log_says_that_they_went_elsewhere(
    record: Record, bend: Callable[[Any], Any]
) -> None:
    agreement = verify(record)
    record.left_out = {"revoked", "reported", "settled"}
    record.bends["release"] = bend
    with pytest.raises(RecordRefused, match="does not show"):
        confirm(record, agreement)


def test_keys_are_not_used_without_any_release_on_the_log(record: Record) -> None:
    agreement = verify(record)
    with pytest.raises(RecordRefused, match="does not show"):
        confirm(record, agreement)


def test_keys_are_not_used_after_a_revocation(record: Record) -> None:
    agreement = verify(record)
    record.left_out = {"reported", "settled"}
    with pytest.raises(RecordRefused, match="revoked"):
        confirm(record, agreement)
