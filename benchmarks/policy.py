"""How fast a decision is, embedded and on an OPA server, for a contract of eleven kilobytes.

One decision is everything from facts to answer: the facts as JSON, evaluation of the `training`
policy, and a checked `Decision`. The contract lends eight data sets of eight providers; the
pipeline trains a described network on all of them. In the rotation 1000 contracts take turns, each
decided on once before: what the first decision on a contract costs is a line of its own.

The server is the one that `OPA_URL` names or `opa` on the path, which must hold this release's
bundle; without either it is OPA itself as a library (`make .venv-oracle/.installed`) behind a plain
HTTP answer of this program's own, and says so.

    python benchmarks/policy.py --json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from clients.api.opa import OpaEngine
from policies.bundle import load_bundle
from policies.decide import Policy
from policies.facts import TrainingFacts
from tests.opa_server import OpaServer, serving
from tests.oracle.opa import VERSION, running_opa
from tests.policy_load import contract_of, facts_of, pipeline_of

CONTRACTS: Final = 1000
DECISIONS: Final = 2000
ASKED: Final = 500
"""Decisions asked of the server."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of many decisions, and how many a second of one core's time makes."""

    median: float
    p99: float
    per_second: float

    @classmethod
    def of(cls, decide: Callable[[int], bool], count: int) -> Timing:
        """Time a decision `count` times; each must allow."""
        wall, before = list[float](), time.process_time()
        for number in range(count):
            began = time.perf_counter()
            allowed = decide(number)
            wall.append((time.perf_counter() - began) * 1000)
            if not allowed:
                raise SystemExit(f"decision {number} denies")
        used = time.process_time() - before
        return cls(statistics.median(wall), statistics.quantiles(wall, n=100)[98], count / used)


def first_decision(facts: TrainingFacts) -> tuple[float, float, float]:
    """Return milliseconds of the first decision and megabytes before and after it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    if not Policy.embedded().training(facts).allow:
        raise SystemExit("the first decision denies")
    spent = (time.perf_counter() - began) * 1000
    return spent, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def policy_server() -> Iterator[tuple[str, str]]:
    """Yield the URL of a policy server, and what it is."""
    url = os.environ.get("OPA_URL")
    if url:
        yield url, f"the OPA server at {url}"
        return
    with tempfile.TemporaryDirectory() as folder, running_opa(load_bundle(), Path(folder)) as opa:
        answer = OpaServer(load_bundle(), evaluate=lambda _, path, value: opa.evaluate(path, value))
        with serving(answer):
            yield answer.url, f"OPA {VERSION} as a library, behind an HTTP answer of this benchmark"


def measure() -> dict[str, Any]:
    """Return every figure."""
    contract = contract_of(0)
    pipeline = pipeline_of(contract)
    facts = facts_of(contract, pipeline)
    first, before, after = first_decision(facts)
    policy = Policy.embedded()
    one = Timing.of(lambda _: policy.training(facts).allow, DECISIONS)
    many = [facts_of(other, pipeline_of(other)) for other in map(contract_of, range(CONTRACTS))]
    met = Timing.of(lambda number: policy.training(many[number]).allow, CONTRACTS)
    turns = Timing.of(lambda number: policy.training(many[number % CONTRACTS]).allow, DECISIONS)
    with policy_server() as (url, name):
        engine = OpaEngine(url, seconds=30.0)
        engine.require(load_bundle())
        asked = Policy(load_bundle(), engine)
        server = Timing.of(lambda _: asked.training(facts).allow, ASKED)
        engine.close()
    return {
        "contract_bytes": len(contract.canonical()),
        "pipeline_bytes": len(pipeline.canonical()),
        "facts_bytes": len(facts.canonical()),
        "first_ms": first,
        "memory_mb": after - before,
        "embedded": one,
        "met": met,
        "rotation": turns,
        "server": server,
        "server_name": name,
    }


def figures(found: dict[str, Any]) -> dict[str, float | str]:
    """Return what `--json` prints."""
    one, turns, server = found["embedded"], found["rotation"], found["server"]
    return {
        "embedded_median_ms": round(one.median, 3),
        "embedded_p99_ms": round(one.p99, 3),
        "embedded_per_s": round(one.per_second),
        "median_1000_contracts_over_1": round(turns.median / one.median, 3),
        "server_median_ms": round(server.median, 3),
        "server": found["server_name"],
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"contract {found['contract_bytes']} bytes, pipeline {found['pipeline_bytes']} bytes, "
        f"facts {found['facts_bytes']} bytes",
        f"first decision {found['first_ms']:.1f} ms, {found['memory_mb']:.1f} MB",
        "",
        f"{'':28}{'median ms':>12}{'p99 ms':>12}{'a second':>12}",
    ]
    for name, key in (
        ("embedded, one contract", "embedded"),
        ("embedded, 1000 contracts", "rotation"),
        ("embedded, a new contract", "met"),
        ("server, one contract", "server"),
    ):
        timing = found[key]
        lines.append(f"{name:28}{timing.median:12.3f}{timing.p99:12.3f}{timing.per_second:12.0f}")
    return "\n".join([*lines, "", f"server: {found['server_name']}"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time policy decisions.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    found = measure()
    as_json = parser.parse_args(arguments).json
    print(json.dumps(figures(found)) if as_json else table(found))


if __name__ == "__main__":
    main()
