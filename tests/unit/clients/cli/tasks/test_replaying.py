"""Recorded decisions are made again from an exported file, by the policy of then or by another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from clients.cli.tasks.bundles import SHIPPED
from policies.bundle import load_bundle
from policies.lint import read_folder
from tests.party import module
from tests.record import NOW, Record, refused
from tests.unit.policies.test_impact import BUDGET, EXHAUSTED, PAIRS, stricter


class Case:
    """An exported file, and the command that reads it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], **bends: Any) -> None:
        record = Record(folder, more=(refused,), left_out={"revoked"}, **bends)
        self.file, self.root, self.capsys = folder / "case.json", record.root, capsys
        self.contract = record.contract.digest()
        self.file.write_bytes(record.bundle().encode())

    def depa(self, *words: object, root: str | None = None) -> tuple[int, Any, Any]:
        """Return exit code, answer and problem."""
        options = ["--root", root or self.root, "--json"]
        code = main.run(["policy", *map(str, words), *options])
        said = self.capsys.readouterr()
        return code, *(json.loads(text) if text else None for text in (said.out, said.err))


@pytest.fixture
def case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Case:
    monkeypatch.setattr("clients.cli.tasks.replaying.time.time", lambda: NOW)
    return Case(tmp_path, capsys)


def rules(folder: Path, old: str = "", new: str = "") -> Path:
    for path, data in read_folder(SHIPPED).items():
        target = folder / "rules" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.replace(old.encode(), new.encode()) if path == BUDGET else data)
    return folder / "rules"


@pytest.mark.parametrize(
    ("name", "allow", "codes"),
    [("dec-training", True, []), ("dec-refused", False, ["BUDGET_EXHAUSTED"])],
)
def test_a_decision_comes_out_as_it_was_recorded(
    case: Case, name: str, allow: bool, codes: list[str]
) -> None:
    code, answer, _ = case.depa("replay", name, "--bundle", case.file)
    assert code == 0
    assert (answer["matches"], answer["allow"], answer["codes"]) == (True, allow, codes)
    assert {reason["code"] for reason in answer["reasons"]} == set(codes)
    assert answer["policy"] == load_bundle().digest


def test_a_decision_that_is_not_recorded_is_not_found(case: Case) -> None:
    code, _, problem = case.depa("replay", "dec-other", "--bundle", case.file)
    assert (code, problem["detail"]) == (3, "decision: dec-other is none of the 4 of this record")


def test_a_record_under_another_root_is_refused(case: Case) -> None:
    code, answer, _ = case.depa("replay", "dec-refused", "--bundle", case.file, root="00" * 32)
    assert (code, answer) == (4, None)


def test_a_decision_that_comes_out_otherwise_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.cli.tasks.replaying.time.time", lambda: NOW)
    bends = {"dec-refused": lambda entry: entry.model_copy(update={"allow": True, "reasons": ()})}
    case = Case(tmp_path, capsys, bends=bends)
    code, _, problem = case.depa("replay", "dec-refused", "--bundle", case.file)
    assert code == 4
    assert "recorded allow True" in problem["detail"]
    code, _, problem = case.depa("diff", SHIPPED, SHIPPED, "--replay", case.file)
    assert code == 4
    assert "recorded allow True" in problem["detail"]


def test_the_same_rules_change_nothing(case: Case) -> None:
    code, answer, _ = case.depa("diff", SHIPPED, SHIPPED, "--replay", case.file)
    assert code == 0
    assert (answer["replay"]["flips"], answer["files"]) == ({}, [])
    assert len(answer["replay"]["decisions"]) == 4


def test_weaker_rules_end_with_the_decisions_that_they_would_allow(
    case: Case, tmp_path: Path
) -> None:
    weaker = rules(tmp_path, EXHAUSTED, f"{PAIRS}budget.tdcAfter > 99 * limit.total.microEpsilon")
    version = load_bundle().version
    code, answer, problem = case.depa("diff", version, weaker, "--replay", case.file)
    assert code == 4
    assert answer["replay"]["newlyAllowed"] == 1
    assert answer["replay"]["flips"] == {"BUDGET_EXHAUSTED": [1, 0, 0, 0]}
    assert problem["detail"] == "dec-refused (training) becomes allowed, without BUDGET_EXHAUSTED"


def test_stricter_rules_are_reported_by_code(case: Case, tmp_path: Path) -> None:
    folder = rules(tmp_path)
    for path, data in stricter().files.items():
        (folder / path).write_bytes(data)
    version = load_bundle().version
    code, answer, problem = case.depa("diff", version, folder, "--replay", case.file)
    assert (code, problem) == (0, None)
    assert answer["replay"]["newlyDenied"] == 1
    assert answer["replay"]["flips"] == {"BUDGET_EXHAUSTED": [0, 1, 0, 0]}
    assert main.run(
        ["policy", "diff", version, str(folder), "--replay", str(case.file), "--root", case.root]
    ) == 0  # fmt: skip
    said = case.capsys.readouterr().out
    assert "4 decisions made again: 0 become allowed, 1 become denied" in said
    assert "dec-training (training) becomes denied by BUDGET_EXHAUSTED" in said


def test_a_file_without_decisions_is_not_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.cli.tasks.replaying.time.time", lambda: NOW)
    record = Record(tmp_path, left_out={"decided", "approved", "reserved", "revoked", "released"})
    record.left_out |= {"consented", "executed", "judged", "reported", "settled"}
    file = tmp_path / "case.json"
    file.write_bytes(record.bundle().encode())
    words = ["policy", "diff", str(SHIPPED), str(SHIPPED), "--replay", str(file)]
    assert main.run([*words, "--root", record.root]) == 3
    assert "holds no decision" in capsys.readouterr().err


def test_what_is_no_exported_file_is_refused(case: Case, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert case.depa("replay", "dec-refused", "--bundle", tmp_path / "x.json")[0] in {2, 4}
    assert case.depa("replay", "dec-refused", "--bundle", tmp_path / "gone.json")[0] == 3


def test_a_providers_rules_are_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.cli.tasks.replaying.time.time", lambda: NOW)
    silent = Case(tmp_path, capsys, rules=module("false"))
    code, answer, _ = silent.depa("replay", "dec-training", "--bundle", silent.file)
    assert (code, answer["matches"]) == (0, True)
    code, answer, _ = silent.depa("diff", SHIPPED, SHIPPED, "--replay", silent.file)
    assert (code, answer["replay"]["flips"]) == (0, {})
    # Here the service had not asked them.
    denying = Case(tmp_path, capsys, rules=module())
    code, _, problem = denying.depa("replay", "dec-training", "--bundle", denying.file)
    assert code == 4
    assert "PARTY_ANYTHING" in problem["detail"]
