from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.audit import Finding, audit
from policies.bundle import load_bundle
from policies.dossier import RecordRefused
from policies.errors import PolicyError
from policies.wire.contract import Contract
from policies.wire.decision import Mark
from policies.wire.run import BudgetBooking
from tests.party import module
from tests.record import HOST_DATA, NOW, RUN, Record

BUNDLE = load_bundle()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path, left_out={"revoked"})


def verify(record: Record) -> dict[str, str]:
    findings = audit(record.dossier(), policies={BUNDLE.digest: BUNDLE})
    assert all(isinstance(finding, Finding) for finding in findings)
    return {finding.title: finding.detail for finding in findings}


def refused(record: Record) -> str:
    with pytest.raises(RecordRefused) as caught:
        verify(record)
    return str(caught.value)


def update(**change: Any) -> Callable[[Any], Any]:
    return lambda document: document.model_copy(update=change)


def test_an_honest_record_is_found_to_hold(record: Record) -> None:
    findings = verify(record)
    assert findings["decisions"] == "3 made again, 3 allow, 0 deny"
    assert findings["refused releases"] == "0"
    assert "of 16.0 at delta 0.001, 1 runs" in findings["budget of mri-a"]


def test_a_signed_but_unexecuted_contract_is_refused(record: Record) -> None:
    record.left_out |= {"executed"}
    assert "not executed" in refused(record)


def test_a_decision_whose_input_is_missing_is_refused(record: Record) -> None:
    record.bends["input"] = lambda data: data + b" "
    assert "lacks what decision dec-training rests on" in refused(record)


def test_a_decision_under_an_unknown_policy_is_refused(record: Record) -> None:
    record.bends["dec-training"] = update(policy="sha256:" + "0" * 64)
    assert "unknown policy" in refused(record)


def test_a_decision_that_comes_out_otherwise_is_refused(record: Record) -> None:
    record.bends["dec-training"] = update(reasons=(Mark(code="EPSILON_EXCEEDED", path=""),))
    with pytest.raises(PolicyError, match="replayed"):
        verify(record)


@pytest.mark.parametrize(("listed", "refuses"), [("d" * 96, False), ("c" * 96, True)])
def test_keys_to_a_measurement_that_the_contract_does_not_list_are_found(
    record: Record, listed: str, refuses: bool
) -> None:
    document = record.contract.to_json()
    document["attestation"]["measurements"] = [listed]
    record.contract = Contract.from_json(document)
    record.pipeline = record.pipeline.model_copy(update={"contract": record.contract.digest()})
    if refuses:
        assert "launch measurement outside the contract" in refused(record)
    else:
        verify(record)


def test_a_recorded_failure_of_the_engine_is_told_and_counted_as_a_denial(record: Record) -> None:
    record.left_out |= {"approved", "judged", "reserved", "released", "reported", "settled"}
    record.bends["dec-training"] = update(
        allow=False, reasons=(Mark(code="POLICY_ERROR", path=""),)
    )
    told = verify(record)["decisions"]
    assert told.startswith("1 made again, 1 allow, 0 deny; 1 denied because the engine had failed")


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("release", {"pipeline": "sha256:" + "0" * 64}, "another pipeline than approved"),
        ("release", {"released_at": NOW + 3600}, "after the approval"),
        ("release", {"decision": "dec-other"}, "0 decisions dec-other"),
        ("release", {"decision": "dec-training"}, "no allowing decision of the release policy"),
        ("approval", {"decision": "dec-release"}, "no allowing decision of the training policy"),
        ("executed", {"decision": "dec-training"}, "no allowing decision of the contract policy"),
        ("release", {"host_data": "c" * 64}, "launch policy outside the contract"),
        ("release", {"token": "sha256:" + "0" * 64}, "lacks the attestation token"),
        ("release", {"run": "run-" + "b" * 26}, "of another run"),
        ("report", {"pipeline": "sha256:" + "0" * 64}, "another pipeline than was approved"),
        ("report", {"measurement": "0" * 96}, "other hardware"),
        ("report", {"host_data": "0" * 64}, "other hardware"),
    ],
)
def test_a_release_or_report_that_does_not_fit_is_refused(
    record: Record, name: str, change: dict[str, Any], why: str
) -> None:
    assert HOST_DATA in record.contract.attestation.host_data
    record.bends[name] = update(**change)
    assert why in refused(record)


