"""Rules read what their entrypoint's facts have, and what no rule judges is stated here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policies.facts.schema import FACTS
from policies.lint import Finding, lint, read_folder
from policies.lint.facts import reads
from policies.lint.source import Module, parse_module
from policies.lint.trace import Trace, trace

FOLDER = Path(__file__).parents[4] / "policies" / "rego"
FILES = read_folder(FOLDER)

UNJUDGED = {
    "bundle.version": "the digest says which bundle judges; versions are for people",
    "pipeline.digest": "what is approved, and compared when keys are released",
    "request.nonce": "compared with the evidence; here only its use before counts",
}
"""Facts that no rule compares or counts, and why."""


def modules(extra: dict[str, str] | None = None) -> list[Module]:
    texts = {path: data for path, data in FILES.items() if path.endswith(".rego")}
    texts |= {path: text.encode() for path, text in (extra or {}).items()}
    found = [parse_module(path, data) for path, data in texts.items()]
    assert all(isinstance(module, Module) for module in found), found
    return [module for module in found if isinstance(module, Module)]


def dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)


PREPARED = ("prepared",)
"""What an engine hands on is no fact."""


@pytest.mark.parametrize("entrypoint", ["contract", "training", "attestation", "release"])
def test_every_fact_is_asked_for_to_be_complete(entrypoint: Any) -> None:
    unread = {path for path in reads(modules(), entrypoint).unread if path[:1] != PREPARED}
    assert {dotted(path) for path in unread} == {"bundle.version"}


def test_facts_that_no_rule_judges_are_stated() -> None:
    traces = [reads(modules(), entrypoint, without=["complete"]) for entrypoint in FACTS]
    judged = {path for found in traces for path in found.read}
    unread = {path for found in traces for path in found.unread if path[:1] != PREPARED}
    assert {dotted(path) for path in unread - judged} == set(UNJUDGED)


@pytest.mark.parametrize(
    ("package", "rule", "message"),
    [
        ("release", 'input.run.stat == "x"', "input.run.stat is no fact of depa.release"),
        ("release", 'input["runs"].id == "x"', "input.runs is no fact of depa.release"),
        (
            "release",
            "some i\n\tinput.request.keys[i].nam",
            "input.request.keys[_].nam is no fact of depa.release",
        ),
        (
            "release",
            "some key in input.request.keys\n\tkey.nam",
            "input.request.keys[_].nam is no fact of depa.release",
        ),
        (
            "release",
            "every key in input.request.keys {\n\t\tkey.nam\n\t}",
            "input.request.keys[_].nam is no fact of depa.release",
        ),
        (
            "release",
            "found := [key | some key in input.request.keys]\n\tfound[0].nam",
            "input.request.keys[_].nam is no fact of depa.release",
        ),
        (
            "release",
            'found := {"a": input.run}\n\tfound.a.nam',
            "input.run.nam is no fact of depa.release",
        ),
        (
            "release",
            "[first, second] := [input.run, 1]\n\tsecond == 1\n\tfirst.nam",
            "input.run.nam is no fact of depa.release",
        ),
        (
            "release",
            'some field in ["runs", "run"]\n\tinput[field]',
            "input.runs is no fact of depa.release",
        ),
        (
            "release",
            "input.run[input.request.token]",
            "input.run is read by a name that is not written of depa.release",
        ),
        ("release", "input.executed.x", "input.executed.x is no fact of depa.release"),
        ("release", "run := input.run\n\trun.nam", "input.run.nam is no fact of depa.release"),
        ("release", "x == input.run.nam\n\tx := 1", "input.run.nam is no fact of depa.release"),
        ("release", "run.nam\n\trun := input.run", "input.run.nam is no fact of depa.release"),
        ("release", "planted_name(input.run)", "input.run.nam is no fact of depa.release"),
        ("release", "planted_run.nam", "input.run.nam is no fact of depa.release"),
        ("contract", "input.run", "input.run is no fact of depa.contract"),
        ("attestation", "input.executed", "input.executed is no fact of depa.attestation"),
        ("training", "input.request", "input.request is no fact of depa.training"),
    ],
)
def test_a_planted_read_of_what_is_no_fact_is_found(package: str, rule: str, message: str) -> None:
    path = f"depa/{package}/planted.rego"
    text = f"""# METADATA
