from __future__ import annotations

import io
import sys

import pytest

from clients.cli.errors import Refused, UsageError
from clients.cli.tasks.confirm import confirm_digest

DIGEST = "sha256:" + "0" * 60 + "beef"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_end_of_the_digest_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("beef\n"))
    confirm_digest(DIGEST)


@pytest.mark.parametrize("typed", ["", "yes\n", "BEEF\n", "dead\n", DIGEST + "\n"])
def test_anything_else_does_nothing(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    with pytest.raises(Refused, match="nothing was done"):
        confirm_digest(DIGEST)


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("beef\n"))
    with pytest.raises(UsageError) as caught:
        confirm_digest(DIGEST)
    assert caught.value.hint == "give --yes"
