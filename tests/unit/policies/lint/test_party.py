from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.errors import DocumentError
from policies.lint.party import checked_module, lint_module
from policies.party import MAX_MODULE_BYTES
from tests.party import GOOD, module


def test_good_rules_have_no_findings() -> None:
    assert lint_module(GOOD.encode()) == []
    assert lint_module(module()) == []
    assert checked_module(GOOD.encode()).name == "hospital_a"


def test_a_refusal_names_everything() -> None:
    data = module("not input.x == 1\n\ttime.now_ns() > 0.5\n\tdata.depa.contract.allow")
    with pytest.raises(DocumentError) as caught:
        checked_module(data)
    messages = [problem.message.split(":") for problem in caught.value.problems]
    found = {(line, check) for _, line, check, *_ in messages}
    assert {("11", " negation"), ("12", " builtins"), ("12", " numbers"), ("13", " apart")} <= found


def add(text: str) -> Callable[[str], str]:
    return lambda module: module + text


def deny(fields: str) -> Callable[[str], str]:
    return add(f"deny contains {{{fields}}}\n")


def change(old: str, new: str) -> Callable[[str], str]:
    def changed(module: str) -> str:
        assert old in module
        return module.replace(old, new)

    return changed


@pytest.mark.parametrize(
    ("changed", "check", "message"),
    [
        (add("#" * MAX_MODULE_BYTES), "module", "the limit is"),
        (change("package depa.party.", "package depa.training."), "module", "0 lines"),
        (change("#   remedy: Add", "# Add"), "module", "without title and remedy"),
        (add("x :=\n"), "syntax", "expect"),
        (add("x := " + "(" * 9000 + "1" + ")" * 9000 + "\n"), "syntax", ""),
        (add(f"x := input{'.a' * 9000}\n"), "syntax", "maximum column"),
        (add("x := " + "[\n" * 7000 + "]\n" * 7000), "syntax", ""),
        (add("x := " + "1 +\n" * 600 + "1\n"), "syntax", "answer is too large"),
        (change("\tdatasets :=", "  datasets :="), "text", "tabs"),
        (change("# METADATA\n# title: Rules of", "# Rules of"), "package", "METADATA"),
        (change("hospital_a\n", "hospital_a\n\nimport data.depa.lib\n"), "apart", "imports data"),
        (change(":= input.contract.datasets", ":= input.contract.dataset"), "facts", "is no fact"),
        (change("stage.steps > 5", "stage.step > 5"), "facts", "is no fact"),
        (change("patients < 400", "input[input.question]"), "facts", "a name that is not written"),
        (change("patients < 400", "data.depa.contract.complete"), "apart", "reads `data`"),
        (change("patients < 400", 'data["depa"].contract.complete'), "apart", "reads `data`"),
        (change("patients < 400", "data[input.x]"), "apart", "reads `data`"),
        (add("allow := true\n"), "rules", "allow and decide nothing"),
        (add("default allow := true\n"), "defaults", "not false by default"),
        (add('decision := {"allow": true}\n'), "rules", "allow and decide nothing"),
        (add("depa.training.decision := true\n"), "rules", "allow and decide nothing"),
        (add("decision.allow := true\n"), "rules", "allow and decide nothing"),
        (change("warn contains", "# \nallow contains"), "module", "no reason of it can be"),
        (add('deny contains "no"\n'), "rules", "deny is not"),
        (add("deny contains input.reason\n"), "rules", "deny is not"),
        (add('deny := {"no"}\n'), "rules", "deny is not"),
        (add("warn(x) := x\n"), "rules", "warn is not"),
        (deny('"code": "PARTY_X", "path": "", "msg": "", "more": ""'), "rules", "deny is not"),
        (deny('"code": "PARTY_X", "path": "", "msg": ""'), "codes", "not explained"),
        (deny('"code": "LONG", "path": "", "msg": ""'), "codes", "not explained"),
        (deny('"code": input.x, "path": "", "msg": ""'), "codes", "literal code"),
        (deny('"code": "PARTY_LONG_RUN", "path": "", "msg": ""'), "codes", "both deny"),
        (change("PARTY_LONG_RUN", "PARTY_MISSING"), "codes", "of the policy itself"),
        (change('"code": "PARTY_LONG_RUN"', '"code": "PARTY_LONGER"'), "codes", "given by no rule"),
        (change("patients < 400", "time.now_ns() > 0"), "builtins", "time.now_ns"),
        (change("patients < 400", "http.send({})"), "builtins", "http.send"),
        (change("patients < 400", "opa.runtime()"), "builtins", "opa.runtime"),
        (change("patients < 400", "not patients > 400"), "negation", "expression"),
        (change("patients < 400", "patients < 0.5"), "numbers", "0.5"),
        (change("got %v", "got %d"), "formats", "%d"),
        (change("patients < 400", "regex.match(`x`, input.x)"), "patterns", "literal pattern"),
        (change("patients < 400", "patients < 400 with input.x as 1"), "overrides", "tests"),
        (add("helper := 1\n"), "unused", "helper"),
        (add("default deny := set()\n"), "", ""),
    ],
)
def test_what_is_wrong_is_found(changed: Callable[[str], str], check: str, message: str) -> None:
    findings = lint_module(changed(GOOD).encode())
    assert any(message in found.message for found in findings if check in {found.check, ""})


def test_bytes_that_are_no_text_are_found() -> None:
    assert [found.check for found in lint_module(b"\xff")] == ["module"]
