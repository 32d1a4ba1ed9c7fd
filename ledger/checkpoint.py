"""Checkpoints: size and root of a log as a signed note (C2SP tlog-checkpoint, signed-note)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import FormatError, VerificationError
from ledger.merkle import HASH_BYTES

MAX_CHECKPOINT_BYTES = 16 * 1024
_MAX_SIGNATURES = 32
_ED25519 = b"\x01"
_NAME = re.compile(r"\A[^\s+\x00-\x1f\x7f]{1,255}\Z")
_SIZE = re.compile(r"\A(0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: `tree_size` leaves with this root."""

    origin: str
    tree_size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def body(self) -> str:
        """Return the text that is signed."""
        lines = (
            self.origin,
            str(self.tree_size),
            base64.b64encode(self.root).decode(),
            *self.extensions,
        )
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class _Signature:
    name: str
    key_hash: bytes
    signature: bytes


def sign_checkpoint(checkpoint: Checkpoint, *, key: Ed25519PrivateKey) -> bytes:
    """Return the signed note; the key's name is the log's origin.

    The caller MUST have made this state durable first: two checkpoints that contradict one another
    prove that a log cheats.

    Raises:
        FormatError: If the checkpoint cannot be written.
    """
    body = checkpoint.body()
    signature = _key_hash(checkpoint.origin, key.public_key()) + key.sign(body.encode())
    note = f"{body}\n— {checkpoint.origin} {base64.b64encode(signature).decode()}\n".encode()
    _parse(note)
    return note


def verify_checkpoint(note: bytes, *, origin: str, keys: Sequence[Ed25519PublicKey]) -> Checkpoint:
    """Return the state that the log `origin` signed with one of `keys`.

    Signatures by others, such as witnesses, must be well-formed but are not looked at.

    Raises:
        FormatError: If `note` is no checkpoint, from the first byte to the last. VerificationError:
            If it is of another log, not signed by a known key, or the signature is wrong.
    """
    checkpoint, signatures = _parse(note)
    if checkpoint.origin != origin:
        raise VerificationError("checkpoint: origin", expected=origin, got=checkpoint.origin)
    known = {_key_hash(origin, key): key for key in keys}
    ours = [each for each in signatures if each.name == origin and each.key_hash in known]
    if not ours:
        raise VerificationError(
            "checkpoint: signature",
            expected=f"one by {origin} with key {' or '.join(each.hex() for each in known)}",
            got=", ".join(f"{each.name} {each.key_hash.hex()}" for each in signatures),
        )
    for each in ours:
        try:
            known[each.key_hash].verify(each.signature, checkpoint.body().encode())
        except InvalidSignature as error:
            raise VerificationError(
                "checkpoint: signature", expected=f"one by key {each.key_hash.hex()}", got="another"
            ) from error
    return checkpoint


def parse_checkpoint(note: bytes) -> Checkpoint:
    """Return the state that `note` claims, without verifying a signature.

    Raises:
        FormatError: If `note` is no checkpoint, from the first byte to the last.
    """
    return _parse(note)[0]


def verifier_key(origin: str, *, key: Ed25519PublicKey) -> str:
    """Return the key as C2SP tools take it: name, key hash and key (signed-note, "vkey")."""
    encoded = base64.b64encode(_ED25519 + key.public_bytes_raw()).decode()
    return f"{origin}+{_key_hash(origin, key).hex()}+{encoded}"


def check_origin(origin: str) -> str:
    """Return `origin` if it can name a log and its checkpoint key.

    Raises:
        FormatError: If it is empty, too long, or has spaces, a plus sign or control characters.
    """
    if not _NAME.match(origin):
        raise FormatError("origin: 1 to 255 characters without spaces, '+' and control characters")
    return origin


def _key_hash(name: str, key: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + key.public_bytes_raw()).digest()[:4]


def _parse(note: bytes) -> tuple[Checkpoint, tuple[_Signature, ...]]:
    if len(note) > MAX_CHECKPOINT_BYTES:
        raise FormatError(
            f"checkpoint: {len(note)} bytes, at most {MAX_CHECKPOINT_BYTES} are accepted"
        )
    try:
        text = note.decode()
    except UnicodeDecodeError as error:
        raise FormatError("checkpoint: not UTF-8") from error
    if any((char < " " and char != "\n") or "\x7f" <= char <= "\x9f" for char in text):
        raise FormatError("checkpoint: control characters")
    body, blank, signatures = text.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise FormatError("checkpoint: no signatures after an empty line, or no newline at the end")
    lines = signatures.removesuffix("\n").split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise FormatError(f"checkpoint: at most {_MAX_SIGNATURES} signatures are accepted")
    return _parse_body(body), tuple(map(_parse_signature, lines))


def _parse_body(body: str) -> Checkpoint:
    match body.split("\n"):
        case [origin, size, root, *extensions] if _SIZE.match(size) and all(extensions):
            hash_ = _base64(root)
            if len(hash_) != HASH_BYTES:
                raise FormatError(f"checkpoint: the root is not {HASH_BYTES} bytes")
            return Checkpoint(check_origin(origin), int(size), hash_, tuple(extensions))
        case _:
            raise FormatError("checkpoint: not the lines origin, size, root")


def _parse_signature(line: str) -> _Signature:
    match line.split(" "):
        case ["—", name, encoded]:
            data = _base64(encoded)
            if len(data) <= 4:
                raise FormatError("checkpoint: a signature without key hash")
            return _Signature(check_origin(name), data[:4], data[4:])
        case _:
            raise FormatError("checkpoint: a signature line is not '— name base64'")


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("checkpoint: not base64") from error
    if base64.b64encode(data).decode() != text:
        raise FormatError("checkpoint: not the canonical base64")
    return data
