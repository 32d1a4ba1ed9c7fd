"""Where and for what a clean room was started: its environment, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from policies.errors import DepaError

_FINGERPRINT = re.compile(r"\A[0-9a-f]{64}\Z")
_RUN = re.compile(r"\Arun-[a-z2-7]{26}\Z")


class RoomError(DepaError):
    """The clean room was not started as it must be."""

    code = "room"
    exit_code = 2


@dataclass(frozen=True)
class Room:
    """What the deployer handed over. Only `root_fingerprint` is measured into the evidence."""

    root_fingerprint: str
    """SHA-256 of the root certificate under which service and log are certified, in hex."""
    service_url: str
    attestation_url: str
    run: str
    run_token: str = field(repr=False)
    """Capability for this run at the service."""
    scratch: Path
    """Private folder on encrypted memory; emptied at the end."""
    ca_file: Path | None
    """TLS root of local services; None for the system's roots."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            RoomError: naming the variable that is missing or malformed.
        """

        def need(name: str, pattern: str = r"\A[\x21-\x7e]{1,1000}\Z") -> str:
            value = environ.get(name, "")
            if not re.match(pattern, value):
                raise RoomError(f"{name} is {'malformed' if value else 'not set'}")
            return value

        ca_file = environ.get("DEPA_CA_FILE")
        return cls(
            root_fingerprint=need("DEPA_ROOT_FINGERPRINT", _FINGERPRINT.pattern),
            service_url=need("DEPA_SERVICE_URL", r"\Ahttps://[\x21-\x7e]{1,1000}\Z"),
            attestation_url=need("DEPA_ATTESTATION_URL", r"\Ahttps://[\x21-\x7e]{1,1000}\Z"),
            run=need("DEPA_RUN", _RUN.pattern),
            run_token=need("DEPA_RUN_TOKEN"),
            scratch=Path(need("DEPA_SCRATCH", r"\A/[\x20-\x7e]{1,1000}\Z")),
            ca_file=Path(ca_file) if ca_file else None,
        )
