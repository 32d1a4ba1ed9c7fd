from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from policies.bundle import Bundle, build, load_bundle
from policies.engine import RegorusEngine, Verdict, embedded
from policies.errors import PolicyError
from policies.wire.base import canonical_json
from tests.unit.policies.good import case, document

CODES = b'{"version":"1.0.0","codes":{}}'
BY = '"policy": {"id": "depa", "version": "1.0.0"}'
ALLOW = f'{{"allow": true, "reasons": [], "warnings": [], {BY}}}'


def bundle_of(text: str) -> Bundle:
    rule = f"package depa.contract\n\n{text}\n".encode()
    return build({"codes.json": CODES, "depa/contract/decision.rego": rule})


def evaluate(text: str, document: bytes = b"{}") -> Verdict:
    return RegorusEngine().evaluate(bundle_of(text), entrypoint="contract", document=document)


def test_the_decision_rule_is_evaluated_over_the_input() -> None:
    assert evaluate(f"decision := {ALLOW} if input.good == 1", b'{"good":1}').allow


def test_nothing_is_left_over_from_the_decision_before() -> None:
    engine, bundle = RegorusEngine(), bundle_of(f"decision := {ALLOW} if input.good == 1")
    assert engine.evaluate(bundle, entrypoint="contract", document=b'{"good":1}').allow
    with pytest.raises(PolicyError, match="got no result"):
        engine.evaluate(bundle, entrypoint="contract", document=b"{}")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("other := 1", "could not be evaluated"),
        (f"decision := {ALLOW} if input.missing", "got no result or another shape"),
        ("decision := true", "got no result or another shape"),
        ('decision := {"allow": true}', "got no result or another shape"),
        ('decision := {"allow": true, "reasons": [], "warnings": []}', "another"),
        (f'decision := {{"allow": "yes", "reasons": [], "warnings": [], {BY}}}', "another"),
        (f'decision := {{"allow": 1, "reasons": [], "warnings": [], {BY}}}', "another"),
        (
            f'decision := {{"allow": true, "reasons": [], "warnings": [], {BY}, "x": 1}}',
            "another shape",
        ),
        (
            f'decision := {{"allow": false, "reasons": ["no"], "warnings": [], {BY}}}',
            "another shape",
        ),
        ("decision := time.no_such_function(1)", "could not find function"),
        (f"decision := {ALLOW} if 1 / input.zero == 1", "divide by zero"),
        ("decision := to_number(input.text)", "could not parse"),
        ("decision := 1\ndecision := 2", "could not be evaluated"),
        ("decision := {", "could not be evaluated"),
        (f'decision := {ALLOW} if strings.count("abc", "") == 1', "could not be evaluated"),
    ],
)
def test_everything_but_a_decision_is_an_error(rule: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem) as failed:
        evaluate(rule, b'{"zero":0,"text":"x"}')
    assert "backtrace" not in str(failed.value)
    assert "unknown" not in str(failed.value)
    assert len(str(failed.value)) < 600


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"NaN", b"[" * 200 + b"]" * 200])
def test_a_malformed_input_is_an_error(text: bytes) -> None:
    with pytest.raises(PolicyError, match="could not be evaluated"):
        evaluate(f"decision := {ALLOW}", text)


def test_an_engine_works_again_after_an_error() -> None:
    engine, bundle = RegorusEngine(), bundle_of(f"decision := {ALLOW} if 1 / input.n == 1")
    with pytest.raises(PolicyError):
        engine.evaluate(bundle, entrypoint="contract", document=b'{"n":0}')
    assert engine.evaluate(bundle, entrypoint="contract", document=b'{"n":1}').allow


def test_one_engine_is_shared_by_threads() -> None:
    engine, facts = RegorusEngine(), case("contract")
    facts["bundle"] = {"digest": load_bundle().digest, "version": "1.0.0"}
    text = document(facts)
    start = threading.Barrier(4)

    def decide(_: int) -> bool:
        start.wait()
        return all(
            engine.evaluate(load_bundle(), entrypoint="contract", document=text).allow
            for _ in range(5)
        )

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(decide, range(4))) == [True] * 4


def test_more_bundles_than_are_kept_prepared_are_still_judged() -> None:
    engine = RegorusEngine()
    bundles = [bundle_of(f"decision := {ALLOW} if input.n == {n}") for n in range(10)]
    for _ in range(2):
        for n, bundle in enumerate(bundles):
            text = f'{{"n":{n}}}'.encode()
            assert engine.evaluate(bundle, entrypoint="contract", document=text).allow


