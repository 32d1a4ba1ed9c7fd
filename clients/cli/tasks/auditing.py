"""Prove what a bundle says: the log first, then every contract that it is about."""

from __future__ import annotations

import time
from dataclasses import dataclass

from clients.cli.errors import NotFoundError
from ledger.bundle import Bundle
from ledger.verify import VerifiedLog, verify_bundle
from policies.audit import Finding, audit
from policies.dossier import contracts_of, read_dossier
from policies.releases import released


@dataclass(frozen=True)
class Audited:
    """What an audit has found."""

    log: VerifiedLog
    contracts: tuple[str, ...]
    """Digests of the contracts that the bundle is about."""
    findings: tuple[Finding, ...]


def audit_bundle(data: bytes, fingerprint: str) -> Audited:
    """Verify a bundle up to the root with this fingerprint, and audit its contracts.

    Raises:
        LedgerError: when the log's record does not verify.
        RecordRefused: at the first claim that does not hold.
        NotFoundError: when it is about no contract.
    """
    bundle = Bundle.parse(data)
    log = verify_bundle(bundle, root_fingerprint=fingerprint, at=int(time.time()))
    digests = contracts_of(log)
    if not digests:
        raise NotFoundError("the bundle is about no contract")
    issuers = {entry.statement.issuer for entry in log.entries}
    findings = [
        Finding("root", f"{fingerprint} certifies the keys of log {log.log.origin}"),
        Finding("signatures", f"{len(log.entries)} statements by {len(issuers)} issuers"),
        Finding("receipts", f"{len(log.entries)}, each at its place in the log"),
        Finding(
            "checkpoint",
            f"size {log.checkpoint.tree_size}, every receipt's root leads to it",
        ),
        Finding("documents", f"{len(log.documents)}, each with its digest"),
    ]
    for digest in digests:
        findings += audit(read_dossier(log, contract_digest=digest), policies=released())
    return Audited(log, digests, tuple(findings))
