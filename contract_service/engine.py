"""The policy engine that the operator has chosen; there is no other to fall back to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from contract_service.errors import EngineError
from contract_service.settings import Settings
from policies.bundle import load_bundle
from policies.engine import PolicyEngine, RegorusEngine

_MAX_TOKEN_BYTES: Final = 4096


@contextmanager
def opening_engine(settings: Settings) -> Iterator[PolicyEngine]:
    """Open the engine, which must hold the policy that this release ships.

    Raises:
        EngineError: if the settings do not name a policy server and a way to it.
        DocumentError: if they name one that is not safe to ask.
        PolicyError: if the policy server does not answer, or holds another policy.
    """
    if settings.policy_engine == "embedded":
        yield RegorusEngine()
        return
    if settings.opa_url is None:
        raise EngineError(
            "the policy engine is opa, and no server is named", hint="set DEPA_SERVICE_OPA_URL"
        )
    try:
        from clients.api.opa import OpaEngine  # noqa: PLC0415  (an extra)
    except ImportError:
        raise EngineError(
            "the policy engine is opa, and its client is not installed",
            hint="pip install 'depa[opa]'",
        ) from None
    engine = OpaEngine(
        settings.opa_url,
        ca_file=settings.opa_ca,
        token=_token(settings.opa_token_file),
        seconds=settings.opa_seconds,
    )
    try:
        engine.require(load_bundle())
        yield engine
    finally:
        engine.close()


def _token(path: Path | None) -> SecretStr | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()[: _MAX_TOKEN_BYTES + 1]
        return SecretStr(data.decode("ascii").strip())
    except (OSError, UnicodeDecodeError):
        raise EngineError(
            f"{path}: expected a file with the policy server's token",
            hint="correct DEPA_SERVICE_OPA_TOKEN_FILE",
        ) from None
