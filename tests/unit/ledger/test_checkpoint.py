from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.checkpoint import (
    MAX_CHECKPOINT_BYTES,
    Checkpoint,
    parse_checkpoint,
    sign_checkpoint,
    verifier_key,
    verify_checkpoint,
)
from ledger.errors import FormatError, VerificationError
from tests.unit.ledger.makers import ORIGIN

_KEY = Ed25519PrivateKey.generate()
_STATE = Checkpoint(ORIGIN, 20852163, bytes(range(32)))


def _verify(note: bytes, *, key: Ed25519PrivateKey = _KEY, origin: str = ORIGIN) -> Checkpoint:
    return verify_checkpoint(note, origin=origin, keys=[key.public_key()])


def test_checkpoint_reads_as_c2sp_says() -> None:
    text = sign_checkpoint(_STATE, key=_KEY).decode()
    body, _, signature = text.partition("\n\n")
    root = base64.b64encode(bytes(range(32))).decode()
    assert body == f"log.example/depa\n20852163\n{root}"
    assert signature.startswith("— log.example/depa ")
    assert signature.endswith("\n")
    assert len(base64.b64decode(signature.split()[2])) == 4 + 64


def test_key_hash_is_that_of_the_go_note_package() -> None:
    """The example key of golang.org/x/mod/sumdb/note."""
    known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    raw = base64.b64decode(known.split("+", 2)[2])[1:]
    assert verifier_key("PeterNeumann", key=Ed25519PublicKey.from_public_bytes(raw)) == known


def test_what_is_signed_is_verified() -> None:
    assert _verify(sign_checkpoint(_STATE, key=_KEY)) == _STATE
    extended = replace(_STATE, extensions=("a line", "another"))
    assert _verify(sign_checkpoint(extended, key=_KEY)) == extended


def test_signature_is_the_same_every_time() -> None:
    assert sign_checkpoint(_STATE, key=_KEY) == sign_checkpoint(_STATE, key=_KEY)


def test_signatures_of_witnesses_are_not_looked_at() -> None:
    note = sign_checkpoint(_STATE, key=_KEY)
    witness = "— witness.example " + base64.b64encode(b"hash" + b"s" * 72).decode() + "\n"
    assert _verify(note + witness.encode()) == _STATE


@pytest.mark.parametrize(
    ("old", "new"),
    [("20852163", "20852164"), ("AAECAwQF", "BAECAwQF"), ("\n\n", "\nextension\n\n")],
    ids=["size", "root", "extension"],
)
def test_changed_checkpoint_is_refused(old: str, new: str) -> None:
    note = sign_checkpoint(_STATE, key=_KEY).decode().replace(old, new, 1)
    with pytest.raises(VerificationError, match="signature"):
        _verify(note.encode())


def test_checkpoint_of_another_log_is_refused() -> None:
    other = sign_checkpoint(replace(_STATE, origin="other.example"), key=_KEY)
    with pytest.raises(VerificationError, match="origin"):
        _verify(other)


def test_checkpoint_by_another_key_is_refused() -> None:
    with pytest.raises(VerificationError, match="signature"):
        _verify(sign_checkpoint(_STATE, key=Ed25519PrivateKey.generate()))


def test_one_wrong_signature_by_the_known_key_is_enough_to_refuse() -> None:
    note = sign_checkpoint(_STATE, key=_KEY)
    line = note.decode().splitlines()[-1]
    raw = bytearray(base64.b64decode(line.split()[2]))
    raw[-1] ^= 1
    wrong = f"— {ORIGIN} {base64.b64encode(bytes(raw)).decode()}\n"
    with pytest.raises(VerificationError, match="signature"):
        _verify(note + wrong.encode())


_ROOT = base64.b64encode(bytes(32)).decode()
_LINE = "— a " + base64.b64encode(b"x" * 68).decode() + "\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(f"a\n1\n{_ROOT}\n", id="no signatures"),
        pytest.param(f"a\n1\n{_ROOT}\n\n", id="no signature"),
        pytest.param(f"a\n1\n{_ROOT}\n\n{_LINE}"[:-1], id="no newline at the end"),
        pytest.param(f"a\n1\n{_ROOT}\n\n{_LINE}\n", id="empty line at the end"),
        pytest.param(f"a\n1\n{_ROOT}\n\n{_LINE}garbage\n", id="garbage after the signatures"),
        pytest.param(f"a\n1\n{_ROOT}\n\ngarbage\n{_LINE}", id="garbage before the signatures"),
        pytest.param(f"a\n01\n{_ROOT}\n\n{_LINE}", id="size with a leading zero"),
        pytest.param(f"a\n-1\n{_ROOT}\n\n{_LINE}", id="negative size"),
        pytest.param(f"a\n+1\n{_ROOT}\n\n{_LINE}", id="signed size"),
        pytest.param(f"a\n1 \n{_ROOT}\n\n{_LINE}", id="size with a space"),
        pytest.param(f"a\n\u0661\n{_ROOT}\n\n{_LINE}", id="size in other digits"),
        pytest.param(f"a\n{'9' * 30}\n{_ROOT}\n\n{_LINE}", id="huge size"),
        pytest.param(f"\n1\n{_ROOT}\n\n{_LINE}", id="no origin"),
        pytest.param(f"a b\n1\n{_ROOT}\n\n{_LINE}", id="origin with a space"),
        pytest.param(f"a+b\n1\n{_ROOT}\n\n{_LINE}", id="origin with a plus"),
        pytest.param(f"a\n1\n{_ROOT[:-4]}\n\n{_LINE}", id="short root"),
        pytest.param(f"a\n1\n{_ROOT[:-1]}\n\n{_LINE}", id="root without padding"),
        pytest.param(f"a\n1\n{_ROOT[:-2]}B=\n\n{_LINE}", id="root with spare bits"),
        pytest.param(f"a\n1\n\n{_LINE}", id="no root"),
        pytest.param(f"a\n1\n{_ROOT}\n\n- a eA==\n", id="hyphen for dash"),
        pytest.param(f"a\n1\n{_ROOT}\n\n— a  eA==\n", id="two spaces"),
        pytest.param(f"a\n1\n{_ROOT}\n\n— a eHh4eA==\n", id="key hash alone"),
        pytest.param(f"a\n1\n{_ROOT}\n\n— a !!!!\n", id="signature is not base64"),
        pytest.param(f"a\r\n1\r\n{_ROOT}\r\n\r\n{_LINE}", id="carriage returns"),
        pytest.param(f"a\n1\n{_ROOT}\n\n{_LINE * 33}", id="too many signatures"),
        pytest.param(f"a\n1\n{_ROOT}\nx\x00\n\n{_LINE}", id="control character"),
        pytest.param(f"a\n1\n{_ROOT}\n{'x' * MAX_CHECKPOINT_BYTES}\n\n{_LINE}", id="huge"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_checkpoint(text.encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(FormatError):
        parse_checkpoint(b"\xff")


@pytest.mark.parametrize(
    "state",
    [
        replace(_STATE, origin="a b"),
        replace(_STATE, tree_size=-1),
        replace(_STATE, root=b"short"),
        replace(_STATE, extensions=("a\n\nb",)),
        replace(_STATE, extensions=("",)),
    ],
)
def test_nothing_unreadable_is_signed(state: Checkpoint) -> None:
    with pytest.raises(FormatError):
        sign_checkpoint(state, key=_KEY)