@pytest.mark.parametrize("name", ["dec-contract", "dec-training", "dec-release"])
def test_nothing_rests_on_a_dry_run(record: Record, name: str) -> None:
    record.bends[name] = update(mode="dry-run")
    assert "follows no allowing decision" in refused(record)


def test_a_contract_is_not_executed_before_it_is_decided(record: Record) -> None:
    record.late.add("consented")
    assert "the execution of the contract follows no allowing decision" in refused(record)


def test_keys_for_a_run_that_was_never_approved_are_refused(record: Record) -> None:
    record.left_out |= {"approved", "reported"}
    assert "never approved" in refused(record)


def test_keys_after_a_revocation_are_refused(record: Record) -> None:
    record.left_out.discard("revoked")
    assert "after a party had revoked" in refused(record)


def test_keys_without_a_reservation_are_refused(record: Record) -> None:
    record.left_out |= {"reserved", "settled"}
    assert "without a reservation" in refused(record)


def test_a_reservation_for_another_decision_is_refused(record: Record) -> None:
    record.bends["reserved"] = update(decision="dec-other")
    assert "booked for another decision" in refused(record)


def test_a_settlement_without_a_reservation_is_refused(record: Record) -> None:
    record.left_out |= {"reserved", "released", "reported"}
    assert "the bookings of" in refused(record)


def test_a_budget_returned_though_keys_went_out_is_refused(record: Record) -> None:
    record.left_out.add("reported")
    record.bends["settled"] = update(state="returned")
    assert "returned though keys went out" in refused(record)


def _spent(**change: Any) -> Callable[[Any], Any]:
    return lambda report: report.model_copy(
        update={"spent": report.spent.model_copy(update=change)}
    )


def test_a_report_that_understates_its_epsilon_is_refused(record: Record) -> None:
    record.bends["report"] = _spent(micro_epsilon=1_000_000)
    assert "its mechanism costs" in refused(record)


def test_an_auditor_is_told_that_training_was_resumed(record: Record) -> None:
    record.bends["report"] = update(restarts=2)
    assert "killed and resumed 2 times" in verify(record)[f"{RUN} report"]


def test_a_report_above_its_approval_is_refused(record: Record) -> None:
    record.bends["report"] = _spent(micro_epsilon=8_500_000)
    assert "more epsilon than was approved" in refused(record)


def _other_event(booking: BudgetBooking) -> BudgetBooking:
    event = {"module_name": "dp_accounting.dp_event", "class_name": "NoOpDpEvent"}
    charges = tuple(each.model_copy(update={"event": event}) for each in booking.charges)
    return booking.model_copy(update={"charges": charges})


def test_a_settlement_of_less_than_was_reported_is_refused(record: Record) -> None:
    record.bends["settled"] = _other_event
    assert "another mechanism than reported" in refused(record)


def test_more_than_the_budget_is_refused(record: Record) -> None:
    limits = record.contract.constraints
    tight = tuple(
        each.model_copy(
            update={
                name: getattr(each, name).model_copy(update={"epsilon": 1.0})
                for name in ("run", "total", "overall")
            }
        )
        for each in limits.privacy
    )
    dossier = record.dossier()
    contract = dossier.contract.model_copy(
        update={"constraints": limits.model_copy(update={"privacy": tight})}
    )
    with pytest.raises(RecordRefused, match="is booked"):
        audit(replace(dossier, contract=contract), policies={BUNDLE.digest: BUNDLE})


def test_a_provider_that_was_not_asked_is_found(tmp_path: Path) -> None:
    left_out = {"revoked"}
    verify(Record(tmp_path, left_out=left_out, rules=module("false")))
    with pytest.raises(PolicyError, match="PARTY_ANYTHING"):
        verify(Record(tmp_path, left_out=left_out, rules=module()))
    with pytest.raises(PolicyError, match="PARTY_RULE_UNKNOWN"):
        verify(Record(tmp_path, left_out={*left_out, "rules"}, rules=module("false")))
