"""What an operator can set, from DEPA_SERVICE_* variables; built in the factory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from policies.wire.base import Did


class Settings(BaseSettings):
    """Settings of one service process."""

    model_config = SettingsConfigDict(
        env_prefix="DEPA_SERVICE_", env_parse_none_str="none", extra="forbid", frozen=True
    )

    home: Path
    """Folder with the service's certificates and encrypted keys, see `contract_service.init`."""
    origin: str = Field(pattern=r"\Ahttps://[A-Za-z0-9.:\[\]-]+\z")
    """Public origin, the audience of every token."""
    database: str | None = None
    """SQLAlchemy URL of the service; `service.db` in the home without one."""
    ledger_database: str | None = None
    """SQLAlchemy URL of the ledger; `ledger.db` in the home without one."""
    passphrase: SecretStr = Field(validation_alias="DEPA_PASSPHRASE")
    """Opens the service's keys."""
    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=0, le=65_535)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    vault_ca: Path | None = None
    """PEM of the authority of the vaults' TLS certificates; the system's roots without one."""
    vault_identity: Literal["own", "azure"] = "own"
    """How vaults know this service: by its own certificate, or by its machine's Azure identity."""
    attestation_ca: Path | None = None
    """PEM of the authority of the attestation services' TLS certificates."""
    policy_engine: Literal["embedded", "opa"] = "embedded"
    """What evaluates policies: the engine in this process, or an OPA server."""
    opa_url: str | None = None
    """The OPA server: https, or http on this machine. It must have loaded this release's bundle."""
    opa_ca: Path | None = None
    """PEM of the authority of the OPA server's TLS certificate."""
    opa_token_file: Path | None = None
    """File with the bearer token that the OPA server asks for."""
    opa_seconds: float = Field(default=2.0, gt=0, le=60)
    """How long an answer of the OPA server may take; after that the decision is a denial."""
    auditors: tuple[Did, ...] = ()
    """Who may read every contract's bundle and budgets."""
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    contract_limit: int = Field(default=1000, ge=1)
    """Contracts that one consumer may have proposed and not executed."""
    rules_limit: int = Field(default=100, ge=0)
    """Modules of a provider's own rules that one party may have uploaded."""
    approval_seconds: int = Field(default=3600, ge=60)
    """How long an approval may be used."""
    nonce_seconds: int = Field(default=600, ge=30)
    run_seconds: int = Field(default=86_400, ge=60)
    """How long a run may take once its keys are out."""
    max_refusals: int = Field(default=10, ge=1)
    """Refused releases after which a run fails."""
    settle_seconds: float = Field(default=30.0, gt=0)
    """How often overdue runs are settled."""
    log_level: str = Field(default="INFO", pattern=r"\A(DEBUG|INFO|WARNING|ERROR)\z")

    @property
    def database_url(self) -> str:
        """Return the URL of the service's database."""
        return _driver(self.database or f"sqlite:///{self.home / 'service.db'}")

    @property
    def ledger_url(self) -> str:
        """Return the URL of the ledger's database."""
        return _driver(self.ledger_database or f"sqlite:///{self.home / 'ledger.db'}")


def _driver(url: str) -> str:
    # SQLAlchemy's default driver for this scheme is another one than the project's.
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme == "postgresql" else url
