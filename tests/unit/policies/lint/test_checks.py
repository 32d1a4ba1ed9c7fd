"""A planted violation of each kind is found, and the shipped policies have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.lint import lint, read_folder, run_tests
from policies.lint.__main__ import main

FOLDER = Path(__file__).parents[4] / "policies" / "rego"
BESIDE = ("codes.json", "depa/contract/", "depa/examples/", "depa/lib/")
HEAD = "# METADATA\n# title: Planted\npackage depa.contract\n\nimport data.depa.lib\n\n"


def planted(text: str, *, path: str = "depa/contract/planted.rego") -> set[tuple[str, str]]:
    """Return check and message of what is found in one file more, beside what it may use."""
    beside = {name: data for name, data in read_folder(FOLDER).items() if name.startswith(BESIDE)}
    found = lint({**beside, path: text.encode()})
    return {(finding.check, finding.message) for finding in found if finding.path == path}


def test_the_shipped_policies_are_sound() -> None:
    assert lint(read_folder(FOLDER)) == []


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ('deny contains 1 if not input.contract.purpose == "TRAINING"', "negation"),
        ("deny contains 1 if not input.contract.purpose", "negation"),
        ('deny contains 1 if not startswith(input.purpose, "T")', "negation"),
        ("deny contains 1 if not lib.is_digest(input.contract.digest)", "negation"),
        ("deny contains 1 if not is_unit(input.unit)", "negation"),
        ("deny contains 1 if not is_unit(parties)", "negation"),
        ("deny contains 1 if not input.a in [1]", "negation"),
        ("deny contains 1 if {\n\tx := input.a\n\tnot x > 1\n}", "negation"),
        ("deny contains 1 if {\n\tx := input.a\n\tnot x\n}", "negation"),
        ("deny contains 1 if time.now_ns() > 1", "builtins"),
        ('deny contains 1 if http.send({"url": "https://x"})', "builtins"),
        ('deny contains 1 if crypto.sha256("x") == "y"', "builtins"),
        ('deny contains 1 if io.jwt.decode("x")', "builtins"),
        ('deny contains 1 if rand.intn("x", 2) == 1', "builtins"),
        ("deny contains 1 if opa.runtime()", "builtins"),
        ('deny contains 1 if print("x")', "builtins"),
        ("deny contains 1 if input.contract.now > 1.5", "numbers"),
        ("deny contains 1 if input.contract.now > 1e3", "numbers"),
        ('deny contains 1 if sprintf("%05.2f", [input.now]) == "x"', "formats"),
        ('deny contains 1 if sprintf("%v %v", [input.now]) == "x"', "formats"),
        ('deny contains 1 if sprintf(input.format, [1]) == "x"', "formats"),
        ('deny contains 1 if regex.match("a+", input.now)', "patterns"),
        ("deny contains 1 if regex.match(input.pattern, input.now)", "patterns"),
        ('deny contains 1 if data.depa.contract.complete with input as {"a": 1}', "overrides"),
        ("default open := true", "defaults"),
        ('deny contains lib.reason("NO_SUCH_CODE", "", "x") if input.now == 1', "codes"),
        ('warn contains lib.reason("CONTRACT_EXPIRED", "", "x") if input.now == 1', "codes"),
        ("helper if input.now == 1", "unused"),
        ("div(a, b) := a - b", "names"),
        ('deny contains 1 if sprintf("%d", [input.now]) == "x"', "formats"),
        ("deny contains 1 if lib.judging", "imports"),
        ("deny contains 1 if data.depa.contract.nothing", "references"),
        ("deny contains 1 if data.elsewhere.list[input.x]", "references"),
        ("deny contains 1 if data[input.x]", "references"),
        ("deny contains 1 if data.depa[input.x]", "references"),
        ("deny contains 1 if data.depa.examples.now == 1", "references"),
        ("deny contains 1 if input.a / input.b == 1", "division"),
        ("half(a) := (a - (a % 3)) / 2", "division"),
        ("deny contains 1 if array.flatten([input.a])", "builtins"),
        ('deny contains 1 if uuid.rfc4122("x") == "y"', "builtins"),
        ('deny contains 1 if trace("x")', "builtins"),
        ("deny contains 1 if input.a", "codes"),
        ('deny contains {"code": "CONTRACT_EXPIRED"} if input.a', "codes"),
        ('deny contains lib.reason(input.code, "", "x") if input.a', "codes"),
        ('deny contains lib.reason("CONTRACT_EXPIRED", "window", "x") if input.a', "codes"),
        ("allow if input.backdoor", "entrypoints"),
        ("allow if {\n\tcomplete\n\tcount(deny) == 0\n}", "entrypoints"),
        ("reasons := {1} if input.a", "entrypoints"),
        ("default warnings := false", "entrypoints"),
        ("test_itself if true", "tests"),
        ("# blanks behind \nhelper if input.a", "text"),
        ("deny contains 1 if {\n    input.a\n}", "text"),
        ('deny contains 1 if $"{input.a}" == "x"', "syntax"),
        ("deny contains 1 if input.package.x == 1", "names"),
        ("deny contains 1 if {", "syntax"),
    ],
)
def test_a_planted_violation_is_found(rule: str, check: str) -> None:
    assert check in {kind for kind, _ in planted(f"{HEAD}{rule}\n")}


@pytest.mark.parametrize(
    ("text", "check"),
    [
        (HEAD.replace("\n", "\r\n"), "text"),
        (HEAD.strip(), "text"),
        (HEAD.replace("# METADATA\n", ""), "package"),
        (HEAD.replace("depa.contract", "depa.other"), "package"),
        (HEAD.replace("data.depa.lib", "data.depa.nowhere"), "imports"),
        (HEAD.replace("data.depa.lib", "future.keywords.not"), "imports"),
        (HEAD + "# METADATA\n# entrypoint: true\ndeny contains 1 if input.x\n", "entrypoints"),
        (HEAD + "decision := 1\n", "entrypoints"),
        (HEAD.replace("data.depa.lib", "rego.v1"), "imports"),
    ],
)
def test_a_planted_file_is_found(text: str, check: str) -> None:
    assert check in {kind for kind, _ in planted(text)}


def test_an_undefined_name_fails_the_tests() -> None:
    rule = (HEAD + "deny contains undefined_name\n").encode()
    assert run_tests({**read_folder(FOLDER), "depa/contract/planted.rego": rule}).failed


def test_bound_arguments_and_named_rules_may_be_negated() -> None:
    reason = 'lib.reason("CONTRACT_EXPIRED", "", "x")'
    named = 'is_known(purpose) if purpose == "TRAINING"\n\n'
    body = "{\n\tpurpose := input.contract.purpose\n\tnot is_known(purpose)\n\tnot complete\n}\n"
    assert planted(f"{HEAD}{named}deny contains {reason} if {body}") == set()


def test_text_that_is_not_utf8_is_found() -> None:
    found = [str(finding) for finding in lint({"depa/contract/a.rego": b"\xff"})]
    assert "depa/contract/a.rego:1: text: is not UTF-8" in found


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("# scope: document\n", "# scope: rule\n"),
        ("# entrypoint: true\n", "# entrypoint: false\n"),
        ("# title: Decision about a release of keys\n", ""),
        ('"reasons": reasons', '"reasons": set()'),
        ("reasons := deny if complete\n", "reasons := deny\n"),
        ("reasons := incomplete if not complete\n", "reasons := set() if not complete\n"),
        ("{warning | complete; some warning in warn}", "warn"),
        ('"allow": allow', '"allow": true'),
        ("\tcount(deny) == 0\n", ""),
        ("\tcount(deny) == 0\n", "\tcount(deny) == 1\n"),
        ("\tcomplete\n\tcount(deny) == 0\n", "\tcount(deny) == 0\n"),
        ("\tcomplete\n\tcount(deny) == 0\n", "\tcount(deny) == 0\n\tcomplete\n"),
    ],
)
def test_an_entrypoint_that_answers_otherwise_is_found(line: str, other: str) -> None:
    files = read_folder(FOLDER)
    path = "depa/release/decision.rego"
    assert line.encode() in files[path]
    files[path] = files[path].replace(line.encode(), other.encode(), 1)
    assert "entrypoints" in {finding.check for finding in lint(files) if finding.path == path}


@pytest.mark.parametrize(
    ("line", "check"),
    [
        ("default allow := false\n", "entrypoints"),
        ("complete if {", "entrypoints"),
        ("decision := {", "entrypoints"),
    ],
)
def test_a_package_without_its_frame_is_found(line: str, check: str) -> None:
    files = read_folder(FOLDER)
    path = "depa/release/decision.rego"
    files[path] = files[path].replace(
        line.encode(), line.replace(line.split(maxsplit=1)[0], "renamed").encode()
    )
    assert check in {finding.check for finding in lint(files) if finding.path == path}


def codes_with(code: str, entry: object) -> list[str]:
    """Return what is found in the shipped policies with one explanation more."""
    files = read_folder(FOLDER)
    book = json.loads(files["codes.json"])
    book["codes"] = dict(sorted({**book["codes"], code: entry}.items()))
    return [str(found) for found in lint({**files, "codes.json": json.dumps(book).encode()})]


def test_an_explanation_that_no_rule_needs_is_found() -> None:
    entry = {"title": "t", "severity": "deny", "fixedBy": ["tdc"], "remedy": "r"}
    assert codes_with("UNHEARD_OF", entry) == [
        "codes.json:1: codes: UNHEARD_OF is given by no rule"
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"remedy": ""},
        {"title": None},
        {"severity": "maybe"},
        {"fixedBy": []},
        {"fixedBy": ["nobody"]},
        {"fixedBy": "tdc"},
        {"docs": "x"},
    ],
)
def test_an_explanation_that_explains_nothing_is_found(change: dict[str, object]) -> None:
    entry = json.loads(read_folder(FOLDER)["codes.json"])["codes"]["CONTRACT_EXPIRED"]
    assert codes_with("CONTRACT_EXPIRED", entry) == []
    found = codes_with("CONTRACT_EXPIRED", {**entry, **change})
    assert any(line.startswith("codes.json:1: codes: CONTRACT_EXPIRED") for line in found)


def test_codes_out_of_order_are_found() -> None:
    files = read_folder(FOLDER)
    book = json.loads(files["codes.json"])
    book["codes"] = dict(sorted(book["codes"].items(), reverse=True))
    found = lint({**files, "codes.json": json.dumps(book).encode()})
    assert [finding.message for finding in found] == ["the codes are not sorted"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"codes": []}'])
def test_codes_that_cannot_be_read_are_found(data: bytes) -> None:
    found = {str(f) for f in lint({**read_folder(FOLDER), "codes.json": data})}
    assert "codes.json:1: codes: is not a JSON object with version and codes" in found


@pytest.mark.parametrize("path", ["other/a.rego", "depa/data.json", "data.json", "a.rego"])
def test_a_file_outside_of_the_bundle_is_found(path: str) -> None:
    text = b"# METADATA\n# title: T\npackage other\n" if path.endswith(".rego") else b"{}"
    found = [f for f in lint({**read_folder(FOLDER), path: text}) if f.path == path]
    assert "package" in {finding.check for finding in found}


def test_a_folder_is_read_with_what_does_not_belong_there(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.rego").write_text("package other\n")
    assert set(read_folder(tmp_path)) == {"other/a.rego"}


def test_a_test_that_is_hidden_by_another_is_found() -> None:
    files = read_folder(FOLDER)
    path = "depa/release/release_test.rego"
    files[path] += b"\ntest_twice if true\n\ntest_twice if false\n"
    found = [finding for finding in lint(files) if finding.path == path]
    assert {finding.check for finding in found} == {"tests"}
    assert len(found) == 2


def test_a_package_without_tests_is_found() -> None:
    files = read_folder(FOLDER)
    del files["depa/release/release_test.rego"]
    assert {finding.check for finding in lint(files)} == {"tests"}


def test_rego_tests_pass_and_reach_every_line() -> None:
    report = run_tests(read_folder(FOLDER))
    assert report.failed == ()
    assert len(report.passed) > 25
    assert report.coverage >= 0.95


def test_a_rule_that_allows_more_fails_its_test() -> None:
    files = read_folder(FOLDER)
    path = "depa/pipeline/limits.rego"
    weaker = files[path].replace(b"> limit.run.microEpsilon", b"> 99000000")
    assert weaker != files[path]
    failed = run_tests({**files, path: weaker}).failed
    assert failed
    for finding in failed:
        said = finding.message.split(" ", 1)[1]
        line = files[finding.path].decode().splitlines()[finding.line - 1]
        assert said == f"is not true; this does not hold: {line.strip()}"


def test_a_test_that_fails_names_the_statement_that_does_not_hold() -> None:
    files = read_folder(FOLDER)
    files["depa/lib/broken_test.rego"] = (
        b"# METADATA\n# title: Broken\npackage depa.lib_test\n\n"
        b"test_sums if {\n\tx := 1\n\tx == 1\n\tx == 2\n\tx == 3\n}\n"
    )
    assert [str(found) for found in run_tests(files).failed] == [
        "depa/lib/broken_test.rego:8: test: data.depa.lib_test.test_sums is not true; "
        "this does not hold: x == 2"
    ]


def test_a_test_that_raises_fails() -> None:
    files = read_folder(FOLDER)
    files["depa/lib/broken_test.rego"] = (
        b"# METADATA\n# title: Broken\npackage depa.lib_test\n\ntest_broken if 1 / 0 == 1\n"
    )
    (failed,) = run_tests(files).failed
    assert "divide by zero" in failed.message


def test_lines_that_no_test_reaches_are_named() -> None:
    files = read_folder(FOLDER)
    del files["depa/release/release_test.rego"]
    report = run_tests(files)
    names = ("decision", "keys", "run")
    assert set(report.missed) == {f"depa/release/{name}.rego" for name in names}
    assert report.coverage < 0.95


def test_a_line_that_no_test_reaches_is_named_among_others() -> None:
    rule = (HEAD + "deny contains 1 if {\n\tinput.never == 1\n\tinput.now == 1\n}\n").encode()
    report = run_tests({**read_folder(FOLDER), "depa/contract/planted.rego": rule})
    assert report.missed == {"depa/contract/planted.rego": (7, 9)}


def test_the_command_ends_with_zero_for_sound_policies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("0 findings, ")


def test_the_command_ends_with_one_and_names_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, data in read_folder(FOLDER).items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    planted_file = tmp_path / "depa" / "contract" / "planted.rego"
    planted_file.write_text(HEAD + "deny contains 1 if not input.x == 1\n")
    assert main([str(tmp_path)]) == 1
    assert "depa/contract/planted.rego:7: negation: " in capsys.readouterr().out


def test_rules_that_too_few_tests_reach_are_not_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, data in read_folder(FOLDER).items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    for path in ("depa/release/release_test.rego", "depa/attestation/attestation_test.rego"):
        text = (tmp_path / path).read_text()
        (tmp_path / path).write_text(text.partition("\n\n")[0] + "\n\ntest_nothing := true\n")
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "0 findings, " in said
    assert " 0 failed, " in said
    assert "depa/release/run.rego: no test reaches lines " in said


def test_an_empty_folder_is_not_sound(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
