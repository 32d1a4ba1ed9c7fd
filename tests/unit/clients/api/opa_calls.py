"""Policies that ask a served OPA, for its tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clients.api.opa import OpaEngine
from policies.bundle import Bundle, load_bundle
from policies.decide import Policy
from policies.wire.decision import Decision
from tests.opa_server import OpaServer, serving

BUNDLE = load_bundle()
SECONDS = 0.4


@contextmanager
def opened(opa: OpaServer, **options: Any) -> Iterator[Policy]:
    """Serve, and return a policy that asks there."""
    bundle: Bundle = options.pop("bundle", BUNDLE)
    with serving(opa):
        engine = OpaEngine(opa.url, **{"seconds": SECONDS, **options})
        try:
            yield Policy(bundle, engine)
        finally:
            engine.close()


def failure(decision: Decision) -> tuple[str, str]:
    """Return code and message of a denial for the sake of the engine."""
    assert not decision.allow
    (reason,) = decision.reasons
    assert reason.path == ""
    return reason.code, reason.msg
