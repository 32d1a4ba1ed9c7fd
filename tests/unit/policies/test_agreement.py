from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from policies.agreement import Agreement, verify_agreement
from policies.dossier import RecordRefused
from policies.releases import shipped_policies
from policies.wire.decision import Denied
from tests.party import module
from tests.record import BEFORE_RELEASE, NOW, RUN, Record

POLICIES = shipped_policies()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path, left_out=set(BEFORE_RELEASE))


def verify(record: Record, *, run: str = RUN, now: int = NOW) -> Agreement:
    return verify_agreement(record.dossier(), run=run, policies=POLICIES, now=now)


def test_an_approved_run_of_a_fully_signed_contract_is_an_agreement(record: Record) -> None:
    agreement = verify(record)
    assert agreement.contract_digest == record.contract.digest()
    assert agreement.pipeline == record.pipeline
    assert agreement.run == RUN


def test_a_contract_with_a_missing_signature_is_no_agreement(record: Record) -> None:
    record.left_out |= {"signature-b", "executed"}
    with pytest.raises(RecordRefused, match="not signed by Hospital B"):
        verify(record)


def test_a_contract_that_is_not_executed_is_no_agreement(record: Record) -> None:
    record.left_out.add("executed")
    with pytest.raises(RecordRefused, match="all parties have signed"):
        verify(record)


def test_a_run_without_approval_is_no_agreement(record: Record) -> None:
    record.left_out.add("approved")
    with pytest.raises(RecordRefused, match="0 approvals"):
        verify(record)


def test_the_approval_of_another_run_is_none_for_this_one(record: Record) -> None:
    with pytest.raises(RecordRefused, match="0 approvals"):
        verify(record, run="run-" + "b" * 26)


def test_an_expired_approval_is_no_agreement(record: Record) -> None:
    with pytest.raises(RecordRefused, match="expired 1 seconds ago"):
        verify(record, now=NOW + 3601)


def test_an_approval_without_its_decision_is_no_agreement(record: Record) -> None:
    record.left_out.add("decided")
    with pytest.raises(RecordRefused, match="0 decisions"):
        verify(record)


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("dec-training", {"allow": False}, "follows no allowing decision"),
        ("dec-training", {"mode": "dry-run"}, "follows no allowing decision"),
        ("dec-contract", {"allow": False}, "execution of the contract follows no allowing"),
        ("dec-contract", {"mode": "dry-run"}, "execution of the contract follows no allowing"),
        ("executed", {"decision": "dec-training"}, "execution of the contract follows no allowing"),
        ("dec-training", {"entrypoint": "release"}, "follows no allowing decision"),
        ("dec-training", {"run": "run-" + "b" * 26}, "decision on another run"),
        ("dec-training", {"pipeline": "sha256:" + "0" * 64}, "decision on another run"),
        ("approval", {"pipeline": "sha256:" + "0" * 64}, "decision on another run"),
    ],
)
def test_an_approval_that_its_decision_does_not_carry_is_no_agreement(
    record: Record, name: str, change: dict[str, Any], why: str
) -> None:
    record.bends[name] = lambda document: document.model_copy(update=change)
    with pytest.raises(RecordRefused, match=why):
        verify(record)


def test_a_second_release_of_one_run_is_no_agreement(record: Record) -> None:
    record.left_out -= {"reserved", "released"}
    with pytest.raises(RecordRefused, match="a run happens once"):
        verify(record)


def test_a_revoked_contract_is_denied_by_the_room_s_own_policy(record: Record) -> None:
    record.left_out.discard("revoked")
    with pytest.raises(Denied) as denied:
        verify(record)
    assert "CONTRACT_REVOKED" in {reason.code for reason in denied.value.decision.reasons}


@pytest.mark.parametrize(
    "now", [datetime(2025, 12, 31, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)]
)
def test_a_contract_out_of_its_window_is_denied(record: Record, now: datetime) -> None:
    seconds = int(now.timestamp())

    def bend(document: Any) -> Any:
        return document.model_copy(update={"expires_at": datetime(2030, 1, 1, tzinfo=UTC)})

    record.bends["approval"] = bend
    with pytest.raises(Denied):
        verify(record, now=seconds)


def test_charges_above_the_total_are_denied(record: Record) -> None:
    def bend(document: Any) -> Any:
        charges = tuple(
            each.model_copy(update={"micro_epsilon": 17_000_000}) for each in document.charges
        )
        return document.model_copy(update={"charges": charges})

    record.bends["approval"] = bend
    with pytest.raises(Denied):
        verify(record)


def test_a_providers_rules_hold_in_the_clean_room_whatever_the_service_says(
    tmp_path: Path,
) -> None:
    left_out = set(BEFORE_RELEASE)
    assert verify(Record(tmp_path, left_out=left_out, rules=module("false")))
    with pytest.raises(Denied, match="PARTY_ANYTHING"):
        verify(Record(tmp_path, left_out=left_out, rules=module()))


def test_a_record_without_the_text_of_a_providers_rules_is_no_agreement(tmp_path: Path) -> None:
    record = Record(tmp_path, left_out={*BEFORE_RELEASE, "rules"}, rules=module("false"))
    with pytest.raises(Denied, match="PARTY_RULE_UNKNOWN"):
        verify(record)
