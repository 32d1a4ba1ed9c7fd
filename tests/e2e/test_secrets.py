"""No secret is where it does not belong after a play: not in files, logs, output or arguments."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from clients.cli.keystore import Keystore, open_keystore
from tests.e2e.played import Played

# PEM, then PKCS #8 of P-256, RSA, X25519 and Ed25519 (RFC 5208, RFC 8410) from the version on.
PRIVATE_KEYS = (
    b"PRIVATE KEY-----",
    bytes.fromhex("020100301306072a8648ce3d020106082a8648ce3d030107"),
    bytes.fromhex("020100300d06092a864886f70d0101010500"),
    bytes.fromhex("020100300506032b656e"),
    bytes.fromhex("020100300506032b6570"),
)
ENCRYPTED = b"ENCRYPTED PRIVATE KEY-----"
UNENCRYPTED = {"machine", "attestation", "tls"}
"""Folders of the stack whose servers start unattended; each is its owner's alone."""
KEYSETS = (b"tink.AesGcm", b"AesGcmHkdfStreamingKey", b"google.crypto.tink")
PLAINTEXT = (b'"dtype"', b"\x00n+1\x00", b"ustar", b"\x89HDF")
OWN_DATA = {"prepared", "base", "test", "model"}
Secrets = dict[str, bytes]


