from __future__ import annotations

import io

import pytest

from policies.wire.base import sha256
from trainer.sealed import SealedError, SealReason
from trainer.sealed.container import HashingReader


def test_a_file_over_the_limit_is_not_read_to_its_end() -> None:
    source = io.BytesIO(bytes(5_000_000))
    with pytest.raises(SealedError) as caught:
        HashingReader(source, limit=2_000_000).digest()
    assert caught.value.reason is SealReason.LIMIT
    assert source.tell() < 4_000_000


def test_the_digest_is_of_every_byte_even_after_closing() -> None:
    reader = HashingReader(io.BytesIO(b"header and body"), limit=100)
    assert reader.read(6) == b"header"
    reader.close()
    assert reader.digest() == sha256(b"header and body")
