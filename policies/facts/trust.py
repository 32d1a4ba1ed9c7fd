"""What the policies see of the clean rooms that a contract trusts."""

from __future__ import annotations

from policies.facts.numbers import MICRO, Whole
from policies.wire.base import Wire
from policies.wire.contract import Attestation, TcbFloor

_NO_FLOOR = TcbFloor(bootloader=0, tee=0, snp=0, microcode=0)


class TcbFacts(Wire):
    """Security version numbers of a processor's firmware."""

    bootloader: Whole
    tee: Whole
    snp: Whole
    microcode: Whole


class AttestationTerms(Wire):
    """Which clean rooms are trusted."""

    authorities: tuple[str, ...]
    host_data: tuple[str, ...]
    compliance: tuple[str, ...]
    minimum_guest_svn: Whole
    minimum_tcb: TcbFacts
    """Zeros where the contract asks for nothing."""
    measurements: tuple[str, ...]
    """Empty where the contract accepts every guest whose compliance is endorsed."""
    max_token_age: Whole
    """Microseconds."""


def attestation_terms(terms: Attestation) -> AttestationTerms:
    """Return which clean rooms a contract trusts, as the policies see it."""
    floor = terms.minimum_tcb or _NO_FLOOR
    return AttestationTerms(
        authorities=terms.authorities,
        host_data=terms.host_data,
        compliance=terms.compliance,
        minimum_guest_svn=terms.minimum_guest_svn,
        minimum_tcb=TcbFacts(
            bootloader=floor.bootloader, tee=floor.tee, snp=floor.snp, microcode=floor.microcode
        ),
        measurements=terms.measurements or (),
        max_token_age=terms.max_token_age_seconds * MICRO,
    )
