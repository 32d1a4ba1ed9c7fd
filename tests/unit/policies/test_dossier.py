from __future__ import annotations

from pathlib import Path

import pytest

from policies.dossier import RecordRefused, read_dossier
from policies.wire.run import Executed, RunReport
from tests.record import RUN, Record
from tests.unit.ledger.makers import enclave, party


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path, left_out={"revoked"})


def refused(record: Record) -> str:
    with pytest.raises(RecordRefused) as caught:
        record.dossier()
    return str(caught.value)


def test_a_dossier_holds_what_every_party_and_the_service_said(record: Record) -> None:
    dossier = record.dossier()
    assert set(dossier.consents) == {party.id for party in dossier.contract.parties}
    assert dossier.missing == ()
    assert dossier.executed is not None
    assert [item.document.run for item in dossier.approvals] == [RUN]
    assert [item.document.state for item in dossier.bookings] == ["reserved", "settled"]
    assert dossier.reports[0].statement.issuer == record.room.did
    assert dossier.set_aside == ()


def test_a_missing_signature_is_told_by_name(record: Record) -> None:
    record.left_out |= {"signature-b", "executed"}
    assert [party.name for party in record.dossier().missing] == ["Hospital B"]


def test_a_signature_over_another_contract_is_refused(record: Record) -> None:
    record.bends["signature-a"] = lambda content: content.replace(b"Tumour", b"Tumor?")
    assert "Hospital A signed sha256:" in refused(record)


def test_execution_without_a_signature_is_refused(record: Record) -> None:
    record.left_out.add("signature-b")
    assert "does not name every party's signature" in refused(record)


def test_execution_that_names_another_leaf_is_refused(record: Record) -> None:
    def bend(document: Executed) -> Executed:
        leaves = (*document.signatures[:-1], "sha256:" + "0" * 64)
        return document.model_copy(update={"signatures": leaves})

    record.bends["executed"] = bend
    assert "does not name every party's signature" in refused(record)


def test_a_contract_that_the_record_lacks_is_refused(record: Record) -> None:
    with pytest.raises(RecordRefused, match="lacks the contract"):
        read_dossier(record.log(), contract_digest="sha256:" + "0" * 64)


def test_a_report_by_a_key_that_was_never_attested_proves_nothing(record: Record) -> None:
    record.left_out.add("reported")
    dossier = record.dossier()
    assert dossier.reports == ()
    stranger = Record(record.folder, left_out={"revoked"})
    attested, stranger.room = stranger.room, enclave()
    stranger.bends["release"] = lambda release: release.model_copy(
        update={"report_key": attested.did}
    )
    strange = stranger.dossier()
    assert strange.reports == ()
    assert len(strange.set_aside) == 1


def test_a_report_on_another_run_than_its_keys_is_refused(record: Record) -> None:
    def bend(document: RunReport) -> RunReport:
        return document.model_copy(update={"run": "run-" + "b" * 26})

    record.bends["report"] = bend
    assert "of another run" in refused(record)


def test_a_document_about_another_contract_is_refused(record: Record) -> None:
    record.bends["approval"] = lambda approval: approval.model_copy(
        update={"contract": "sha256:" + "0" * 64}
    )
    assert "about another contract" in refused(record)


@pytest.mark.parametrize("name", ["executed", "approval", "release", "reserved", "dec-training"])
def test_what_a_stranger_says_in_the_service_s_place_is_set_aside(
    tmp_path: Path, name: str
) -> None:
    record = Record(tmp_path, left_out={"revoked", "reported"})
    record.issuers[name] = party("Stranger")
    dossier = record.dossier()
    said = {
        "executed": [dossier.executed] if dossier.executed else [],
        "approval": dossier.approvals,
        "release": dossier.releases,
        "reserved": [item for item in dossier.bookings if item.document.state == "reserved"],
        "dec-training": [
            item for item in dossier.decisions if item.document.decision_id == "dec-training"
        ],
    }
    assert len(dossier.set_aside) == 1
    assert not said[name]


def test_a_stranger_cannot_sign_for_a_party(record: Record) -> None:
    record.parties["b"] = party("Hospital-B")
    record.left_out.add("executed")
    assert [party.name for party in record.dossier().missing] == ["Hospital B"]