@pytest.fixture(scope="module")
def files(played: Played) -> dict[Path, bytes]:
    return {
        path.relative_to(played.folder): path.read_bytes()
        for path in played.folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def stores(played: Played) -> dict[str, Keystore]:
    """The keystore of every role that has one, opened with the passphrase its processes had."""
    homes = played.folder / "homes"
    return {
        home.name: open_keystore(home / "keys", passphrase=played.seen.passphrases[str(home)])
        for home in homes.iterdir()
        if (home / "keys").is_dir()
    }


@pytest.fixture(scope="module")
def secrets(played: Played, stores: dict[str, Keystore]) -> Secrets:
    """Every secret of the play, by what it is."""
    found = {
        f"passphrase {number}": text.encode()
        for number, text in enumerate(sorted(set(played.seen.passphrases.values())))
    }
    found |= {f"capability {token[-3:]}": token.encode() for token in played.seen.run_tokens}
    for role, store in stores.items():
        for name in store.names():
            for part, value in parts_of(store.read(name)):
                found[f"{role} {name} {part}"] = value
    return found


def parts_of(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the numbers that a stored secret consists of."""
    if len(secret) == 32:
        yield "raw", secret
        return
    key = load_der_private_key(secret, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        yield "scalar", key.private_numbers().private_value.to_bytes(32, "big")
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        for part in ("d", "p", "q"):
            number = getattr(key.private_numbers(), part)
            yield part, number.to_bytes((number.bit_length() + 7) // 8, "big")


def spellings(secret: bytes) -> Iterator[bytes]:
    """Yield a secret as it is, in hexadecimal digits, and within any base64 text."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + secret)
        # The first and last characters depend on the neighbours.
        inner = text[-(-offset * 8 // 6) : len(text) - 4]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def found_in(data: bytes, secrets: Secrets) -> set[str]:
    return {name for name, secret in secrets.items() if any(s in data for s in spellings(secret))}


def test_every_role_has_secrets_to_look_for(played: Played, secrets: Secrets) -> None:
    roles = [path.name for path in (played.folder / "homes").iterdir()]
    assert len(roles) == 7
    passphrases = {name for name in secrets if name.startswith("passphrase")}
    # Each role, and each vault and the service, has one of its own.
    assert len(passphrases) >= len(roles) + len(played.stack["members"]) - 2
    assert len(played.seen.run_tokens) == 3
    for role in set(roles) - {"operator"}:
        assert f"{role} signing scalar" in secrets
        assert f"{role} authority scalar" in secrets
    assert sum(name.endswith(" d") for name in secrets) == 5
    assert "developer output raw" in secrets
    assert all(len(secret) >= 24 for secret in secrets.values())


def test_a_secret_would_be_found_in_any_spelling() -> None:
    secret = bytes(range(100, 132))
    for before in (b"", b"a", b"ab"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert found_in(encode(before + secret + b"tail"), {"it": secret})
    assert found_in(b'{"k":"' + secret.hex().encode() + b'"}', {"it": secret})
    assert not found_in(bytes(range(99, 131)) * 3, {"it": secret})


def test_no_secret_is_in_any_file(files: dict[Path, bytes], secrets: Secrets) -> None:
    assert len(files) > 100
    assert {
        str(path): names for path, data in files.items() if (names := found_in(data, secrets))
    } == {}


def test_no_secret_is_printed(played: Played, secrets: Secrets) -> None:
    assert found_in((played.output + played.told).encode(), secrets) == set()


def test_no_secret_is_an_argument_of_a_process(played: Played, secrets: Secrets) -> None:
    commands = played.seen.commands
    for module in (b"clients.cli.main", b"deploy.local.member", b"trainer.run"):
        assert any(module in command for command in commands), module
    assert found_in(b"\n".join(commands), secrets) == set()


def test_unencrypted_keys_are_the_servers_alone(played: Played, files: dict[Path, bytes]) -> None:
    for path, data in files.items():
        kept = data.replace(ENCRYPTED, b"")
        if not any(marker in kept for marker in PRIVATE_KEYS):
            continue
        assert path.parts[0] == "stack", path
        assert path.parts[1] in UNENCRYPTED, path
        full = played.folder / path
        assert full.stat().st_mode & 0o777 == 0o600, path
        assert full.parent.stat().st_mode & 0o777 == 0o700, path


def test_keys_of_the_service_are_encrypted(played: Played) -> None:
    keys = list((played.folder / "stack" / "service").glob("*.key.pem"))
    assert len(keys) == 4
    for path in keys:
        assert ENCRYPTED in path.read_bytes()


def test_no_key_of_a_sealed_file_is_kept(files: dict[Path, bytes]) -> None:
    named = {str(path) for path, data in files.items() if any(k in data for k in KEYSETS)}
    assert named == set()


def test_data_are_in_clear_in_their_owners_folders_only(files: dict[Path, bytes]) -> None:
    for path, data in files.items():
        if path.parts[0] == "homes" and path.parts[2] in OWN_DATA:
            continue
        assert not any(magic in data for magic in PLAINTEXT), path


def test_no_role_holds_the_data_of_another(files: dict[Path, bytes]) -> None:
    samples = {
        path: sample
        for path, data in files.items()
        if path.suffix == ".safetensors" and (sample := _telling(data))
    }
    owners = {path.parts[1] for path in samples}
    assert owners == {"hospital-a", "hospital-b", "hospital-c", "hospital-d", "developer"}
    for path, sample in samples.items():
        elsewhere = [
            other
            for other, data in files.items()
            if sample in data and other.parts[:2] != path.parts[:2]
        ]
        assert elsewhere == []


def _telling(data: bytes) -> bytes:
    """Return some bytes of the tensors that hardly stand anywhere else."""
    body = data[8 + int.from_bytes(data[:8], "little") :]
    for start in range(len(body) // 2, len(body) - 48, 48):
        sample = body[start : start + 48]
        if len(set(sample)) > 24:
            return sample
    return b""


def test_logs_hold_no_token_and_no_patient(played: Played, files: dict[Path, bytes]) -> None:
    contents = {
        patient["patient"].encode()
        for manifest in played.folder.glob("homes/hospital-*/prepared/dataset.json")
        for patient in json.loads(manifest.read_bytes())["patients"]
    }
    service = {
        p: d for p, d in files.items() if p.parts[:2] in {("stack", "logs"), ("stack", "service")}
    }
    assert len(service) >= 7
    assert len(contents) == 48
    for path, data in service.items():
        assert not any(patient in data for patient in contents), path
        if path.parts[1] == "logs":
            assert b"eyJ" not in data, path
            assert b"Bearer" not in data, path


def test_homes_are_private_and_so_is_every_secret_file(played: Played) -> None:
    for home in (played.folder / "homes").iterdir():
        assert home.stat().st_mode & 0o777 == 0o700, home
        for path in home.glob("keys/*"):
            assert path.stat().st_mode & 0o777 == 0o600, path
    for part in ("machine", "service", "vaults", "attestation", "tls"):
        for path in (played.folder / "stack" / part).rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
