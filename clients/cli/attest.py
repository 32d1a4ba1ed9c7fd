"""`depa attest`: verify evidence of a clean room without any service."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from clients.api.attestation import AuthorityKeys
from clients.cli.command import Session, command, new_app
from clients.cli.errors import Refused
from clients.cli.files import read_bytes
from clients.cli.output import Answer
from clients.cli.tasks.service import ca_file
from deploy.local.attestation import MAX_REQUEST_BYTES, attest_snp
from deploy.local.hardware import UnsafeSimulatedMachine
from deploy.local.launch_policy import MAX_POLICY_BYTES, host_data_of
from policies.attestation.amd import AMD_ROOTS
from policies.attestation.uvm import MICROSOFT_UVM, Endorser

app = new_app("Verify evidence of a clean room.")
_HOST_DATA = "x-ms-sevsnpvm-hostdata"
_SHOWN = (
    _HOST_DATA,
    "x-ms-sevsnpvm-launchmeasurement",
    "x-ms-sevsnpvm-guestsvn",
    "x-ms-sevsnpvm-is-debuggable",
    "x-ms-sevsnpvm-vmpl",
    "x-ms-compliance-status",
)


@command(app, "verify", examples="depa attest verify evidence.json --launch-policy policy.rego")
def verify(
    session: Session,
    evidence: Annotated[Path, typer.Argument(help="Request of SevSnpVm kind, or a token.")],
    *,
    launch_policy: Annotated[Path | None, typer.Option(help="Policy it must run under.")] = None,
    authority: Annotated[str | None, typer.Option(help="Issuer of the token.")] = None,
    unsafe_machine: Annotated[
        Path | None, typer.Option(help="Home of a simulated machine to believe as well.")
    ] = None,
) -> Answer:
    """Verify chain, report, runtime data and firmware, or a token; print what they prove."""
    data = read_bytes(evidence, what="evidence", limit=MAX_REQUEST_BYTES)
    now = datetime.now(UTC)
    if data.lstrip()[:1] == b"{":
        roots, endorsers = _believed(unsafe_machine, now=now)
        claims = attest_snp(data, now=now, roots=roots, endorsers=endorsers)
    else:
        url = authority or session.settings.need("attestation")
        keys = AuthorityKeys({url: ca_file(session.settings)}, clock=time.monotonic)
        claims = dict(keys.verify(data.decode("ascii", "replace").strip(), now=now).claims)
    if launch_policy is not None:
        text = read_bytes(launch_policy, what="launch policy", limit=MAX_POLICY_BYTES).decode()
        if claims.get(_HOST_DATA) != host_data_of(text):
            raise Refused(
                f"{_HOST_DATA}: expected {host_data_of(text)}, got {claims.get(_HOST_DATA)}",
                hint="the clean room was launched under another policy",
            )
    return Answer(
        {"claims": claims},
        "the evidence holds",
        columns=("claim", "value"),
        rows=[(name, str(claims.get(name, "-"))) for name in _SHOWN],
    )


def _believed(
    unsafe_machine: Path | None, *, now: datetime
) -> tuple[Mapping[str, str], Collection[Endorser]]:
    if unsafe_machine is None:
        return AMD_ROOTS, (MICROSOFT_UVM,)
    machine = UnsafeSimulatedMachine(unsafe_machine, now=now)
    return {**AMD_ROOTS, **machine.roots}, (MICROSOFT_UVM, machine.endorser)
