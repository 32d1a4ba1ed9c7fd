from __future__ import annotations

import io
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.errors import DocumentError
from policies.wire.base import sha256
from tests.unit.trainer.sealed.conftest import contents
from trainer.sealed import SealedError, SealReason, open_output, seal_output

KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
INFO = {"contract": "sha256:" + "a" * 64, "run": "run-" + "b" * 26}


def sealed(source: Path) -> bytes:
    out = source.parent / "model.sealed"
    out.unlink(missing_ok=True)
    blob = seal_output(source, out, recipient=KEY.public_key(), info=INFO)
    data = out.read_bytes()
    assert blob.digest == sha256(data)
    return data


def open_it(
    data: bytes,
    room: Path,
    *,
    key: X25519PrivateKey = KEY,
    info: dict[str, str] = INFO,
    digest: str | None = None,
) -> Path:
    open_output(
        io.BytesIO(data),
        key=key,
        info=info,
        expected_digest=digest or sha256(data),
        into=room / "model",
    )
    return room / "model"


def refusal(data: bytes, room: Path, **how: object) -> SealReason:
    with pytest.raises(SealedError) as caught:
        open_it(data, room, **how)  # type: ignore[arg-type]  # passed through
    assert list(room.iterdir()) == []
    return caught.value.reason


def test_the_consumer_opens_what_was_sealed_to_it(folder: Path, room: Path) -> None:
    assert contents(open_it(sealed(folder), room)) == contents(folder)


def test_another_key_opens_nothing(folder: Path, room: Path) -> None:
    assert refusal(sealed(folder), room, key=X25519PrivateKey.generate()) is SealReason.KEY


def test_an_output_of_another_run_is_refused(folder: Path, room: Path) -> None:
    other = {**INFO, "run": "run-" + "c" * 26}
    assert refusal(sealed(folder), room, info=other) is SealReason.INFO


def test_a_relabelled_output_is_refused(folder: Path, room: Path) -> None:
    other = {**INFO, "run": "run-" + "c" * 26}
    data = sealed(folder).replace(INFO["run"].encode(), other["run"].encode())
    assert refusal(data, room, info=other) is SealReason.KEY


def test_an_output_that_was_not_reported_is_refused(folder: Path, room: Path) -> None:
    reported = sha256(sealed(folder))
    assert refusal(sealed(folder), room, digest=reported) is SealReason.DIGEST


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(tmp_path: Path, room: Path, where: float, bit: int) -> None:
    small = tmp_path / "model.safetensors"
    small.write_bytes(b"weights")
    data = bytearray(sealed(small))
    data[int(where * len(data))] ^= 1 << bit
    refusal(bytes(data), room)


def test_labels_are_short_plain_text(folder: Path) -> None:
    for info in ({"run": "a\nb"}, {"": "x"}, {"run": "x" * 600}):
        with pytest.raises(DocumentError):
            seal_output(folder, folder.parent / "out", recipient=KEY.public_key(), info=info)
