import sys

import pytest

from trainer.memory import keep_freed_memory


def test_other_systems_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


def test_the_setting_can_be_made_twice() -> None:
    assert keep_freed_memory() == keep_freed_memory()
