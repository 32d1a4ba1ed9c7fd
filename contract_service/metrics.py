"""What the service counts for its operator (Prometheus)."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

REQUESTS: Final = Counter("depa_requests", "Requests answered.", ["method", "route", "status"])
SECONDS: Final = Histogram(
    "depa_request_seconds",
    "Time to answer.",
    ["route"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0),
)
REFUSALS: Final = Counter("depa_refusals", "Refusals, by reason.", ["code"])
DECISIONS: Final = Counter(
    "depa_decisions", "Decisions recorded, by policy and outcome.", ["entrypoint", "outcome"]
)
RELEASES: Final = Counter("depa_key_releases", "Key releases, by outcome.", ["outcome"])
RUNS: Final = Counter("depa_runs", "Runs that reached a state.", ["state"])
