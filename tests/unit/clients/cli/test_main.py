from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from clients.api.errors import NetworkError, ProblemDocument, service_error
from clients.cli import main
from clients.cli.errors import NotFoundError, Refused, SignInError, UsageError
from ledger.errors import LogDamagedError, VerificationError
from policies.errors import (
    DepaError,
    DocumentError,
    PolicyError,
    PolicyMismatchError,
    PolicyUnavailableError,
    Problem,
)
from policies.wire.decision import Decision, Denied, Reason

ROOT = Path(__file__).resolve().parents[4]
DIGEST = "sha256:" + "0" * 64
REASON = Reason(code="EPSILON_EXCEEDED", path="/pipeline/0", msg="epsilon 9 asked, 8 granted")


def _denied() -> Denied:
    return Denied(
        Decision(
            entrypoint="training",
            allow=False,
            reasons=(REASON,),
            policy=DIGEST,
            policy_version="1.0.0",
            engine="test",
        )
    )


def _service(status: int) -> DepaError:
    problem = {
        "type": "urn:depa:problem:denied",
        "title": "Denied",
        "detail": "the policy denies",
        "reasons": [REASON.to_json()],
    }
    return service_error(ProblemDocument.from_json(problem, status=status))


FAMILIES: list[tuple[Exception, int]] = [
    (UsageError("a"), 2),
    (DocumentError("contract", [Problem("/id", "is missing")]), 2),
    (NotFoundError("a"), 3),
    (_service(404), 3),
    (Refused("a"), 4),
    (_denied(), 4),
    (PolicyError("a"), 4),
    (PolicyMismatchError("a"), 4),
    (PolicyUnavailableError("a"), 5),
    (VerificationError("receipt", expected=1, got=2), 4),
    (LogDamagedError("a"), 4),
    (_service(403), 4),
    (NetworkError("a"), 5),
    (_service(503), 5),
    (SignInError("a"), 6),
    (_service(401), 6),
    (KeyboardInterrupt(), 130),
    (typer.Abort(), 130),
    (RuntimeError("s3cret in a bug"), 1),
]


def fail_with(error: BaseException) -> Callable[..., int]:
    def fail(*arguments: object, **options: object) -> int:
        raise error

    return fail


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    def patch(error: BaseException) -> None:
        command = type("Command", (), {"main": staticmethod(fail_with(error))})
        monkeypatch.setattr(typer.main, "get_command", lambda _: command)

    return patch


@pytest.mark.parametrize(("error", "code"), FAMILIES, ids=lambda v: type(v).__name__)
def test_each_kind_of_failure_has_its_exit_code_and_tells_on_standard_error_alone(
    error: BaseException,
    code: int,
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error)
    assert main.run(["contract", "sign"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    if code != 130:
        assert said.err.startswith("error: depa contract sign: ")
        assert "\nbecause: " in said.err


@pytest.mark.parametrize(("error", "code"), FAMILIES[:-3], ids=lambda v: type(v).__name__)
def test_with_json_a_failure_is_one_problem_object(
    error: BaseException,
    code: int,
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error)
    assert main.run(["contract", "sign", "--json"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    problem = json.loads(said.err)
    assert problem["exitCode"] == code
    assert problem["type"].startswith("urn:depa:problem:")


def test_a_denial_shows_code_place_and_numbers(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(_denied())
    main.run(["run", "check"])
    said = capsys.readouterr().err
    assert "because: EPSILON_EXCEEDED at /pipeline/0: epsilon 9 asked, 8 granted" in said
    assert "hint: depa policy explain EPSILON_EXCEEDED" in said
    failing(_service(403))
    main.run(["run", "submit", "--json"])
    problem = json.loads(capsys.readouterr().err)
    assert problem["reasons"][0]["code"] == "EPSILON_EXCEEDED"


def test_a_bug_does_not_repeat_its_text_which_might_hold_a_secret(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(RuntimeError("s3cret"))
    assert main.run(["run", "list"]) == 1
    said = capsys.readouterr().err
    assert "s3cret" not in said
    assert "unexpected RuntimeError at test_main.py" in said


def test_a_noun_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["contract"]) == 0
    assert "Usage: depa contract" in capsys.readouterr().out
    assert main.run([]) == 0
    listed = capsys.readouterr().out
    for noun in main.NOUNS:
        assert f"  {noun} " in listed


@pytest.mark.parametrize("noun", list(main.NOUNS))
def test_help_of_every_noun_works(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([noun, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: depa {noun}" in said
    if noun in main.ALONE:
        assert "--json" in said


LIGHT = ["party", "data", "contract", "key", "run", "audit", "config", "risk", "down", "demo"]
HEAVY = {"torch", "opacus", "sqlmodel", "dp_accounting", "nibabel", "scipy", "matplotlib"}


def test_no_ordinary_command_waits_for_the_heavy_libraries() -> None:
    modules = ", ".join(f"clients.cli.{noun}" for noun in LIGHT)
    code = f"import sys, {modules}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_list_of_nouns_needs_no_noun() -> None:
    code = (
        "import sys; from clients.cli.main import run; run(['--help']);"
        "print([m for m in sys.modules if m in {'clients.cli.contract', 'regorus', 'numpy'}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
