from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain import (
    MAX_CHAIN,
    Validity,
    chain_validity,
    check_chain_validity,
    load_chain,
    verify_chain,
)
from ledger.errors import FormatError, IdentityError
from tests.unit.ledger.makers import NOW, P256, YEAR, certificate, key_usage, name

_ROOT, _MIDDLE, _LEAF = (ec.generate_private_key(P256) for _ in range(3))
_ROOT_NAME, _MIDDLE_NAME, _LEAF_NAME = (name("Org", each) for each in ("Root", "Middle", "Leaf"))
_Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def _root(extensions: _Extensions = (), *, path_length: int | None = None) -> bytes:
    return certificate(
        _ROOT,
        subject=_ROOT_NAME,
        issuer=_ROOT_NAME,
        signer=_ROOT,
        authority=True,
        extensions=extensions,
        path_length=path_length,
    )


def _middle(extensions: _Extensions = (), *, authority: bool | None = True) -> bytes:
    return certificate(
        _MIDDLE,
        subject=_MIDDLE_NAME,
        issuer=_ROOT_NAME,
        signer=_ROOT,
        authority=authority,
        extensions=extensions,
    )


def _leaf(extensions: _Extensions = ()) -> bytes:
    return certificate(
        _LEAF, subject=_LEAF_NAME, issuer=_MIDDLE_NAME, signer=_MIDDLE, extensions=extensions
    )


def _verify(*chain: bytes) -> None:
    verify_chain(load_chain(chain))


def test_chain_of_three_holds() -> None:
    _verify(_leaf(), _middle(), _root(path_length=1))


def test_chain_with_ed25519_keys_holds() -> None:
    root, leaf = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    _verify(
        certificate(leaf, subject=_LEAF_NAME, issuer=_ROOT_NAME, signer=root),
        certificate(root, subject=_ROOT_NAME, issuer=_ROOT_NAME, signer=root, authority=True),
    )


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param([_leaf()], id="leaf alone"),
        pytest.param([_root(), _middle(), _leaf()], id="root first"),
        pytest.param([_leaf(), _root()], id="middle left out"),
        pytest.param([_leaf(), _middle()], id="root left out"),
        pytest.param([_leaf(), _middle(), _root(), _root()[:0] + _leaf()], id="another at the end"),
        pytest.param([_leaf(), _middle(authority=False), _root()], id="issuer is no authority"),
        pytest.param([_leaf(), _middle(authority=None), _root()], id="issuer says nothing"),
        pytest.param([_leaf(), _middle(), _root(path_length=0)], id="path too long"),
        pytest.param(
            [_leaf(), _middle([(key_usage(digital_signature=True), True)]), _root()],
            id="issuer's key usage is not certificates",
        ),
        pytest.param(
            [
                _leaf(
                    [
                        (
                            x509.UnrecognizedExtension(
                                x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"
                            ),
                            True,
                        )
                    ]
                ),
                _middle(),
                _root(),
            ],
            id="unknown critical extension",
        ),
    ],
)
def test_chain_that_does_not_hold_is_refused(chain: list[bytes]) -> None:
    with pytest.raises(IdentityError):
        _verify(*chain)


def test_same_name_with_another_key_is_refused() -> None:
    other = certificate(
        ec.generate_private_key(P256),
        subject=_MIDDLE_NAME,
        issuer=_ROOT_NAME,
        signer=_ROOT,
        authority=True,
    )
    with pytest.raises(IdentityError, match="certificate 0: issuer"):
        _verify(_leaf(), other, _root())


def test_weak_keys_and_hashes_are_refused() -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505  # to be refused
    for leaf_key, signer, algorithm in (
        (small, _ROOT, None),
        (ec.generate_private_key(ec.SECP256K1()), _ROOT, None),
        (_LEAF, _ROOT, hashes.SHA3_256()),
    ):
        leaf = certificate(
            leaf_key, subject=_LEAF_NAME, issuer=_ROOT_NAME, signer=signer, algorithm=algorithm
        )
        with pytest.raises(IdentityError, match="weaker"):
            _verify(leaf, _root())


@pytest.mark.parametrize(
    ("tree", "good", "bad"),
    [
        (
            x509.DNSName("example.com"),
            x509.DNSName("a.Example.com"),
            x509.DNSName("badexample.com"),
        ),
        (
            x509.DNSName("example.com"),
            x509.DNSName("example.com"),
            x509.DNSName("example.com.evil"),
        ),
        (x509.DNSName(".example.com"), x509.DNSName("a.example.com"), x509.DNSName("example.com")),
        (
            x509.RFC822Name("example.com"),
            x509.RFC822Name("a@example.com"),
            x509.RFC822Name("a@b.example.com"),
        ),
        (
            x509.RFC822Name(".example.com"),
            x509.RFC822Name("a@b.example.com"),
            x509.RFC822Name("a@example.com"),
        ),
        (
            x509.RFC822Name("a@example.com"),
            x509.RFC822Name("a@example.com"),
            x509.RFC822Name("b@example.com"),
        ),
        (
            x509.UniformResourceIdentifier("example.com"),
            x509.UniformResourceIdentifier("https://example.com/a"),
            x509.UniformResourceIdentifier("https://b.example.com/a"),
        ),
    ],
)
def test_name_constraints_are_kept(
    tree: x509.GeneralName, good: x509.GeneralName, bad: x509.GeneralName
) -> None:
    permitted = (x509.NameConstraints([tree], None), True)
    excluded = (x509.NameConstraints(None, [tree]), True)
    within, outside = ((x509.SubjectAlternativeName([each]), False) for each in (good, bad))
    _verify(_leaf([within]), _middle(), _root([permitted]))
    _verify(_leaf([outside]), _middle(), _root([excluded]))
    for names, constraints in ((outside, permitted), (within, excluded)):
        with pytest.raises(IdentityError, match="name"):
            _verify(_leaf([names]), _middle(), _root([constraints]))


