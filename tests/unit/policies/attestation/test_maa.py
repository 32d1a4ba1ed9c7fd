"""Which tokens are believed: RS256 by a configured authority, now, with the claims we read."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deploy.local.attestation import key_set, make_token_key
from policies.attestation.der import pem_certificates
from policies.attestation.maa import (
    MAX_TOKEN_BYTES,
    EvidenceClaims,
    issuer_of,
    signing_keys,
    unverified_source,
    verify_token,
)
from policies.errors import EvidenceError
from tests.simulator import (
    HOST_DATA,
    ISSUER,
    NOW,
    Evidence,
    _certificate,
    authorities,
    decode_part,
    mint_token,
    refusal,
    token_key,
)
from tests.snp_vectors import aci_v3

OTHER = "https://127.0.0.1:7444"


def verify(token: str, **options: Any) -> EvidenceClaims:
    return verify_token(token, authorities=authorities(), **{"now": NOW, **options})


def resign(
    token: str, *, header: dict[str, Any] | None = None, payload: dict[str, Any] | None = None
) -> str:
    """Sign a token again, with fields replaced; None removes one."""

    def merged(index: int, changes: dict[str, Any] | None) -> bytes:
        values = {**decode_part(token, index), **(changes or {})}
        kept = {name: value for name, value in values.items() if value is not None}
        return json.dumps(kept).encode()

    signed = b".".join(_encode(merged(index, part)) for index, part in ((0, header), (1, payload)))
    return _sign(signed)


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _sign(signed: bytes) -> str:
    signature = token_key().key.sign(signed, padding.PKCS1v15(), SHA256())
    return (signed + b"." + _encode(signature)).decode()


def test_an_honest_token_gives_its_claims() -> None:
    claims = verify(Evidence().token())
    assert claims.issuer == ISSUER
    assert claims.host_data == HOST_DATA
    assert claims.compliance == "azure-compliant-uvm"
    assert (claims.debuggable, claims.migratable, claims.vmpl) == (False, False, 0)
    assert claims.issued_at == NOW
    assert claims.tcb == {"bootloader": 4, "tee": 0, "snpfw": 24, "microcode": 219}
    assert set(claims.runtime) == {"keys", "depa"}


def test_a_debuggable_guest_is_reported_as_one() -> None:
    claims = verify(Evidence(fields={"policy": 0x3001F | 1 << 19}).token())
    assert claims.debuggable


def test_source_is_readable_before_it_is_believed() -> None:
    assert unverified_source(mint_token(issuer=OTHER)) == (OTHER, token_key(OTHER).kid)
    assert issuer_of(mint_token()) == ISSUER


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS384", "PS256", "ES256", None, 7])
def test_no_other_algorithm_is_accepted(algorithm: object) -> None:
    token = resign(mint_token(), header={"alg": algorithm})
    assert refusal(lambda: verify(token)) == "token.alg"


def test_an_unsigned_token_is_refused() -> None:
    header, payload, _ = mint_token().split(".")
    none = _encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode()
    assert refusal(lambda: verify(f"{none}.{payload}.")) == "token.alg"
    assert refusal(lambda: verify(f"{header}.{payload}.")) == "token.signature"


def test_a_token_keyed_with_the_public_key_is_refused() -> None:
    header = {**decode_part(mint_token(), 0), "alg": "HS256"}
    signed = b".".join(
        _encode(json.dumps(part).encode()) for part in (header, decode_part(mint_token(), 1))
    )
    secret = (
        token_key()
        .certificate.public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    mac = hmac.digest(secret, signed, "sha256")
    token = (signed + b"." + _encode(mac)).decode()
    assert refusal(lambda: verify(token)) == "token.alg"


def test_a_token_of_another_issuer_is_refused() -> None:
    assert refusal(lambda: verify(mint_token(issuer=OTHER))) == "token.iss"
    for name in (ISSUER + "/", ISSUER.upper(), "http" + ISSUER[5:], ISSUER + ".example"):
        token = resign(mint_token(), payload={"iss": name}, header={"jku": None})
        assert refusal(lambda token=token: verify(token)) == "token.iss"  # type: ignore[misc]


def test_a_token_that_borrows_an_issuers_name_is_refused() -> None:
    impostor = make_token_key(ISSUER, now=NOW)
    assert refusal(lambda: verify(mint_token(key=impostor))) == "token.kid"
    token = mint_token(key=impostor)
    bent = resign(token, header={"kid": impostor.kid})
    assert refusal(lambda: verify(bent)) == "token.kid"


def test_a_foreign_key_address_is_refused() -> None:
    for address in ("https://evil.example/certs", ISSUER, f"{ISSUER}/certs/", "", 7):
        token = resign(mint_token(), header={"jku": address})
        assert refusal(lambda token=token: verify(token)) == "token.jku"  # type: ignore[misc]
    assert verify(resign(mint_token(), header={"jku": None}))


def test_critical_extensions_and_other_types_are_refused() -> None:
    assert refusal(lambda: verify(resign(mint_token(), header={"crit": ["b64"]}))) == "token.crit"
    assert refusal(lambda: verify(resign(mint_token(), header={"typ": "at+jwt"}))) == "token.typ"


@pytest.mark.parametrize("kid", [None, "", "other", 7, ["a"]])
def test_a_token_must_name_its_key(kid: object) -> None:
    assert refusal(lambda: verify(resign(mint_token(), header={"kid": kid}))) == "token.kid"


def test_a_changed_token_is_refused() -> None:
    header, payload, signature = mint_token().split(".")
    other = mint_token(x_ms_sevsnpvm_hostdata="00" * 32).split(".")[1]
    assert refusal(lambda: verify(f"{header}.{other}.{signature}")) == "token.signature"
    bent = resign(mint_token()).split(".")
    assert refusal(lambda: verify(f"{bent[0]}.{bent[1]}.{signature}")) == "token.signature"
    assert refusal(lambda: verify(f"{header}.{payload}.{'A' * 342}")) == "token.signature"


def test_an_expired_token_is_refused() -> None:
    token = mint_token(exp=int(NOW.timestamp()) + 60)
    assert verify(token, now=NOW + timedelta(seconds=60))  # within the skew
    claim = refusal(lambda: verify(token, now=NOW + timedelta(seconds=90)))
    assert claim == "token.exp"
    assert refusal(lambda: verify(mint_token(exp=int(NOW.timestamp())))) == "token.exp"


def test_a_token_of_the_future_is_refused() -> None:
    later = int(NOW.timestamp()) + 31
    assert refusal(lambda: verify(mint_token(nbf=later))) == "token.nbf"
    assert refusal(lambda: verify(mint_token(iat=later))) == "token.nbf"
    assert verify(mint_token(nbf=later - 1, iat=later - 1))


def test_a_token_older_than_we_allow_is_refused_though_it_is_valid() -> None:
    moment = NOW + timedelta(hours=2)
    assert refusal(lambda: verify(mint_token(), now=moment)) == "token.iat"
    assert verify(mint_token(), now=moment, max_age=timedelta(hours=3))


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
@pytest.mark.parametrize("value", [None, "1790000000", 1.5, True, -1, 1 << 40])
def test_times_are_whole_seconds(name: str, value: object) -> None:
    token = resign(mint_token(), payload={name: value})
    assert refusal(lambda: verify(token)) == f"token.{name}"


@pytest.mark.parametrize(
    ("name", "value", "claim"),
    [
        ("x-ms-ver", "2.0", "x-ms-ver"),
        ("x-ms-ver", None, "x-ms-ver"),
        ("x-ms-attestation-type", "sgx", "x-ms-attestation-type"),
        ("x-ms-compliance-status", 7, "x-ms-compliance-status"),
        ("x-ms-runtime", None, "x-ms-runtime"),
        ("x-ms-runtime", [], "x-ms-runtime"),
        ("x-ms-sevsnpvm-is-debuggable", "false", "x-ms-sevsnpvm-is-debuggable"),
        ("x-ms-sevsnpvm-is-debuggable", 0, "x-ms-sevsnpvm-is-debuggable"),
        ("x-ms-sevsnpvm-is-debuggable", None, "x-ms-sevsnpvm-is-debuggable"),
        ("x-ms-sevsnpvm-migration-allowed", None, "x-ms-sevsnpvm-migration-allowed"),
        ("x-ms-sevsnpvm-vmpl", "0", "x-ms-sevsnpvm-vmpl"),
        ("x-ms-sevsnpvm-vmpl", False, "x-ms-sevsnpvm-vmpl"),
        ("x-ms-sevsnpvm-vmpl", -1, "x-ms-sevsnpvm-vmpl"),
        ("x-ms-sevsnpvm-hostdata", "5C" * 32, "x-ms-sevsnpvm-hostdata"),
        ("x-ms-sevsnpvm-hostdata", "5c" * 31, "x-ms-sevsnpvm-hostdata"),
        ("x-ms-sevsnpvm-reportdata", None, "x-ms-sevsnpvm-reportdata"),
        ("x-ms-sevsnpvm-launchmeasurement", "zz" * 48, "x-ms-sevsnpvm-launchmeasurement"),
        ("jti", None, "token.jti"),
        ("jti", "x" * 3000, "token.jti"),
    ],
)
def test_claims_of_another_type_are_refused(name: str, value: object, claim: str) -> None:
    assert refusal(lambda: verify(resign(mint_token(), payload={name: value}))) == claim


def test_a_guest_that_nobody_endorses_has_no_compliance() -> None:
    assert verify(mint_token(x_ms_compliance_status=None)).compliance is None


@pytest.mark.parametrize(
    "token",
    ["", "a.b", "a.b.c.d", "!.!.!", "e30.e30.", "W10.W10.AAAA", "x" * (MAX_TOKEN_BYTES + 1)],
)
def test_no_token_is_no_token(token: str) -> None:
    with pytest.raises(EvidenceError):
        verify(token)


def test_a_claim_that_stands_twice_is_refused() -> None:
    header, payload, _ = mint_token().split(".")
    body = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    twice = b'{"iss":"https://evil.example",' + body[1:]
    assert refusal(lambda: verify(_sign(header.encode() + b"." + _encode(twice)))) == (
        "token.payload"
    )


def test_no_error_repeats_the_token() -> None:
    token = mint_token(exp=1)
    with pytest.raises(EvidenceError) as caught:
        verify(token)
    for part in token.split("."):
        assert part not in str(caught.value)
    assert token not in repr(Evidence().claims())
    assert "x-ms-runtime" not in repr(verify(mint_token()))


def test_keys_come_from_certificates_only() -> None:
    document = json.loads(key_set(token_key()))
    [entry] = document["keys"]
    impostor = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    entry["n"] = _encode(impostor.n.to_bytes(256, "big")).decode()
    keys = signing_keys(json.dumps(document).encode())
    assert keys[token_key().kid].public_numbers() != impostor


def test_a_key_without_certificate_is_refused() -> None:
    entry = json.loads(key_set(token_key()))["keys"][0]
    for chain in (None, [], [7], "text"):
        bent = {"keys": [{**entry, "x5c": chain}]}
        claim = refusal(lambda bent=bent: signing_keys(json.dumps(bent).encode()))  # type: ignore[misc]
        assert claim == "jwks.x5c"
    del entry["x5c"]
    bare = json.dumps({"keys": [entry]}).encode()
    assert refusal(lambda: signing_keys(bare)) == "jwks.x5c"


@pytest.mark.parametrize(
    ("document", "claim"),
    [
        (b"", "jwks"),
        (b"[]", "jwks"),
        (b"{}", "jwks.keys"),
        (b'{"keys":[]}', "jwks.keys"),
        (b'{"keys":[7]}', "jwks.kid"),
        (b'{"keys":[{"x5c":["AAAA"]}]}', "jwks.kid"),
        (b'{"keys":[{"kid":"a","x5c":["AAAA"]}]}', "jwks.x5c"),
    ],
)
def test_a_malformed_key_set_is_refused(document: bytes, claim: str) -> None:
    assert refusal(lambda: signing_keys(document)) == claim


def test_a_key_id_that_stands_twice_is_refused() -> None:
    [entry] = json.loads(key_set(token_key()))["keys"]
    twice = json.dumps({"keys": [entry, entry]}).encode()
    assert refusal(lambda: signing_keys(twice)) == "jwks.kid"


def test_a_certificate_with_a_serial_number_that_the_standard_forbids_is_refused() -> None:
    vcek, *_ = pem_certificates(aci_v3().certificates)
    document = {"keys": [{"kid": "a", "x5c": [base64.b64encode(vcek).decode()]}]}
    with pytest.raises(EvidenceError, match=r"jwks\.x5c: .*serial: expected a positive number"):
        signing_keys(json.dumps(document).encode())


def test_a_key_that_is_not_rsa_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _certificate("a", "a", key, issuer=None, issuer_key=key, ca=True)
    encoded = base64.b64encode(leaf.public_bytes(Encoding.DER)).decode()
    document = json.dumps({"keys": [{"kid": "a", "x5c": [encoded]}]}).encode()
    assert refusal(lambda: signing_keys(document)) == "jwks.x5c"