# title: Planted
package depa.{package}

planted_run := input.run

planted_name(value) if value.nam

deny contains 1 if {{
	{rule}
}}
"""
    found = [finding for finding in lint({**FILES, path: text.encode()}) if finding.path == path]
    assert message in {finding.message for finding in found if finding.check == "facts"}


def test_a_contract_rule_may_read_only_what_every_entrypoint_above_it_has() -> None:
    path = "depa/contract/planted.rego"
    text = (
        "# METADATA\n# title: Planted\npackage depa.contract\n\ndeny contains 1 if input.pipeline\n"
    )
    found = {f.message for f in lint({**FILES, path: text.encode()}) if f.check == "facts"}
    assert found == {
        "input.pipeline is no fact of depa.contract",
        "input.pipeline is no fact of depa.release",
    }


def test_a_shared_rule_may_read_only_what_every_entrypoint_above_it_has() -> None:
    path = "depa/lib/policy.rego"
    text = FILES[path] + b"\npolicy_mismatch contains 1 if input.contract.purpose\n"
    found = {f.message for f in lint({**FILES, path: text}) if f.check == "facts"}
    assert found == {"input.contract.purpose is no fact of depa.attestation"}


SCHEMA = {
    "properties": {
        "a": {"items": {"properties": {"b": {"type": "string"}, "c": {"type": "string"}}}},
        "d": {"properties": {"e": {"type": "string"}}},
    }
}


def traced(rules: str) -> Trace:
    text = f"# METADATA\n# title: Planted\npackage depa.x\n\n{rules}\n"
    module = parse_module("x.rego", text.encode())
    assert isinstance(module, Module), module
    return trace([module], SCHEMA, roots=["depa.x.deny"])


@pytest.mark.parametrize(
    ("rules", "unread"),
    [
        ("deny contains 1 if input.d.e", {"a.*.b", "a.*.c"}),
        ("deny contains 1 if count(input.a) > 0", {"a.*.b", "a.*.c", "d.e"}),
        ("deny contains 1 if {\n\tinput.a == []\n}", {"d.e"}),
        ("deny contains 1 if {\n\tsome x in input.a\n\tx.b\n}", {"a.*.c", "d.e"}),
        ('deny contains 1 if {\n\tsome n in ["b", "c"]\n\tinput.a[0][n]\n}', {"d.e"}),
        ("deny contains 1 if {\n\tsome k, v in input.d\n\tv == k\n}", {"a.*.b", "a.*.c"}),
        ("deny contains 1 if 1 in input.a", {"d.e"}),
        ("deny contains 1 if f(input.d)\n\nf(x) if x.e", {"a.*.b", "a.*.c"}),
        ("deny contains x if x := m[1].e\n\nm[n] := input.d if n := 1", {"a.*.b", "a.*.c"}),
        ("deny contains 1 if v.e\n\nv := 1 if 1 == 2\nelse := input.d", {"a.*.b", "a.*.c"}),
        ("deny contains 1 if {\n\tx = input.d\n\tx.e\n}", {"a.*.b", "a.*.c"}),
        (
            "deny contains 1 if {\n\ty := {x.b: x.c | some x in input.a}\n\ty == {}\n}",
            {"d.e"},
        ),
        ("deny contains 1 if sort(input.a)[0].b", {"d.e"}),
        ("other contains 1 if input.d.e\n\ndeny contains 1 if true", {"a.*.b", "a.*.c", "d.e"}),
    ],
)
def test_names_are_followed_to_what_they_read(rules: str, unread: set[str]) -> None:
    found = traced(rules)
    assert found.absent == ()
    assert {dotted(path) for path in found.unread} == unread


def test_a_rule_that_calls_itself_is_found() -> None:
    (finding,) = traced("deny contains 1 if f([input.d])\n\nf(x) if f([x])").absent
    assert isinstance(finding, Finding)
    assert "calls itself" in finding.message


def test_rules_that_are_made_to_be_hard_to_follow_are_found_in_bounded_time() -> None:
    chain = "".join(f"f{n}(x) if f{n + 1}([x, x])\n\n" for n in range(500))
    found = traced(f"deny contains 1 if f0([input.d])\n\n{chain}f500(x) if x")
    assert any("too entangled" in finding.message for finding in found.absent)
