"""`depa policy` over folders and archives that are not as they should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from clients.cli import main
from clients.cli.output import Answer, Listing, Output
from clients.cli.tasks.bundles import SHIPPED
from policies.bundle import load_bundle
from policies.lint import read_folder
from tests.party import GOOD

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
BUDGET = "depa/pipeline/budget.rego"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the shipped rules, to be changed."""
    folder = tmp_path / "rules"
    for path, data in read_folder(SHIPPED).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


@pytest.fixture
def depa(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command with --json; return its exit code and its answer or problem."""
    monkeypatch.setenv("DEPA_PASSPHRASE", "correct horse battery")

    def run(*words: object) -> tuple[int, dict[str, Any]]:
        code = main.run(["policy", *map(str, words), "--json"])
        said = capsys.readouterr()
        value: dict[str, Any] = json.loads(said.out or said.err)
        return code, value

    return run


def change(folder: Path, path: str, old: str, new: str) -> None:
    text = (folder / path).read_text()
    assert old in text
    (folder / path).write_text(text.replace(old, new, 1))


def weaken(folder: Path) -> None:
    """Let a run spend a hundred times what is left."""
    change(folder, BUDGET, "budget.tdcAfter > limit", "budget.tdcAfter > 100 * limit")


def test_findings_are_listed_with_their_places(rules: Path, depa: Any) -> None:
    change(rules, BUDGET, "budget.tdcAfter > limit", "not budget.tdcAfter <= limit")
    code, problem = depa("lint", rules)
    assert (code, problem["exitCode"]) == (4, 4)
    assert [(one["file"], one["check"]) for one in problem["found"]] == [(BUDGET, "negation")]
    line = problem["found"][0]["line"]
    assert "not budget.tdcAfter" in (rules / BUDGET).read_text().splitlines()[line - 1]
    assert problem["detail"].startswith(f"{BUDGET}:{line}: negation: ")


def test_a_rule_that_allows_more_fails_the_tests_and_the_statement_is_named(
    rules: Path, depa: Any
) -> None:
    weaken(rules)
    code, problem = depa("test", rules)
    assert code == 4
    assert "does not hold" in problem["found"][0]["message"]
    assert problem["found"][0]["file"] == "depa/training/training_test.rego"


def test_tests_are_named_and_so_are_lines_that_none_reaches(rules: Path, depa: Any) -> None:
    (rules / "depa/release/release_test.rego").unlink()
    code, answer = depa("test", rules, "-v")
    assert code == 0
    assert "depa/release/run.rego" in answer["missed"]
    assert all(name.startswith("data.depa.") for name in answer["passed"])
    code, problem = depa("test", rules, "--coverage")
    assert code == 4
    assert "depa/release/run.rego: no test reaches line" in problem["detail"]
    assert "of lines are covered, 95% wanted" in problem["detail"]


def test_a_folder_without_tests_does_not_pass(rules: Path, depa: Any) -> None:
    for path in rules.rglob("*_test.rego"):
        path.unlink()
    code, problem = depa("test", rules)
    assert (code, problem["detail"]) == (4, "there are no tests")


def test_the_same_rules_make_the_same_archive(rules: Path, depa: Any, tmp_path: Path) -> None:
    one, two = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    for out in (one, two):
        code, answer = depa("build", rules, "--out", out)
        assert (code, answer["digest"], answer["findings"]) == (0, load_bundle().digest, 0)
    assert one.read_bytes() == two.read_bytes() == load_bundle().pack()


def test_rules_that_are_not_sound_are_built_with_a_warning(
    rules: Path, depa: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(rules, BUDGET, "budget.tdcAfter > limit", "not budget.tdcAfter <= limit")
    assert main.run(["policy", "build", str(rules), "--out", str(tmp_path / "x.tar.gz")]) == 0
    assert f"warning: 1 findings, run depa policy lint {rules}" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["data.json", "depa/x/data.json", "other/a.rego"])
def test_a_file_that_does_not_belong_into_a_bundle_is_refused(
    rules: Path, depa: Any, tmp_path: Path, path: str
) -> None:
    (rules / path).parent.mkdir(exist_ok=True)
    (rules / path).write_text("{}")
    code, problem = depa("build", rules, "--out", tmp_path / "x.tar.gz")
    assert code == 2
    assert [one["pointer"] for one in problem["problems"]] == [f"/{path}"]
    assert not (tmp_path / "x.tar.gz").exists()


def test_two_texts_of_one_version_are_refused(rules: Path, depa: Any, tmp_path: Path) -> None:
    weaken(rules)
    code, answer = depa("build", rules, "--out", tmp_path / "x.tar.gz")
    assert code == 0
    code, problem = depa("verify", tmp_path / "x.tar.gz", "--digest", answer["digest"])
    assert code == 4
    assert [one["check"] for one in problem["found"] if not one["holds"]] == ["version"]
    assert f"was released as {load_bundle().digest}" in problem["detail"]


def test_a_difference_is_shown_by_code_file_and_line(rules: Path, depa: Any) -> None:
    weaken(rules)
    book = json.loads((rules / "codes.json").read_text())
    book["version"] = "9.0.0"
    book["codes"]["BUDGET_NEARLY_SPENT"]["remedy"] = "Wait."
    book["codes"]["BUDGET_UNKNOWN"]["severity"] = "warn"
    del book["codes"]["BUDGET_EXHAUSTED"]
    book["codes"]["BUDGET_NEW"] = {
        "title": "New", "severity": "deny", "fixedBy": ["tdc"], "remedy": "r",
    }  # fmt: skip
    (rules / "codes.json").write_text(json.dumps(book))
    (rules / "depa/pipeline/budget_two.rego").write_text("package depa.pipeline\n")
    (rules / "depa/pipeline/model.rego").unlink()
    code, answer = depa("diff", load_bundle().version, rules)
    assert code == 0
    assert answer["new"]["version"] == "9.0.0"
    assert [(one["code"], one["change"], one["what"]) for one in answer["codes"]] == [
        ("BUDGET_EXHAUSTED", "removed", f"deny: {load_bundle().codes['BUDGET_EXHAUSTED'].title}"),
        ("BUDGET_NEARLY_SPENT", "changed", "remedy"),
        ("BUDGET_NEW", "added", "deny: New"),
        ("BUDGET_UNKNOWN", "changed", "deny becomes warn"),
    ]
    assert [(one["path"], one["change"]) for one in answer["files"]] == [
        ("codes.json", "changed"),
        (BUDGET, "changed"),
        ("depa/pipeline/budget_two.rego", "added"),
        ("depa/pipeline/model.rego", "removed"),
    ]
    assert "+\tbudget.tdcAfter > 100 * limit.total.microEpsilon\n" in answer["diff"]
    assert f"--- {load_bundle().version}/{BUDGET}\n+++ 9.0.0/{BUDGET}\n" in answer["diff"]


def test_a_file_of_a_bundle_is_shown_as_it_is(depa: Any) -> None:
    code, answer = depa("show", BUDGET)
    assert code == 0
    assert answer["text"] == (SHIPPED / BUDGET).read_text()


def test_a_code_of_a_provider_s_own_rules_is_explained(depa: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.rego"
    own.write_text(GOOD)
    code, answer = depa("explain", "PARTY_TOO_FEW_PATIENTS", "--rules", own)
    assert (code, answer["severity"]) == (0, "deny")
    assert answer["remedy"] == "Add data sets until at least 400 patients take part."
    assert answer["rules"] == [{"file": str(own), "line": 10}]
    code, problem = depa("explain", "PARTY_TOO_FEW", "--rules", own)
    assert (code, problem["hint"]) == (3, "did you mean PARTY_TOO_FEW_PATIENTS?")
    own.write_text("package other\n")
    assert depa("explain", "PARTY_TOO_FEW", "--rules", own)[0] == 2


def pem(path: Path, key: Key, *, secret: bytes | None = None) -> Path:
    sealed = BestAvailableEncryption(secret) if secret else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
    path.chmod(0o600)
    return path


def public(path: Path, key: Key) -> Path:
    spki = PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, spki))
    return path


@pytest.mark.parametrize("secret", [None, b"correct horse battery"], ids=["plain", "encrypted"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_an_archive_is_signed_and_verified_with_pem_files(
    depa: Any, tmp_path: Path, kind: str, secret: bytes | None
) -> None:
    key: Key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ec"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    private, out = pem(tmp_path / "k.pem", key, secret=secret), tmp_path / "x.tar.gz"
    code, _ = depa("build", "--out", out, "--key", private, "--key-id", "lab", "--scope", "depa")
    assert code == 0
    checked = ("verify", out, "--key", public(tmp_path / "p.pem", key), "--scope", "depa")
    code, answer = depa(*checked, "--key-id", "lab")
    assert code == 0
    assert answer["checks"][-1]["check"] == "signature"
    assert " by lab, over " in answer["checks"][-1]["found"]
    code, problem = depa(*checked, "--key-id", "other")
    assert code == 4
    assert "kid: expected other, got lab" in problem["detail"]


def test_a_key_that_others_can_read_signs_nothing(depa: Any, tmp_path: Path) -> None:
    private = pem(tmp_path / "k.pem", ec.generate_private_key(ec.SECP256R1()))
    private.chmod(0o644)
    out = tmp_path / "x.tar.gz"
    code, problem = depa("build", "--out", out, "--key", private, "--key-id", "lab")
    assert (code, problem["hint"]) == (4, f"chmod 600 {private}")
    assert not out.exists()


def test_a_wrong_passphrase_opens_no_key(
    depa: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = pem(tmp_path / "k.pem", ec.generate_private_key(ec.SECP256R1()), secret=b"other")
    out = tmp_path / "x.tar.gz"
    code, problem = depa("build", "--out", out, "--key", private, "--key-id", "lab")
    assert code == 6
    assert "correct horse" not in json.dumps(problem)


@pytest.mark.parametrize("text", [b"", b"{}", b"-----BEGIN PRIVATE KEY-----\nAA\n"])
def test_what_is_no_key_is_refused(depa: Any, tmp_path: Path, text: bytes) -> None:
    path, out = tmp_path / "k.pem", tmp_path / "x.tar.gz"
    path.write_bytes(text)
    path.chmod(0o600)
    assert depa("build", "--out", out, "--key", path, "--key-id", "lab")[0] == 2
    assert depa("build", "--out", out)[0] == 0
    assert depa("verify", out, "--key", path)[0] == 2


def test_a_key_of_another_kind_is_refused(depa: Any, tmp_path: Path) -> None:
    key, out = ed25519.Ed25519PrivateKey.generate(), tmp_path / "x.tar.gz"
    private = pem(tmp_path / "k.pem", key)
    assert depa("build", "--out", out, "--key", private, "--key-id", "lab")[0] == 2
    assert depa("build", "--out", out)[0] == 0
    assert depa("verify", out, "--key", public(tmp_path / "p.pem", key))[0] == 2


def test_a_signature_needs_the_name_of_its_key(depa: Any, tmp_path: Path) -> None:
    private = pem(tmp_path / "k.pem", ec.generate_private_key(ec.SECP256R1()))
    code, problem = depa("build", "--out", tmp_path / "x.tar.gz", "--key", private)
    assert code == 2
    assert "--key-id" in problem["hint"]


def test_a_party_s_archive_is_verified_up_to_its_root(
    depa: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEPA_HOME", str(tmp_path / "home"))
    assert main.run(["party", "init", "--name", "Lab", "--role", "tdc"]) == 0
    capsys.readouterr()
    out = tmp_path / "x.tar.gz"
    assert depa("build", "--out", out, "--sign")[0] == 0
    root = _root(tmp_path / "home" / "party.json")
    code, answer = depa("verify", out, "--root", root)
    assert code == 0
    assert answer["checks"][-1]["found"].startswith("ES256 by did:x509:")


def _root(card: Path) -> str:
    import base64  # noqa: PLC0415
    import hashlib  # noqa: PLC0415

    chain = json.loads(card.read_text())["certificates"]
    return hashlib.sha256(base64.b64decode(chain[-1])).hexdigest()


def test_rules_are_coloured_on_a_terminal_and_plain_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "package depa.training\n\nallow if input.x\n"
    answer = Answer({}, listings=[Listing(text, "rego", first_line=7)])
    Output().answer(answer)
    assert capsys.readouterr().out == text
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    Output().answer(answer)
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert "7 " in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("depa policy explain EPSILON_EX", "EPSILON_EXCEEDED"),
        ("depa policy show depa/pipeline/bu", BUDGET),
        ("depa policy diff 1", load_bundle().version),
    ],
)
def test_a_shell_completes_codes_files_and_versions(words: str, expected: str) -> None:
    environment = {
        **os.environ,
        "_DEPA_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "clients.cli.main"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in done.stdout.split()
