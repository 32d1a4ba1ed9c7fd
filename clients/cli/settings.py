"""Settings of one role: flag, then environment, then `depa.toml` in its home, then default.

The table below is the whole list; an unknown name in `depa.toml` is an error, so that a misspelt
one is seen.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clients.cli.errors import UsageError

FILE_NAME = "depa.toml"


@dataclass(frozen=True)
class Known:
    """A setting that exists."""

    help: str
    default: str = ""

    def __post_init__(self) -> None:
        if not self.help:
            raise ValueError("a setting says what it is for")


KNOWN: Final[Mapping[str, Known]] = {
    "service": Known("URL of the contract service"),
    "attestation": Known("URL of the attestation service"),
    "vault": Known("URL of this party's key vault"),
    "blobs": Known("URL of the folder or container that takes sealed files"),
    "ca_file": Known("PEM file of the authority that the services' TLS certificates are from"),
    "root": Known("SHA-256 (hex) of the root certificate of service and ledger"),
    "launch_policy": Known("file with the launch policy of the clean room"),
    "stack": Known("folder of the local stack"),
    "opa_url": Known("URL of the OPA server that holds the policy"),
    "opa_ca": Known("PEM file of the authority that the OPA server's TLS certificate is from"),
    "opa_token_file": Known("file with the bearer token that the OPA server asks for"),
}


@dataclass(frozen=True)
class Value:
    """A setting's value and where it came from."""

    value: str
    origin: str


@dataclass(frozen=True)
class Settings:
    """All settings of one role, read once."""

    home: Path
    values: Mapping[str, Value]

    def get(self, name: str) -> str:
        """Return a setting, or the empty string when nobody set it."""
        return self.values[name].value

    def need(self, name: str) -> str:
        """Return a setting that the command cannot do without.

        Raises:
            UsageError: when it is not set.
        """
        value = self.get(name)
        if not value:
            raise UsageError(
                f"setting {name} is not set: {KNOWN[name].help}",
                hint=f"set {environment_name(name)}, or {name} in {self.home / FILE_NAME}",
            )
        return value


def environment_name(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"DEPA_{name.upper()}"


def default_home() -> Path:
    """Return the role's home when nobody names one."""
    return Path(os.environ.get("DEPA_HOME") or "~/.depa").expanduser()


def read_settings(home: Path, *, environment: Mapping[str, str]) -> Settings:
    """Read the settings of the role whose home this is.

    Raises:
        UsageError: when `depa.toml` is not readable or names an unknown setting.
    """
    path = home / FILE_NAME
    stored = _read(path)
    values = {}
    for name, known in KNOWN.items():
        variable = environment_name(name)
        if environment.get(variable):
            values[name] = Value(environment[variable], f"environment variable {variable}")
        elif name in stored:
            values[name] = Value(stored[name], str(path))
        else:
            values[name] = Value(known.default, "default" if known.default else "not set")
    return Settings(home, values)


def write_settings(home: Path, changes: Mapping[str, str]) -> Path:
    """Set some settings in `depa.toml`, keeping the others.

    Raises:
        UsageError: for an unknown name.
    """
    path = home / FILE_NAME
    merged = {**_read(path), **changes}
    _refuse_unknown(merged, path)
    text = "".join(f"{name} = {json.dumps(merged[name])}\n" for name in sorted(merged))
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=home, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(path)
    return path


def _read(path: Path) -> dict[str, str]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    _refuse_unknown(content, path)
    for name, value in content.items():
        if not isinstance(value, str):
            raise UsageError(f"{path}: {name} is not a text", hint=f'write {name} = "..."')
    return content


def _refuse_unknown(content: Mapping[str, object], path: Path) -> None:
    unknown = sorted(set(content) - set(KNOWN))
    if unknown:
        raise UsageError(
            f"{path}: unknown setting {', '.join(unknown)}", hint=f"known: {', '.join(KNOWN)}"
        )
