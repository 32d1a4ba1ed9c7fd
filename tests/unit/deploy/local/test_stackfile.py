from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.processes import Recorded
from deploy.local.stack import stop_stack
from deploy.local.stackfile import (
    STACK_FILE,
    Member,
    Stack,
    StackError,
    StackMissingError,
    encode_stack,
    read_stack,
)

STACK = {
    "service": Member(Recorded("service", 2**22 - 3, "1"), "https://127.0.0.1:1", "/log"),
    "attestation": Member(Recorded("attestation", 2**22 - 5, "1"), "https://127.0.0.1:2", "/log"),
}


def test_a_stack_comes_back_from_its_file(tmp_path: Path) -> None:
    stack = Stack(tmp_path, "ab" * 32, STACK, {"did:x509:a": "https://127.0.0.1:3"})
    (tmp_path / STACK_FILE).write_bytes(encode_stack(stack))
    assert read_stack(tmp_path) == stack
    assert read_stack(tmp_path).service == "https://127.0.0.1:1"
    assert not stack.running
    assert stop_stack(tmp_path) == []


def test_a_folder_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(StackMissingError) as caught:
        read_stack(tmp_path)
    assert caught.value.hint == "depa up starts one"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1, "members": {"a": 1}}']
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STACK_FILE).write_bytes(content)
    with pytest.raises(StackError, match="is damaged"):
        read_stack(tmp_path)
