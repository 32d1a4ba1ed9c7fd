"""Reads the evidence of real machines under tests/vectors/snp."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent / "vectors" / "snp"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(frozen=True)
class RealEvidence:
    """What a real container group showed."""

    report: bytes
    certificates: bytes
    endorsement: bytes
    policy: bytes


def aci_v3() -> RealEvidence:
    """Return the evidence of a report of version 3."""
    request = json.loads((FOLDER / "aci-v3" / "maa-request.json").read_bytes())
    evidence = json.loads(_decode(request["report"]))
    [endorsement] = json.loads(_decode(evidence["Endorsements"]))["Uvm"]
    values = dict(
        line.split(": ", 1)
        for line in (FOLDER / "aci-v3" / "values.txt").read_text().splitlines()
        if ": " in line
    )
    return RealEvidence(
        report=_decode(evidence["SnpReport"]),
        certificates=_decode(evidence["VcekCertChain"]),
        endorsement=_decode(endorsement),
        policy=base64.b64decode(values["ccepolicy"]),
    )


def aci_v2() -> RealEvidence:
    """Return the evidence of a report of version 2."""
    folder = FOLDER / "aci-v2"
    return RealEvidence(
        report=(folder / "snp_report.bin").read_bytes(),
        certificates=(folder / "uvm_host_amd_certificate.pem").read_bytes(),
        endorsement=(folder / "body.uvm_reference_info.bin").read_bytes(),
        policy=base64.b64decode((folder / "uvm_security_policy.base64").read_bytes()),
    )


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