def test_directory_name_constraint_is_kept() -> None:
    organization = x509.Name(list(_LEAF_NAME)[:1])
    permitted = x509.NameConstraints([x509.DirectoryName(organization)], None)
    _verify(_leaf(), _middle(), _root([(permitted, True)]))
    other = x509.NameConstraints([x509.DirectoryName(name("Other", "x"))], None)
    with pytest.raises(IdentityError, match="permitted"):
        _verify(_leaf(), _middle(), _root([(other, True)]))


def test_constraint_of_another_type_is_refused_even_when_nothing_has_such_a_name() -> None:
    constraints = x509.NameConstraints([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))], None)
    with pytest.raises(IdentityError, match="RegisteredID"):
        _verify(_leaf(), _middle(), _root([(constraints, True)]))


def _negative_serial() -> bytes:
    der = _leaf()
    serial = x509.load_der_x509_certificate(der).serial_number
    encoded = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return der.replace(encoded, b"\x80" + encoded[1:], 1)


def _named(oid: str, value: str) -> bytes:
    """Return a certificate whose organisation is said to be something else."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, value)])
    der = certificate(_LEAF, subject=subject, issuer=_MIDDLE_NAME, signer=_MIDDLE)
    organisation = bytes.fromhex("060355040a0c") + bytes([len(value)])
    return der.replace(organisation, bytes.fromhex(oid) + organisation[-1:])


@pytest.mark.parametrize("action", ["ignore", "error"])
@pytest.mark.parametrize(
    ("der", "says"),
    [
        (_negative_serial(), "the serial number is not positive"),
        (_named("06035504060c", "Germany"), "C has 7 bytes, not 2 to 2"),
        (_named("06035504030c", "L" * 65), "CN has 65 bytes, not 1 to 64"),
    ],
)
def test_what_the_library_only_warns_of_is_refused_whatever_becomes_of_warnings(
    der: bytes, says: str, action: Literal["ignore", "error"]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(FormatError, match=says if action == "ignore" else "certificate 1"):
            load_chain([_leaf(), der])


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param([], id="none"),
        pytest.param([b""], id="empty"),
        pytest.param([_leaf() + b"\0"], id="trailing byte"),
        pytest.param([_leaf()[:-1]], id="cut off"),
        pytest.param([b"\0" * 100_000], id="huge"),
        pytest.param([_leaf()] * (MAX_CHAIN + 1), id="too many"),
    ],
)
def test_what_is_no_certificate_is_refused(chain: list[bytes]) -> None:
    with pytest.raises(FormatError):
        load_chain(chain)


@pytest.mark.parametrize("at", [NOW - YEAR - 1, NOW + YEAR + 1, -1, 1 << 62])
def test_chain_outside_its_time_is_refused(at: int) -> None:
    with pytest.raises(IdentityError, match=r"validity|time"):
        check_chain_validity([_leaf(), _middle(), _root()], at=at)


@pytest.mark.parametrize("at", [NOW - YEAR, NOW, NOW + YEAR])
def test_chain_within_its_time_is_accepted(at: int) -> None:
    check_chain_validity([_leaf(), _middle(), _root()], at=at)


def test_a_chain_is_valid_while_all_its_certificates_are() -> None:
    short = certificate(
        _LEAF,
        subject=_LEAF_NAME,
        issuer=_MIDDLE_NAME,
        signer=_MIDDLE,
        not_before=NOW - 10,
        not_after=NOW + 2 * YEAR,
    )
    period = chain_validity([short, _middle(), _root()])
    assert period == Validity(NOW - 10, NOW + YEAR)
    for at in (period.starts_at, period.ends_at):
        check_chain_validity([short, _middle(), _root()], at=at)


def test_a_chain_without_a_common_moment_has_an_empty_validity() -> None:
    late = certificate(
        _LEAF,
        subject=_LEAF_NAME,
        issuer=_MIDDLE_NAME,
        signer=_MIDDLE,
        not_before=NOW + 2 * YEAR,
        not_after=NOW + 3 * YEAR,
    )
    period = chain_validity([late, _middle(), _root()])
    assert period.ends_at < period.starts_at
