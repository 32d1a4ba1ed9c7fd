"""The policy engine that a command is told to ask; there is no other to fall back to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from clients.cli.command import Session
from clients.cli.errors import UsageError
from clients.cli.files import read_bytes
from policies.bundle import Bundle
from policies.engine import PolicyEngine, RegorusEngine

_MAX_TOKEN_BYTES: Final = 4096


class EngineName(StrEnum):
    """What evaluates policies."""

    EMBEDDED = "embedded"
    SERVER = "server"


@contextmanager
def opening_engine(session: Session, name: EngineName, bundle: Bundle) -> Iterator[PolicyEngine]:
    """Open an engine; a server must hold `bundle`.

    Raises:
        UsageError: when no server is set, or its client is not installed.
        NotFoundError: when the file of its token is not there.
        DocumentError: when it is not safe to ask.
        PolicyError: when it does not answer, or holds another policy.
    """
    if name is EngineName.EMBEDDED:
        yield RegorusEngine()
        return
    settings = session.settings
    url, ca, token = (
        settings.need("opa_url"),
        settings.get("opa_ca"),
        settings.get("opa_token_file"),
    )
    try:
        from clients.api.opa import OpaEngine  # noqa: PLC0415  (an extra)
    except ImportError:
        raise UsageError(
            "the client of policy servers is not installed", hint="pip install 'depa[opa]'"
        ) from None
    engine = OpaEngine(
        url, ca_file=Path(ca) if ca else None, token=_token(Path(token)) if token else None
    )
    try:
        engine.require(bundle)
        yield engine
    finally:
        engine.close()


def _token(path: Path) -> SecretStr:
    data = read_bytes(path, what="token of the policy server", limit=_MAX_TOKEN_BYTES)
    try:
        return SecretStr(data.decode("ascii").strip())
    except UnicodeDecodeError:
        raise UsageError(
            f"token of the policy server: {path}: expected ASCII, got other bytes",
            hint="correct the setting opa_token_file",
        ) from None