def test_a_panic_is_an_error_of_the_thread_that_asked_alone() -> None:
    engine = RegorusEngine()
    bundle = bundle_of(f'decision := {ALLOW} if strings.count("abc", input.part) == 1')

    def ask(part: str) -> bool:
        text = json.dumps({"part": part}).encode()
        return engine.evaluate(bundle, entrypoint="contract", document=text).allow

    with ThreadPoolExecutor(1) as other:
        assert other.submit(ask, "b").result()
        with pytest.raises(PolicyError, match="could not be evaluated: PanicException"):
            ask("")
        assert other.submit(ask, "b").result()
    assert ask("b")


def test_engines_outlive_the_object_and_the_thread_that_made_them() -> None:
    bundle, text = bundle_of(f"decision := {ALLOW} if input.n == 7"), b'{"n":7}'

    def ask() -> bool:
        return RegorusEngine().evaluate(bundle, entrypoint="contract", document=text).allow

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            assert pool.submit(ask).result()
        gc.collect()
    assert ask()


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        (f'decision := {ALLOW} if strings.count("abc", input.part) == 1', b'{"part":""}'),
        ("decision := ", b"{}"),
        (f"decision := {ALLOW}", b"{"),
    ],
    ids=["panic", "rule that does not parse", "input that does not parse"],
)
def test_a_failure_that_goes_to_another_thread_takes_no_engine_with_it(
    rule: str, given: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    with ThreadPoolExecutor(1) as other:
        failure = other.submit(evaluate, rule, given).exception()
        assert isinstance(failure, PolicyError)
        del failure
        gc.collect()
    assert dropped == []


def test_an_engine_works_after_a_fork() -> None:
    program = """
import os
from policies.bundle import load_bundle
from policies.decide import Policy
from tests.unit.policies.good import contract_case

assert Policy.embedded().contract(contract_case()).allow
child = os.fork()
if child == 0:
    os._exit(0 if Policy.embedded().contract(contract_case()).allow else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def asked(facts: dict[str, Any], *, keep: bool, entrypoint: Any = "training") -> Verdict:
    """Return a verdict on facts, with or without what the engine keeps about their terms."""
    terms = canonical_json(facts["contract"])
    shipped = load_bundle()
    judging = canonical_json({"digest": shipped.digest, "version": shipped.version})
    rest = canonical_json({name: value for name, value in facts.items() if name != "contract"})
    text = b'{"bundle":' + judging + b',"contract":' + terms + b"," + rest[1:]
    return RegorusEngine().evaluate(
        shipped, entrypoint=entrypoint, document=text, terms=terms if keep else b""
    )


@pytest.mark.parametrize("entrypoint", ["contract", "training", "release"])
@pytest.mark.parametrize(
    "bent",
    [
        {},
        {"purpose": "MARKETING"},
        {"tdc": ""},
        {"datasets": []},
        {"privacy": None},
        {"policy": {"id": "depa", "version": "9.9.9", "digest": "x", "partyRules": []}},
    ],
)
def test_what_is_kept_about_terms_changes_no_answer(entrypoint: str, bent: dict[str, Any]) -> None:
    facts = case(entrypoint)
    facts["contract"] |= bent
    alone = asked(facts, keep=False, entrypoint=entrypoint)
    for _ in range(2):
        assert asked(facts, keep=True, entrypoint=entrypoint) == alone


def test_terms_are_told_apart_by_their_text_and_not_by_the_digest_that_they_claim() -> None:
    good, bad = case("training"), case("training")
    bad["contract"]["purpose"] = "MARKETING"
    assert good["contract"]["digest"] == bad["contract"]["digest"]
    for _ in range(2):
        assert asked(good, keep=True).allow
        assert not asked(bad, keep=True).allow


def test_what_is_kept_about_terms_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_MAX_VERDICTS", 5)
    embedded._PREPARED.verdicts.clear()
    for number in range(20):
        facts = case("contract")
        facts["contract"]["expiresAt"] += number
        assert asked(facts, keep=True, entrypoint="contract").allow
    assert len(embedded._PREPARED.verdicts) == 5


def test_a_bundle_without_rules_about_terms_alone_is_asked_as_a_whole() -> None:
    bundle = bundle_of(f"decision := {ALLOW} if not input.prepared")
    text = b'{"contract":{}}'
    assert RegorusEngine().evaluate(bundle, entrypoint="contract", document=text, terms=b"{}").allow
